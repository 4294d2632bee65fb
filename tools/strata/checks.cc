// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/checks.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/helper_program.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "sandbox/explain.h"
#include "sandbox/id_choice.h"
#include "sandbox/limits.h"
#include "tools/strata/probes.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

// What a failed check is the cause of is not tried: it would only tell the same in other words.
Check NotTried(Check check, const Check& cause) {
  check.good = false;
  check.needs = cause.needs != nullptr ? cause.needs : cause.name;
  check.detail = fmt::format("not tried: needs {}", check.needs);
  check.fix = fmt::format("first make {} work", check.needs);
  return check;
}

const Check* IfFailed(const Check& cause) {
  return cause.good ? nullptr : &cause;
}

// Tries it, unless `cause` has failed already.
template <typename Probe>
Check Tried(const Check* cause, Check check, Probe probe) {
  if (cause != nullptr) return NotTried(std::move(check), *cause);
  const Result<void> result = probe();
  check.good = result.has_value();
  if (!result) {
    check.detail = result.error().message();
    check.sys_errno = result.error().sys_errno();
  }
  return check;
}

Check Required(Check check) {
  check.required = true;
  return check;
}

// --- Namespaces

Check Proc() {
  Check check{
      .name = "/proc", .effect = "no sandbox can be made", .fix = "mount -t proc proc /proc"};
  return Required(Tried(nullptr, std::move(check), [] {
    const bool there = ::access("/proc/self", F_OK) == 0;
    return there ? Result<void>() : FailSys(errno, "access", "/proc/self");
  }));
}

Check UserNamespaces(const Check& proc) {
  Check check{.name = "user namespaces", .effect = "no sandbox can be made"};
  check = Required(Tried(nullptr, std::move(check), ProbeUserNamespace));
  if (check.good) return check;
  // One was made, and its ids could not be set.
  if (!proc.good && check.sys_errno == ENOENT) return NotTried(std::move(check), proc);
  check.fix = UserNamespaceHint();
  if (check.fix.empty()) check.fix = NamespaceLimitHint();
  if (check.fix.empty()) {
    check.fix =
        "in a container: let it make user namespaces (docker, podman: "
        "--security-opt seccomp=unconfined, or a profile that allows clone and mount); in a chroot "
        "none can be made: enter that root by pivot_root, as systemd-nspawn does";
  }
  return check;
}

Check AllNamespaces(const Check& userns) {
  Check check{
      .name = "all namespaces", .effect = "no sandbox can be made", .fix = NamespaceLimitHint()};
  if (check.fix.empty()) check.fix = "raise the limits in /proc/sys/user/max_*_namespaces";
  return Required(Tried(IfFailed(userns), std::move(check), ProbeAllNamespaces));
}

Check NewProc(const Check& userns, const Check& all) {
  Check check{.name = "new /proc",
              .effect = "no sandbox can be made",
              .fix =
                  "the container masks /proc: run it with --security-opt systempaths=unconfined "
                  "(docker), --security-opt unmask=ALL (podman), procMount: Unmasked (Kubernetes)"};
  check = Required(Tried(IfFailed(userns), std::move(check), ProbeProc));
  const bool no_namespace = check.needs == nullptr && check.sys_errno == ENOSPC;
  return no_namespace && !all.good ? NotTried(std::move(check), all) : check;
}

// --- Overlays

constexpr char kNewerKernel[] = "a newer kernel, or a container profile that allows it";

Check OverlayOnTmpfs(const Check& userns) {
  Check check{.name = "overlay on tmpfs",
              .effect = "--scratch tmpfs does not work",
              .fix = "a kernel of 5.11 or later, with overlayfs: modprobe overlay"};
  return Tried(IfFailed(userns), std::move(check), [] { return ProbeOverlay({}); });
}

