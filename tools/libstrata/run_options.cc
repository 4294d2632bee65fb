// SPDX-License-Identifier: Apache-2.0
#include "tools/libstrata/run_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <limits>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/store.h"
#include "tools/libstrata/boundary.h"

namespace strata {
namespace {

constexpr uint32_t kAllFlags = (STRATA_RUN_KEEP_FAILED << 1) - 1;
constexpr uint64_t kMostPids = 4 << 20;       // the kernel's own
constexpr uint64_t kMostMilliCpus = 8192000;  // the same
constexpr uint64_t kMostMs = 315360000000;    // ten years

Result<void> AtMost(uint64_t value, uint64_t most, std::string_view name) {
  if (value <= most) return {};
  return Fail(Errc::kInvalid, "{}: {} is more than {}", name, value, most);
}

Result<RunRequest::Mount> TranslateMount(const strata_mount& given) {
  using Kind = RunRequest::Mount::Kind;
  if (given.reserved[0] != 0 || given.reserved[1] != 0) {
    return Fail(Errc::kUnsupported, "`reserved` is not zero");
  }
  STRATA_TRY(CheckEnum(given.kind, STRATA_MOUNT_CACHE, "kind"));
  RunRequest::Mount mount;
  STRATA_ASSIGN(std::string target, Text(given.target, "target"));
  STRATA_ASSIGN(mount.target, SandboxPath(target));
  if (given.kind == STRATA_MOUNT_TMPFS) {
    mount.kind = Kind::kTmpfs;
    mount.size = given.bytes;
    return mount;
  }
  STRATA_ASSIGN(mount.source, Text(given.source, "source"));
  if (given.kind == STRATA_MOUNT_CACHE) {
    mount.kind = Kind::kCache;
    STRATA_TRY(CheckCacheName(mount.source));
    return mount;
  }
  STRATA_ASSIGN(mount.source, AbsolutePath(mount.source));
  mount.read_only = given.kind == STRATA_MOUNT_BIND_RO;
  mount.copy_on_write = given.kind == STRATA_MOUNT_COW;
  return mount;
}

Result<void> TranslateMounts(const strata_run_options& given, RunRequest* request) {
  if (given.mount_count > 0) STRATA_TRY(Need(given.mounts, "mounts"));
  for (size_t i = 0; i < given.mount_count; ++i) {
    STRATA_ASSIGN_WITH(RunRequest::Mount mount, TranslateMount(given.mounts[i]),
                       fmt::format("mounts[{}]", i));
    request->mounts.push_back(std::move(mount));
  }
  if (given.output != nullptr) {
    STRATA_ASSIGN_WITH(request->output_target, SandboxPath(given.output), "output");
    request->mounts.push_back(
        {.kind = RunRequest::Mount::Kind::kOutput, .target = request->output_target});
  }
  if (given.output_directory != nullptr) {
    if (given.output == nullptr) {
      return Fail(Errc::kInvalid, "output_directory: there is no output that it could receive");
    }
    STRATA_ASSIGN(request->output_host, AbsolutePath(given.output_directory));
  }
  return {};
}

// What is written, and what becomes of it.
Result<void> TranslateChanges(const strata_run_options& given, RunRequest* request) {
  request->read_only = (given.flags & STRATA_RUN_READ_ONLY) != 0;
  request->capture = (given.flags & STRATA_RUN_CAPTURE) != 0;
  request->capture_failed = (given.flags & STRATA_RUN_CAPTURE_FAILED) != 0;
  request->keep_failed = (given.flags & STRATA_RUN_KEEP_FAILED) != 0;
  request->mtime = Mtime(given.set_mtime, given.mtime);
  if (given.capture_ref != nullptr) {
    request->capture_ref = given.capture_ref;
    STRATA_TRY_WITH(Store::CheckRefName(request->capture_ref), "capture_ref");
    if (!request->capture) {
      return Fail(Errc::kInvalid, "capture_ref: without STRATA_RUN_CAPTURE there is no layer");
    }
  }
  if (given.workspace != nullptr) {
    request->workspace = given.workspace;
    STRATA_TRY_WITH(Store::CheckRefName(request->workspace), "workspace");
  }
  request->scratch_tmpfs = (given.flags & STRATA_RUN_SCRATCH_TMPFS) != 0;
  request->scratch_size = given.scratch_bytes;
  if (given.scratch_directory == nullptr) return {};
  if (request->scratch_tmpfs) {
    return Fail(Errc::kInvalid,
                "scratch_directory and STRATA_RUN_SCRATCH_TMPFS exclude each other");
  }
  STRATA_ASSIGN(request->scratch_directory, AbsolutePath(given.scratch_directory));
  return {};
}

Result<void> TranslateLimits(const strata_run_options& given, RunRequest* request) {
  STRATA_TRY(AtMost(given.timeout_ms, kMostMs, "timeout_ms"));
  STRATA_TRY(AtMost(given.grace_ms, kMostMs, "grace_ms"));
  STRATA_TRY(AtMost(given.pids, kMostPids, "pids"));
  STRATA_TRY(AtMost(given.cpu_millis, kMostMilliCpus, "cpu_millis"));
  if (given.cpu_millis != 0 && given.cpu_millis < 10) {
    return Fail(Errc::kInvalid, "cpu_millis: {} is too little: 10 is the least", given.cpu_millis);
  }
  request->timeout_ms = static_cast<int64_t>(given.timeout_ms);
  if (given.grace_ms != 0) request->grace_ms = static_cast<int64_t>(given.grace_ms);
  request->limits = {.memory = given.memory, .pids = given.pids, .cpu_milli = given.cpu_millis};
  return {};
}

Result<void> TranslateEnvironment(const strata_run_options& given, RunRequest* request) {
  if ((given.flags & STRATA_RUN_CLEAR_ENV) == 0) {
    const char* terminal = std::getenv("TERM");
    request->env = DefaultEnvironment(given.uid, terminal != nullptr ? terminal : "");
  }
  for (const std::string& variable : TextList(given.env)) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Fail(Errc::kInvalid, "env: '{}' is not K=V", variable);
    }
    SetVariable(&request->env, std::string_view(variable).substr(0, equals),
                std::string_view(variable).substr(equals + 1));
  }
  return {};
}

