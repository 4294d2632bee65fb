// SPDX-License-Identifier: Apache-2.0
//
// strata doctor: what this machine can do, what is missing, what that means, and how to get it.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/io.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "sandbox/explain.h"
#include "sandbox/id_choice.h"
#include "sandbox/limits.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/probes.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kDoctorOptions[] = {kJsonOption};

struct Check {
  const char* name;
  bool good = false;
  bool required = false;  // `strata run` cannot work without it
  std::string detail;     // what was found, or the failed call
  std::string effect;     // of its lack
  std::string fix;
  std::string means;  // of a limit, as in --stats
};

Check Tried(const char* name, const Result<void>& result, const char* effect, std::string fix) {
  Check check{.name = name, .good = result.has_value(), .effect = effect, .fix = std::move(fix)};
  if (!result) check.detail = result.error().message();
  return check;
}

Check Required(Check check) {
  check.required = true;
  return check;
}

Check UserNamespaces() {
  auto result = ProbeUserNamespace();
  std::string fix = result ? std::string() : UserNamespaceHint();
  if (fix.empty() && !result && result.error().sys_errno() == ENOENT)
    fix = "mount -t proc proc /proc";
  if (fix.empty())
    fix =
        "in a container: let it make user namespaces (docker, podman: "
        "--security-opt seccomp=unconfined, or a profile that allows clone and mount); in a chroot "
        "none can be made: enter that root by pivot_root, as systemd-nspawn does";
  return Tried("user namespaces", result, "no sandbox can be made", std::move(fix));
}

// --- The store

struct StoreChecks {
  Check store{.name = "store"};
  Check space{.name = "free space"};
  Check upper{.name = "upper in the store"};
};

Result<void> ProbeStoreUpper(const Store& store) {
  STRATA_ASSIGN(UniqueFd tmp, store.OpenDir("tmp"));
  STRATA_ASSIGN(TempDir scratch, TempDir::Create(tmp.get(), "doctor-"));
  for (const char* name : {"a", "b", "upper", "work", "root"}) {
    STRATA_TRY(sys::Check(sys::MkdirAt(scratch.fd(), name, 0755), "mkdir", name));
  }
  return ProbeOverlay(fmt::format("{}/tmp/{}", store.path(), scratch.name()));
}

StoreChecks CheckStore(Context& context) {
  constexpr uint64_t kLittle = 1 << 30;
  StoreChecks checks;
  checks.store.required = true;
  checks.store.effect = "there is no place for layers";
  checks.space.effect = "imports and builds soon fail";
  checks.space.fix = "make room, or put the store elsewhere: export STRATA_STORE=DIR";
  auto store = context.OpenStore();
  if (!store) {
    checks.store.detail = store.error().message();
    checks.store.fix = store.error().hint();
    checks.space.detail = "there is no store to look at";
    checks.upper = checks.space;
    checks.upper.name = "upper in the store";
    checks.upper.effect.clear();
    checks.space.fix = checks.upper.fix = "first make the store work";
    return checks;
  }
  checks.store.good = true;
  checks.store.detail = (*store)->path();
  struct statvfs fs;
  if (::fstatvfs((*store)->fd(), &fs) == 0) {
    uint64_t bytes = uint64_t{fs.f_bavail} * fs.f_frsize;
    // Some file systems (btrfs) have no fixed number of inodes and say 0.
    bool inodes = fs.f_files == 0 || fs.f_favail > 10000;
    checks.space.good = bytes >= kLittle && inodes;
    checks.space.detail = fmt::format("{}", FormatSize(bytes));
    if (fs.f_files != 0) checks.space.detail += fmt::format(", {} inodes", uint64_t{fs.f_favail});
  }
  checks.upper = Tried("upper in the store", ProbeStoreUpper(**store),
                       "what commands write cannot be kept on the store's file system",
                       "put the store on ext4, xfs, btrfs or tmpfs, or run with --scratch tmpfs");
  return checks;
}

// --- What more than one id needs

