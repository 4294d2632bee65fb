// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/probes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/child_report.h"
#include "base/io.h"
#include "base/process.h"
#include "base/sys.h"
#include "stager/overlay.h"

namespace strata {
namespace {

constexpr uint64_t kMountNamespace = CLONE_NEWUSER | CLONE_NEWNS;
constexpr char kScratch[] = "/tmp";  // a tmpfs is mounted there, which only the child sees

// Each step returns false when it failed, and has filled in the failure then.
bool Try(int64_t result, const char* call, const char* argument, ChildFailure* failure) noexcept {
  if (result >= 0) return true;
  failure->Set(static_cast<int>(-result), call, argument);
  return false;
}

bool WriteProcFile(const char* path, const char* text, ChildFailure* failure) noexcept {
  int fd = sys::OpenAt(AT_FDCWD, path, O_WRONLY);
  if (!Try(fd, "open", path, failure)) return false;
  int64_t written = sys::Write(fd, text, std::strlen(text));
  ::close(fd);
  return Try(written, "write", path, failure);
}

bool MapIds(uid_t uid, gid_t gid, ChildFailure* failure) noexcept {
  char map[32];
  std::snprintf(map, sizeof map, "0 %u 1", uid);
  if (!WriteProcFile("/proc/self/setgroups", "deny", failure)) return false;
  if (!WriteProcFile("/proc/self/uid_map", map, failure)) return false;
  std::snprintf(map, sizeof map, "0 %u 1", gid);
  return WriteProcFile("/proc/self/gid_map", map, failure);
}

// Runs `probe` (noexcept, returns whether it worked) in a child with the namespaces of `flags`. All
// that the child opens and mounts goes with it.
template <typename Probe>
Result<void> InChild(uint64_t flags, Probe probe) {
  STRATA_ASSIGN(Pipe pipe, MakePipe());
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  int pid_fd = -1;
  int64_t pid = sys::Clone(flags, &pid_fd);
  if (pid < 0) return FailSys(static_cast<int>(-pid), "clone", "with new namespaces");
  if (pid == 0) {
    ChildFailure failure;
    bool good = MapIds(uid, gid, &failure) && probe(&failure);
    if (!good) sys::Write(pipe.write.get(), &failure, sizeof failure);
    sys::ExitNow(good ? 0 : 1);
  }
  Process child(static_cast<pid_t>(pid), UniqueFd(pid_fd));
  pipe.write.reset();
  ChildFailure failure;
  int64_t size = sys::Read(pipe.read.get(), &failure, sizeof failure);
  STRATA_ASSIGN(ExitStatus status, child.Wait());
  if (size == sizeof failure) return Unexpected(failure.ToError());
  if (status.ShellCode() != 0) {
    return Fail(Errc::kSystem, "the probe ended with status {}", status.ShellCode());
  }
  return {};
}

bool ChangeDirectory(const char* path, ChildFailure* failure) noexcept {
  return Try(::chdir(path) == 0 ? 0 : -errno, "chdir", path, failure);
}

bool MountTmpfs(ChildFailure* failure) noexcept {
  return Try(sys::Mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount", "/",
             failure) &&
         Try(sys::Mount("tmpfs", kScratch, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m"), "mount",
             "tmpfs", failure) &&
         ChangeDirectory(kScratch, failure);
}

bool MakeLayers(ChildFailure* failure) noexcept {
  for (const char* name : {"a", "b", "upper", "work", "root"}) {
    if (!Try(sys::MkdirAt(AT_FDCWD, name, 0755), "mkdir", name, failure)) return false;
  }
  return true;
}

// Sets two lower layers by `set` (-errno on failure) and makes the file system.
template <typename Set>
Result<void> ProbeLower(Set set) {
  return InChild(kMountNamespace, [&](ChildFailure* failure) noexcept {
    if (!MountTmpfs(failure) || !MakeLayers(failure)) return false;
    int fs = sys::FsOpen("overlay", 0);
    return Try(fs, "fsopen", "overlay", failure) &&
           Try(sys::FsConfig(fs, FSCONFIG_SET_FLAG, "userxattr", nullptr, 0), "fsconfig",
               "userxattr", failure) &&
           Try(set(fs, "a"), "fsconfig", "lowerdir+", failure) &&
           Try(set(fs, "b"), "fsconfig", "lowerdir+", failure) &&
           Try(sys::FsConfig(fs, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0), "fsconfig", "create",
               failure);
  });
}

}  // namespace

Result<void> ProbeUserNamespace() {
  return InChild(kMountNamespace,
                 [](ChildFailure* failure) noexcept { return MountTmpfs(failure); });
}

Result<void> ProbeAllNamespaces() {
  return InChild(
      kMountNamespace | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
      [](ChildFailure*) noexcept { return true; });
}

Result<void> ProbeProc() {
  return InChild(kMountNamespace | CLONE_NEWPID, [](ChildFailure* failure) noexcept {
    return MountTmpfs(failure) && MakeLayers(failure) &&
           Try(sys::Mount("proc", "root", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
               "mount", "proc", failure);
  });
}

Result<void> ProbeOverlay(const std::string& scratch) {
  return InChild(kMountNamespace, [&](ChildFailure* failure) noexcept {
    bool ready = scratch.empty() ? MountTmpfs(failure) && MakeLayers(failure)
                                 : ChangeDirectory(scratch.c_str(), failure);
    if (!ready) return false;
    const char* lowers[] = {"a", "b"};
    OverlayPlan plan;
    plan.lowers = lowers;
    plan.lower_count = 2;
    plan.upper = "upper";
    plan.work = "work";
    int root = MountOverlay(plan, "root", failure);
    if (root < 0) return false;
    int file = sys::OpenAt(root, "file", O_WRONLY | O_CREAT, 0644);
    return Try(file, "create a file in the overlay", "", failure);
  });
}

Result<void> ProbeLowerByPath() {
  return ProbeLower([](int fs, const char* layer) noexcept {
    return sys::FsConfig(fs, FSCONFIG_SET_STRING, "lowerdir+", layer, 0);
  });
}

Result<void> ProbeLowerByDescriptor() {
  return ProbeLower([](int fs, const char* layer) noexcept {
    int fd = sys::OpenAt(AT_FDCWD, layer, O_PATH | O_DIRECTORY);
    return fd < 0 ? fd : sys::FsConfig(fs, FSCONFIG_SET_FD, "lowerdir+", nullptr, fd);
  });
}

Result<void> ProbeMountSetattr() {
  return InChild(kMountNamespace, [](ChildFailure* failure) noexcept {
    struct mount_attr attributes {};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    return MountTmpfs(failure) &&
           Try(sys::MountSetattr(AT_FDCWD, kScratch, 0, &attributes), "mount_setattr", "", failure);
  });
}

}  // namespace strata