// Whether no overlay at all can be had, be the upper where it may: the kernel has none (ENODEV), or
// none for user namespaces (EPERM, before Linux 5.11).
bool HasOverlays(const Check& on_tmpfs) {
  return on_tmpfs.good || (on_tmpfs.sys_errno != ENODEV && on_tmpfs.sys_errno != EPERM);
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

Check FreeSpace(const Store& store) {
  constexpr uint64_t kLittle = 1 << 30;
  Check check{.name = "free space",
              .effect = "imports and builds soon fail",
              .fix = "make room, or put the store elsewhere: export STRATA_STORE=DIR"};
  struct statvfs fs;
  if (::fstatvfs(store.fd(), &fs) != 0) return check;
  const uint64_t bytes = uint64_t{fs.f_bavail} * fs.f_frsize;
  // Some file systems (btrfs) have no fixed number of inodes and say 0.
  const bool inodes = fs.f_files == 0 || fs.f_favail > 10000;
  check.good = bytes >= kLittle && inodes;
  check.detail = fmt::format("{}", FormatSize(bytes));
  if (fs.f_files != 0) check.detail += fmt::format(", {} inodes", uint64_t{fs.f_favail});
  return check;
}

// `no_overlay`: the failed check without which there is none; null where there is.
StoreChecks CheckStore(Context& context, const Check& proc, const Check* no_overlay) {
  StoreChecks checks;
  checks.store.required = true;
  checks.store.effect = "there is no place for layers";
  checks.space.effect = "imports and builds soon fail";
  checks.upper.effect = "what commands write cannot be kept on the store's file system";
  checks.upper.fix = "put the store on ext4, xfs, btrfs or tmpfs, or run with --scratch tmpfs";
  auto store = context.OpenStore();
  if (!store) {
    checks.store.detail = store.error().message();
    checks.store.fix = store.error().hint();
    if (!proc.good) checks.store = NotTried(std::move(checks.store), proc);
    checks.upper = NotTried(std::move(checks.upper), checks.store);
    checks.space = NotTried(std::move(checks.space), checks.store);
    return checks;
  }
  checks.store.good = true;
  checks.store.detail = (*store)->path();
  checks.space = FreeSpace(**store);
  checks.upper =
      Tried(no_overlay, std::move(checks.upper), [&] { return ProbeStoreUpper(**store); });
  return checks;
}

// --- What more than one id needs

Check MoreIds(const Check& proc, const Check& userns) {
  Check check{.name = "subordinate ids",
              .effect =
                  "a sandbox has one user id: chown to others, apt-get install and dpkg -i "
                  "fail in it"};
  if (!proc.good) return NotTried(std::move(check), proc);
  // That there is no range, or no newuidmap, is worth knowing even so.
  Result<IdMapping> range = SubordinateIds();
  if (range && !userns.good) return NotTried(std::move(check), userns);
  Result<void> tried = range ? TryRange(*range) : Unexpected(range.error());
  if (!tried) check.fix = tried.error().hint();
  return Tried(nullptr, std::move(check), [&] { return tried; });
}

// --- Other helpers

Check Fuse() {
  Check check{.name = "fuse-overlayfs",
              .effect = "no other way to stage where the kernel's overlay is refused"};
  bool program = !FindProgram("fuse-overlayfs").empty();
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
std::vector<Check> Limits(const Check& proc) {
  const bool root = ::geteuid() == 0;
  const LimitChoice choice = ProbeLimits();
  auto check = [&](const char* name, Controller controller, const char* otherwise,
                   const char* effect) {
    const LimitMeans means = choice.For(controller);
    const bool v2 = means == LimitMeans::kCgroup2;
    const bool good = v2 || means == LimitMeans::kCgroup1;
    Check result{
        .name = name,
        .good = good,
        .detail = good ? fmt::format("by cgroup v{}", v2 ? 2 : 1)
                       : fmt::format("by {}; no cgroup: {}", otherwise,
                                     choice.reasons[static_cast<size_t>(controller)]),
        .effect = effect,
        .fix = root ? "in a container: let it have a writable cgroup (docker, podman: "
                      "--cgroupns=private with /sys/fs/cgroup writable)"
                    : "a cgroup of your own: with systemd, start strata from a login session or by "
                      "systemd-run --user --scope -p Delegate=yes; or run it as root",
        .means = LimitMeansName(means)};
    return proc.good ? result : NotTried(std::move(result), proc);
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
          .fix = kNewerKernel};
}

}  // namespace

std::vector<Check> RunChecks(Context& context) {
  Check proc = Proc();
  Check userns = UserNamespaces(proc);
  Check all = AllNamespaces(userns);
  Check new_proc = NewProc(userns, all);
  Check on_tmpfs = OverlayOnTmpfs(userns);
  const Check* no_overlay = HasOverlays(on_tmpfs) ? IfFailed(userns) : &on_tmpfs;
  StoreChecks store = CheckStore(context, proc, no_overlay);
  Check by_path =
      Tried(no_overlay,
            {.name = "lowerdir+ by path",
             .effect = "the older mount(2) is used: the layers' names must fit one page",
             .fix = kNewerKernel},
            ProbeLowerByPath);
  Check by_descriptor =
      Tried(no_overlay != nullptr ? no_overlay : IfFailed(by_path),
            {.name = "lowerdir+ by descriptor",
             .effect = "with a store path of over 150 bytes the older mount(2) is used",
             .fix = kNewerKernel},
            ProbeLowerByDescriptor);
  Check setattr = Tried(IfFailed(userns),
                        {.name = "mount_setattr",
                         .effect = "read-only binds are made mount by mount",
                         .fix = kNewerKernel},
                        ProbeMountSetattr);
  UniqueFd opened(sys::OpenAt2(AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT));
  Check ids = MoreIds(proc, userns);
  if (!on_tmpfs.good && !store.upper.good) {
    on_tmpfs.required = store.upper.required = true;
    on_tmpfs.effect = store.upper.effect = "nothing can be staged";
  }

  std::vector<Check> checks = {
      std::move(proc),
      std::move(userns),
      std::move(all),
      std::move(new_proc),
      std::move(on_tmpfs),
      std::move(store.store),
      std::move(store.upper),
      std::move(store.space),
      std::move(by_path),
      std::move(by_descriptor),
      std::move(setattr),
      SystemCall("clone3", sys::HaveClone3(), "clone is used"),
      SystemCall("openat2", opened.valid(), "paths are walked step by step"),
      std::move(ids),
      Fuse()};
  for (Check& check : Limits(checks.front())) checks.push_back(std::move(check));
  return checks;
}

}  // namespace strata
