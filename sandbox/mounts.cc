// SPDX-License-Identifier: Apache-2.0
//
// What is mounted in a sandbox, and where, in the order of the calls.
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cache/manifest.h"
#include "sandbox/child_plan.h"
#include "sandbox/mount_ops.h"

namespace strata {
namespace {

// A directory right below the root that is no link: where /proc, /dev and /tmp go.
int OpenMountPoint(int root_fd, const char* name, ChildFailure* failure) noexcept {
  int fd = sys::OpenAt(root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) FailStep(failure, fd, "open mount point", name);
  return fd;
}

}  // namespace

int MountRoot(const ChildPlan& plan, ChildFailure* failure) noexcept {
  // Relative paths keep fsconfig's strings short, whatever the store is called.
  if (::chdir(plan.directory) != 0) return FailStep(failure, -errno, "chdir", plan.directory);
  if (plan.tmpfs_upper_options != nullptr) {
    int rc =
        sys::Mount("tmpfs", plan.attach_at, "tmpfs", kNoSetuidNoDevices, plan.tmpfs_upper_options);
    if (rc < 0) return FailStep(failure, rc, "mount tmpfs for scratch", plan.tmpfs_upper_options);
    for (const char* path : {plan.overlay.upper, plan.overlay.work}) {
      rc = sys::MkdirAt(AT_FDCWD, path, 0755);
      if (rc < 0) return FailStep(failure, rc, "mkdir", path);
    }
    const timespec times[2] = {{kRootMtime, 0}, {kRootMtime, 0}};
    if (::utimensat(AT_FDCWD, plan.overlay.upper, times, 0) != 0) {
      return FailStep(failure, -errno, "utimensat", plan.overlay.upper);
    }
  }
  return MountOverlay(plan.overlay, plan.attach_at, failure);
}

int MountProc(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  Descriptor target(OpenMountPoint(root_fd, "proc", failure));
  if (target.fd < 0) return target.fd;
  int rc = MountAt("proc", target.fd, kNoSetuidNoDevices | MS_NOEXEC, nullptr, "/proc", failure);
  if (rc < 0) return rc;
  // Limits of the namespaces, written before /proc/sys may become read-only. A kernel that has no
  // such file, or one that another security layer guards, leaves it to RLIMIT_NPROC and the filter.
  Descriptor proc(sys::OpenAt(root_fd, "proc", O_PATH | O_DIRECTORY));
  if (proc.fd < 0) return FailStep(failure, proc.fd, "open", "/proc");
  auto write_sysctl = [&](const char* path, const char* value) noexcept {
    Descriptor file(sys::OpenAt(proc.fd, path, O_WRONLY));
    if (file.fd >= 0) sys::Write(file.fd, value, std::strlen(value));
  };
  if (!plan.nested_userns) write_sysctl("sys/user/max_user_namespaces", "0");
  if (plan.pid_max[0] != '\0') write_sysctl("sys/kernel/pid_max", plan.pid_max);
  if (!plan.host_is_root) return 0;
  // Nested user namespaces need /proc/self/uid_map.
  return ProtectProc(proc.fd, plan.nested_userns, failure);
}

int MountDev(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  {
    Descriptor target(OpenMountPoint(root_fd, "dev", failure));
    if (target.fd < 0) return target.fd;
    int rc = MountAt("tmpfs", target.fd, MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m,nr_inodes=1024",
                     "/dev", failure);
    if (rc < 0) return rc;
  }
  Descriptor dev(sys::OpenAt(root_fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (dev.fd < 0) return FailStep(failure, dev.fd, "open", "/dev");
  struct Device {
    const char* source;
    const char* name;
  };
  static constexpr Device kDevices[] = {
      {"/dev/null", "null"},     {"/dev/zero", "zero"},       {"/dev/full", "full"},
      {"/dev/random", "random"}, {"/dev/urandom", "urandom"}, {"/dev/tty", "tty"},
  };
  for (const Device& device : kDevices) {
    int rc = BindDevice(device.source, dev.fd, device.name, failure);
    if (rc < 0) return rc;
  }
  struct Link {
    const char* target;
    const char* name;
  };
  static constexpr Link kLinks[] = {
      {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
      {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
  };
  for (const Link& link : kLinks) {
    int rc = sys::SymlinkAt(link.target, dev.fd, link.name);
    if (rc < 0) return FailStep(failure, rc, "symlink in /dev", link.name);
  }
  struct Directory {
    const char* name;
    const char* type;
    unsigned long flags;
    const char* options;
  };
  const Directory directories[] = {
      {"pts", "devpts", MS_NOSUID | MS_NOEXEC, plan.pts_options},
      {"shm", "tmpfs", kNoSetuidNoDevices, plan.shm_options},
  };
  for (const Directory& directory : directories) {
    int rc = sys::MkdirAt(dev.fd, directory.name, 0755);
    if (rc < 0) return FailStep(failure, rc, "mkdir in /dev", directory.name);
    Descriptor target(sys::OpenAt(dev.fd, directory.name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (target.fd < 0) return FailStep(failure, target.fd, "open in /dev", directory.name);
    rc = MountAt(directory.type, target.fd, directory.flags, directory.options, directory.name,
                 failure);
    if (rc < 0) return rc;
  }
  return 0;
}

int MountTmp(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  Descriptor target(OpenMountPoint(root_fd, "tmp", failure));
  if (target.fd < 0) return target.fd;
  return MountAt("tmpfs", target.fd, kNoSetuidNoDevices, plan.tmp_options, "/tmp", failure);
}

int MountExtras(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  for (size_t i = 0; i < plan.mount_count; ++i) {
    const ChildMount& mount = plan.mounts[i];
    int target_fd = OpenInRoot(root_fd, mount.target);
    if (target_fd == -ENOENT && mount.make_target != SandboxMount::MakeTarget::kNo) {
      const bool directory = mount.make_target == SandboxMount::MakeTarget::kDirectory;
      int rc =
          MakeMountPoint(root_fd, mount.target, directory ? S_IFDIR | 0755 : S_IFREG | 0644, 0755);
      if (rc < 0) return FailStep(failure, rc, "make mount point", mount.target);
      target_fd = OpenInRoot(root_fd, mount.target);
    }
    Descriptor target(target_fd);
    if (target.fd < 0) return FailStep(failure, target.fd, "open mount point", mount.target);
    int rc = 0;
    switch (mount.kind) {
      case SandboxMount::Kind::kTmpfs:
        rc = MountAt("tmpfs", target.fd, kNoSetuidNoDevices, mount.tmpfs_options, mount.target,
                     failure);
        break;
      case SandboxMount::Kind::kBind:
        rc = BindTo(mount.source, {root_fd, mount.target, target.fd},
                    {true, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                               (mount.read_only ? unsigned{MOUNT_ATTR_RDONLY} : 0U)},
                    failure);
        break;
      case SandboxMount::Kind::kCopyOnWrite: {
        OverlayPlan overlay{.lowers = &mount.source,
                            .lower_count = 1,
                            .upper = mount.upper,
                            .work = mount.work,
                            .uniform_inodes = false,
                            .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
        rc = MountOverlay(overlay, FdPath(target.fd).text, failure);
        if (rc >= 0) {
          ::close(rc);
          rc = 0;
        }
        break;
      }
    }
    if (rc < 0) return rc;
  }
  return 0;
}

}  // namespace strata