bool InPath(const char* program) {
  const char* variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/usr/bin:/bin";
  while (!path.empty()) {
    std::string_view directory = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(directory.size() + 1, path.size()));
    if (::access(fmt::format("{}/{}", directory, program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

Check IdRange() {
  Result<IdMapping> range = SubordinateIds();
  Result<void> tried = range ? TryRange(*range) : Unexpected(range.error());
  return Tried("subordinate ids", tried,
               "a sandbox has one user id: chown to others, apt-get install and dpkg -i fail in it",
               tried ? std::string() : tried.error().hint());
}

// --- Other helpers

Check Fuse() {
  Check check{.name = "fuse-overlayfs",
              .effect = "no other way to stage where the kernel's overlay is refused"};
  bool program = InPath("fuse-overlayfs");
  const int device = ::access("/dev/fuse", R_OK | W_OK) == 0 ? 0 : errno;
  check.good = program && device == 0;
  if (!program) {
    check.detail = "not installed";
    check.fix = "apt install fuse-overlayfs";
  } else if (device == EACCES) {
    check.detail = "/dev/fuse: Permission denied";
    check.fix = "chmod 666 /dev/fuse, as udev has it";
  } else if (device != 0) {
    check.detail = "/dev/fuse cannot be opened";
    check.fix = "modprobe fuse; in a container: --device /dev/fuse";
  }
  return check;
}

// What holds a run to --memory, --pids and --cpus; only a cgroup does it well.
std::vector<Check> Limits() {
  const bool root = ::geteuid() == 0;
  const LimitChoice choice = ProbeLimits();
  auto check = [&](const char* name, Controller controller, const char* otherwise,
                   const char* effect) {
    const LimitMeans means = choice.For(controller);
    const bool v2 = means == LimitMeans::kCgroup2;
    const bool good = v2 || means == LimitMeans::kCgroup1;
    return Check{
        .name = name,
        .good = good,
        .detail = good ? fmt::format("by cgroup v{}", v2 ? 2 : 1)
                       : fmt::format("by {}; no cgroup: {}", otherwise,
                                     choice.reasons[static_cast<size_t>(controller)]),
        .effect = effect,
        .fix = root ? "in a container: let it have a writable cgroup (docker, podman: "
                      "--cgroupns=private "
                      "with /sys/fs/cgroup writable)"
                    : "a cgroup of your own: with systemd, start strata from a login session or by "
                      "systemd-run --user --scope -p Delegate=yes; or run it as root",
        .means = LimitMeansName(means)};
  };
  const LimitMeans pids = choice.For(Controller::kPids);
  return {
      check("--memory", Controller::kMemory, "RLIMIT_DATA",
            "each process is limited by itself, and being out of memory is not reported"),
      check("--pids", Controller::kPids,
            pids == LimitMeans::kPidMax   ? "pid_max of the pid namespace, and RLIMIT_NPROC"
            : pids == LimitMeans::kRlimit ? "RLIMIT_NPROC"
                                          : "nothing",
            pids == LimitMeans::kPidMax
                ? "the limit is up to 300 more for uids that the command changes to, and for root"
            : pids == LimitMeans::kRlimit ? "before Linux 5.14, all processes of this user count"
                                          : "--pids is refused"),
      check("--cpus", Controller::kCpu, "processor affinity",
            "a whole number of processors, rounded up, which the command can change")};
}

Check SystemCall(const char* name, bool there, const char* effect) {
  return {.name = name,
          .good = there,
          .detail = there ? "" : "the kernel or a container's filter refuses it",
          .effect = effect,
          .fix = "a newer kernel, or a container profile that allows it"};
}

std::vector<Check> RunChecks(Context& context) {
  constexpr char kNewerKernel[] = "a newer kernel";
  std::vector<Check> checks;
  checks.push_back(Required(UserNamespaces()));
  std::string limit = NamespaceLimitHint();
  if (limit.empty()) limit = "raise the limits in /proc/sys/user/max_*_namespaces";
  checks.push_back(Required(
      Tried("all namespaces", ProbeAllNamespaces(), "no sandbox can be made", std::move(limit))));
  checks.push_back(Required(Tried(
      "new /proc", ProbeProc(), "no sandbox can be made",
      "the container masks /proc: run it with --security-opt systempaths=unconfined (docker), "
      "--security-opt unmask=ALL (podman), procMount: Unmasked (Kubernetes)")));
  Check overlay = Tried("overlay on tmpfs", ProbeOverlay({}), "--scratch tmpfs does not work",
                        "a kernel of 5.11 or later, with overlayfs: modprobe overlay");
  StoreChecks store = CheckStore(context);
  if (!overlay.good && !store.upper.good) {
    overlay.required = store.upper.required = true;
    overlay.effect = store.upper.effect = "nothing can be staged";
  }
  checks.push_back(std::move(overlay));
  checks.push_back(std::move(store.store));
  checks.push_back(std::move(store.upper));
  checks.push_back(std::move(store.space));
  checks.push_back(Tried("lowerdir+ by path", ProbeLowerByPath(),
                         "the older mount(2) is used: the layers' names must fit one page",
                         kNewerKernel));
  checks.push_back(Tried("lowerdir+ by descriptor", ProbeLowerByDescriptor(),
                         "with a store path of over 150 bytes the older mount(2) is used",
                         kNewerKernel));
  checks.push_back(Tried("mount_setattr", ProbeMountSetattr(),
                         "read-only binds are made mount by mount", kNewerKernel));
  checks.push_back(SystemCall("clone3", sys::HaveClone3(), "clone is used"));
  UniqueFd opened(sys::OpenAt2(AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT));
  checks.push_back(SystemCall("openat2", opened.valid(), "paths are walked step by step"));
  checks.push_back(IdRange());
  checks.push_back(Fuse());
  for (Check& check : Limits()) checks.push_back(std::move(check));
  return checks;
}

void PrintChecks(Output& out, const std::vector<Check>& checks, bool can_run) {
  for (const Check& check : checks) {
    const char* status = check.good ? "ok" : check.required ? "FAILED" : "missing";
    out.Print("{:<8} {}", status, check.name);
    if (!check.detail.empty()) out.Print(": {}", check.detail);
    out.Write("\n");
    if (check.good) continue;
    if (!check.effect.empty()) out.Print("         effect: {}\n", check.effect);
    out.Print("         fix: {}\n", check.fix);
  }
  out.Print("\n{}\n", can_run ? "strata run can work here." : "strata run cannot work here.");
}

Result<int> Doctor(Context& context, const ParsedArgs&) {
  std::vector<Check> checks = RunChecks(context);
  bool can_run = true;
  for (const Check& check : checks) {
    if (check.required && !check.good) can_run = false;
  }
  if (!context.json) {
    PrintChecks(context.out, checks, can_run);
    return can_run ? 0 : 1;
  }
  Json json;
  json["can_run"] = can_run;
  json["checks"] = Json::array();
  for (const Check& check : checks) {
    Json entry;
    entry["name"] = check.name;
    entry["ok"] = check.good;
    entry["required"] = check.required;
    SetText(entry, "detail", check.detail);
    if (!check.means.empty()) entry["means"] = check.means;
    if (!check.good) {
      entry["effect"] = check.effect;
      entry["fix"] = check.fix;
    }
    json["checks"].push_back(std::move(entry));
  }
  PrintJson(context.out, json);
  return can_run ? 0 : 1;
}

}  // namespace

constinit const CommandSpec kDoctorCommand = {
    .name = "doctor",
    .summary = "Say what this machine can do, what is missing, and how to fix it",
    .usage = "[--json]",
    .description =
        "Everything is tried, nothing is concluded from version numbers.\n\n"
        "The exit status is 0 when `strata run` can work, else 1.",
    .options = kDoctorOptions,
    .run = Doctor,
};

}  // namespace strata