Result<void> TranslateSandbox(const strata_run_options& given, RunRequest* request) {
  STRATA_TRY(CheckEnum(given.userns, STRATA_USERNS_SUBUID, "userns"));
  STRATA_TRY(CheckEnum(given.network, STRATA_NETWORK_HOST, "network"));
  constexpr Userns kUserns[] = {Userns::kAuto, Userns::kSingle, Userns::kSubuid};
  request->ids = {kUserns[given.userns], given.uid, given.gid};
  for (uint32_t id : {given.uid, given.gid}) {
    if (id == std::numeric_limits<uint32_t>::max()) {
      return Fail(Errc::kInvalid, "{} is no id of a user or group", id);
    }
  }
  request->network = given.network == STRATA_NETWORK_HOST ? Network::kHost : Network::kNone;
  request->nested_userns = (given.flags & STRATA_RUN_NESTED_USERNS) != 0;
  if ((given.flags & STRATA_RUN_IGNORE_CHOWN) != 0) request->chown = ChownPolicy::kIgnore;
  if ((given.flags & STRATA_RUN_NO_SECCOMP) != 0) request->seccomp = RunRequest::Seccomp::kNone;
  if (given.seccomp_file != nullptr) {
    if (request->seccomp == RunRequest::Seccomp::kNone) {
      return Fail(Errc::kInvalid, "seccomp_file and STRATA_RUN_NO_SECCOMP exclude each other");
    }
    request->seccomp = RunRequest::Seccomp::kFile;
    STRATA_ASSIGN(request->seccomp_file, AbsolutePath(given.seccomp_file));
  }
  request->capabilities = (DefaultCapabilities() | given.cap_add) & ~given.cap_drop;
  if (given.directory != nullptr) request->directory = given.directory;
  if (request->directory.empty() || request->directory.front() != '/') {
    return Fail(Errc::kInvalid, "directory: '{}' must be an absolute path", request->directory);
  }
  if (given.hostname != nullptr) request->hostname = given.hostname;
  if (request->hostname.empty() || request->hostname.size() > 64) {
    return Fail(Errc::kInvalid, "hostname: a host name has 1 to 64 bytes");
  }
  return {};
}

bool IsOpen(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

// Other threads may open and close what they like meanwhile, so whatever is not the caller's own
// stream gets a number above those.
Result<void> ChooseStreams(const strata_run_options& given, TranslatedRun* run) {
  const int streams[] = {given.stdin_fd, given.stdout_fd, given.stderr_fd};
  constexpr const char* kNames[] = {"stdin_fd", "stdout_fd", "stderr_fd"};
  int null = -1;
  for (int i = 0; i < 3; ++i) {
    const bool own = streams[i] == 0 || streams[i] == i;
    int& chosen = run->request.stdio[static_cast<size_t>(i)];
    if (streams[i] < -1) return Fail(Errc::kInvalid, "{}: {}", kNames[i], streams[i]);
    if (streams[i] == -1 || (own && !IsOpen(i))) {
      if (null < 0) {
        STRATA_ASSIGN(run->descriptors.emplace_back(), OpenAt(AT_FDCWD, "/dev/null", O_RDWR));
        null = run->descriptors.back().get();
      }
      chosen = null;
    } else if (own) {
      chosen = i;
    } else if (streams[i] > 2) {
      if (!IsOpen(streams[i])) return FailSys(EBADF, "fcntl", kNames[i]);
      chosen = streams[i];
    } else {
      STRATA_ASSIGN(run->descriptors.emplace_back(),
                    sys::CheckFd(sys::DuplicateFd(streams[i]), "fcntl", kNames[i]));
      chosen = run->descriptors.back().get();
    }
  }
  run->request.terminal_is_stdin = (given.flags & STRATA_RUN_TERMINAL) != 0;
  if (run->request.terminal_is_stdin && ::isatty(run->request.stdio[0]) == 0) {
    return Fail(Errc::kInvalid, "STRATA_RUN_TERMINAL: stdin_fd is no terminal");
  }
  return {};
}

}  // namespace

Result<TranslatedRun> TranslateRun(const strata_run_options& given) {
  if ((given.flags & ~kAllFlags) != 0) {
    return Fail(Errc::kUnsupported, "flags: {:#x} is not known", given.flags & ~kAllFlags);
  }
  TranslatedRun run;
  run.argv = TextList(given.argv);
  if (run.argv.empty()) return Fail(Errc::kInvalid, "argv: no command given");
  RunRequest& request = run.request;
  request.in_library = true;
  STRATA_TRY(TranslateMounts(given, &request));
  STRATA_TRY(TranslateChanges(given, &request));
  STRATA_TRY(TranslateLimits(given, &request));
  STRATA_TRY(TranslateEnvironment(given, &request));
  STRATA_TRY(TranslateSandbox(given, &request));
  STRATA_TRY(CheckCombination(request));
  STRATA_TRY(ChooseStreams(given, &run));
  if (given.control_fd != 0) {
    if (given.control_fd < 0 || !IsOpen(given.control_fd)) {
      return FailSys(EBADF, "fcntl", "control_fd");
    }
    run.control_fd = given.control_fd;
  }
  return run;
}

}  // namespace strata
