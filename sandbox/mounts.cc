// SPDX-License-Identifier: Apache-2.0
//
// The mounts of a sandbox. Everything here runs in the cloned child: no heap, failures as -errno
// and a ChildFailure. Nothing else runs in the new root yet, so a path that was checked stays as it
// is; but the root's content is not trusted, so every path in it is resolved inside it (openat2).
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cache/manifest.h"
#include "sandbox/child_plan.h"

namespace strata {
namespace {

constexpr unsigned long kNoSetuidNoDevices = MS_NOSUID | MS_NODEV;

struct Descriptor {
  int fd;
  explicit Descriptor(int value) noexcept : fd(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

struct FdPath {
  char text[32];
  explicit FdPath(int fd) noexcept { std::snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }
};

int Fail(ChildFailure* failure, int rc, const char* call, const char* argument) noexcept {
  failure->Set(-rc, call, argument);
  return rc;
}

// Without openat2 (a container's filter may deny it): component by component, no links at all.
int OpenInRootWithoutLinks(int root_fd, const char* path) noexcept {
  char component[256];
  int at = ::dup(root_fd);
  while (at >= 0) {
    while (*path == '/') ++path;
    if (*path == '\0') return at;
    size_t size = std::strcspn(path, "/");
    if (size >= sizeof component || (size == 2 && std::strncmp(path, "..", 2) == 0)) {
      ::close(at);
      return -ENAMETOOLONG;
    }
    std::memcpy(component, path, size);
    component[size] = '\0';
    path += size;
    int next = sys::OpenAt(at, component, O_PATH | O_NOFOLLOW);
    ::close(at);
    struct stat st;
    if (next >= 0 && ::fstat(next, &st) == 0 && S_ISLNK(st.st_mode)) {
      ::close(next);
      return -ELOOP;
    }
    at = next;
  }
  return at;
}

// Resolved as if `root_fd` were /: links, absolute ones too, never lead out of it.
int OpenInRoot(int root_fd, const char* path) noexcept {
  int fd = sys::OpenAt2(root_fd, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd == -ENOSYS || fd == -EPERM) fd = OpenInRootWithoutLinks(root_fd, path);
  return fd;
}

// Makes a missing target, with its parents. What is there already may be a layer's link, or the
// content of a bind: each step is resolved inside the root, and only a single name is ever made in
// it.
int MakeTarget(int root_fd, const ChildMount& mount) noexcept {
  char path[4096];
  size_t size = std::strlen(mount.target);
  if (size >= sizeof path) return -ENAMETOOLONG;
  std::memcpy(path, mount.target, size + 1);
  int parent = OpenInRoot(root_fd, "/");
  for (char* name = path + 1; parent >= 0;) {
    char* slash = std::strchr(name, '/');
    bool directory = slash != nullptr || mount.make_target == SandboxMount::MakeTarget::kDirectory;
    if (slash != nullptr) *slash = '\0';
    int rc = directory ? sys::MkdirAt(parent, name, 0755)
                       : sys::MknodAt(parent, name, S_IFREG | 0644, 0);
    ::close(parent);
    if (slash == nullptr || (rc < 0 && rc != -EEXIST)) return rc;
    parent = OpenInRoot(root_fd, path);
    *slash = '/';
    name = slash + 1;
  }
  return parent;
}

// Where a mount goes: `path` in `root_fd`, which was opened as `fd`.
struct Target {
  int root_fd;
  const char* path;
  int fd;
};

// What an older kernel, or the filter of a container, answers.
bool IsMissing(int rc) noexcept {
  return rc == -ENOSYS || rc == -EPERM;
}

// BindTo by mount(2). MOUNT_ATTR_* are MS_* as far as they are used here.
int BindByMount2(const char* source, const Target& target, bool recursive, uint64_t attributes,
                 ChildFailure* failure) noexcept {
  // A remount changes one mount, not those below it: read-only means all, so EINVAL if there are
  // any.
  bool all = recursive && (attributes & MOUNT_ATTR_RDONLY) == 0;
  int rc =
      sys::Mount(source, FdPath(target.fd).text, nullptr, MS_BIND | (all ? MS_REC : 0), nullptr);
  if (rc < 0) return Fail(failure, rc, "bind", source);
  // `target.fd` still leads below it.
  Descriptor mounted(OpenInRoot(target.root_fd, target.path));
  if (mounted.fd < 0) return Fail(failure, mounted.fd, "open mount point", target.path);
  FdPath to(mounted.fd);
  rc = sys::Mount(nullptr, to.text, nullptr, MS_PRIVATE | MS_REC, nullptr);
  if (rc == 0 && attributes != 0) {
    // What restricts it already may not be lifted.
    struct statvfs st;
    unsigned long flags = MS_REMOUNT | MS_BIND | attributes;
    if (::fstatvfs(mounted.fd, &st) == 0) {
      flags |= st.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC);
    }
    rc = sys::Mount(nullptr, to.text, nullptr, flags, nullptr);
  }
  return rc < 0 ? Fail(failure, rc, "remount", target.path) : 0;
}

// Puts the mount (or the tree of mounts) at `source` on `target`.
int BindTo(const char* source, const Target& target, bool recursive, uint64_t attributes,
           ChildFailure* failure) noexcept {
  unsigned tree_flags = OPEN_TREE_CLONE | (recursive ? unsigned{AT_RECURSIVE} : 0U);
  Descriptor tree(sys::OpenTree(AT_FDCWD, source, tree_flags));
  if (IsMissing(tree.fd)) return BindByMount2(source, target, recursive, attributes, failure);
  if (tree.fd < 0) return Fail(failure, tree.fd, "open_tree", source);
  if (attributes != 0) {
    struct mount_attr attr {};
    attr.attr_set = attributes;
    attr.propagation = MS_PRIVATE;  // what the host mounts later has none of these attributes
    int rc = sys::MountSetattr(tree.fd, "",
                               AT_EMPTY_PATH | (recursive ? unsigned{AT_RECURSIVE} : 0U), &attr);
    if (IsMissing(rc)) return BindByMount2(source, target, recursive, attributes, failure);
    if (rc < 0) return Fail(failure, rc, "mount_setattr", source);
  }
  int rc =
      sys::MoveMount(tree.fd, "", target.fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return rc < 0 ? Fail(failure, rc, "move_mount", target.path) : 0;
}

// `name` is a fresh entry of a directory that we made, so no link can be in the way. Read-only is
// about the inode, which is the host's: the host's root could change its mode or times. The device
// can be written.
int BindDevice(const char* source, int dev_fd, const char* name, ChildFailure* failure) noexcept {
  Descriptor file(sys::OpenAt(dev_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0666));
  if (file.fd < 0) return Fail(failure, file.fd, "create /dev entry", name);
  return BindTo(source, {dev_fd, name, file.fd}, false,
                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, failure);
}

// A directory right below the root that is no link: where /proc, /dev and /tmp go.
int OpenMountPoint(int root_fd, const char* name, ChildFailure* failure) noexcept {
  int fd = sys::OpenAt(root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) Fail(failure, fd, "open mount point", name);
  return fd;
}

int MountAt(const char* type, int target_fd, unsigned long flags, const char* options,
            const char* name, ChildFailure* failure) noexcept {
  FdPath to(target_fd);
  int rc = sys::Mount(type, to.text, type, flags, options);
  if (rc < 0) {
    char call[40];
    std::snprintf(call, sizeof call, "mount %s on", type);
    Fail(failure, rc, call, name);
  }
  return rc;
}

constexpr uint64_t kProtected =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Read-only, all but the processes. A mount for each entry takes 0.2 ms.
int ProtectAllButProcesses(int proc_fd, ChildFailure* failure) noexcept {
  Descriptor listing(sys::OpenAt(proc_fd, ".", O_RDONLY | O_DIRECTORY));
  if (listing.fd < 0) return Fail(failure, listing.fd, "open", "/proc");
  alignas(dirent64) char buffer[8192];
  for (;;) {
    int64_t size = sys::GetDents(listing.fd, buffer, sizeof buffer);
    if (size < 0) return Fail(failure, static_cast<int>(size), "getdents64", "/proc");
    if (size == 0) return 0;
    const dirent64* entry;
    for (int64_t at = 0; at < size; at += entry->d_reclen) {
      entry = reinterpret_cast<const dirent64*>(buffer + at);
      const char* name = entry->d_name;
      if (entry->d_type == DT_LNK || name[0] == '.' || (name[0] >= '0' && name[0] <= '9')) continue;
      Descriptor file(sys::OpenAt(proc_fd, name, O_PATH | O_NOFOLLOW));
      if (file.fd == -ENOENT) continue;  // a module was unloaded
      if (file.fd < 0) return Fail(failure, file.fd, "open /proc entry", name);
      int rc = BindTo(FdPath(file.fd).text, {proc_fd, name, file.fd}, false, kProtected, failure);
      if (rc < 0) return rc;
    }
  }
}

}  // namespace

int MountRoot(const ChildPlan& plan, ChildFailure* failure) noexcept {
  // Relative paths keep fsconfig's strings short, whatever the store is called.
  if (::chdir(plan.directory) != 0) return Fail(failure, -errno, "chdir", plan.directory);
  if (plan.tmpfs_upper_options != nullptr) {
    int rc =
        sys::Mount("tmpfs", plan.attach_at, "tmpfs", kNoSetuidNoDevices, plan.tmpfs_upper_options);
    if (rc < 0) return Fail(failure, rc, "mount tmpfs for scratch", plan.tmpfs_upper_options);
    for (const char* path : {plan.overlay.upper, plan.overlay.work}) {
      rc = sys::MkdirAt(AT_FDCWD, path, 0755);
      if (rc < 0) return Fail(failure, rc, "mkdir", path);
    }
    const timespec times[2] = {{kRootMtime, 0}, {kRootMtime, 0}};
    if (::utimensat(AT_FDCWD, plan.overlay.upper, times, 0) != 0) {
      return Fail(failure, -errno, "utimensat", plan.overlay.upper);
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
  if (proc.fd < 0) return Fail(failure, proc.fd, "open", "/proc");
  auto write_sysctl = [&](const char* path, const char* value) noexcept {
    Descriptor file(sys::OpenAt(proc.fd, path, O_WRONLY));
    if (file.fd >= 0) sys::Write(file.fd, value, std::strlen(value));
  };
  if (!plan.nested_userns) write_sysctl("sys/user/max_user_namespaces", "0");
  if (plan.namespaced_pid_max) write_sysctl("sys/kernel/pid_max", "32768");
  if (!plan.host_is_root) return 0;

  // The sandbox's uid 0 is the host's and owns what belongs to the machine in /proc: without any
  // capability it could write to it, and change its modes, which are the same in every procfs.
  // Nested user namespaces need /proc/self/uid_map.
  if (plan.nested_userns) {
    rc = ProtectAllButProcesses(proc.fd, failure);
  } else {
    struct mount_attr attr {};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    rc = sys::MountSetattr(proc.fd, "", AT_EMPTY_PATH, &attr);
    if (IsMissing(rc)) {
      rc = sys::Mount(nullptr, FdPath(proc.fd).text, nullptr, MS_REMOUNT | MS_BIND | kProtected,
                      nullptr);
    }
    if (rc < 0) Fail(failure, rc, "mount_setattr", "/proc");
  }
  if (rc < 0) return rc;
  for (const char* name : {"kcore", "keys", "timer_list"}) {
    Descriptor entry(sys::OpenAt(proc.fd, name, O_PATH | O_NOFOLLOW));
    if (entry.fd == -ENOENT) continue;
    if (entry.fd < 0) return Fail(failure, entry.fd, "open /proc entry", name);
    rc = BindTo("/dev/null", {proc.fd, name, entry.fd}, false, MOUNT_ATTR_RDONLY, failure);
    if (rc < 0) return rc;
  }
  return 0;
}

int MountDev(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  {
    Descriptor target(OpenMountPoint(root_fd, "dev", failure));
    if (target.fd < 0) return target.fd;
    int rc =
        MountAt("tmpfs", target.fd, MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m", "/dev", failure);
    if (rc < 0) return rc;
  }
  Descriptor dev(sys::OpenAt(root_fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (dev.fd < 0) return Fail(failure, dev.fd, "open", "/dev");
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
    if (rc < 0) return Fail(failure, rc, "symlink in /dev", link.name);
  }
  struct Directory {
    const char* name;
    const char* type;
    unsigned long flags;
    const char* options;
  };
  const Directory directories[] = {
      {"pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
      {"shm", "tmpfs", kNoSetuidNoDevices, plan.shm_options},
  };
  for (const Directory& directory : directories) {
    int rc = sys::MkdirAt(dev.fd, directory.name, 0755);
    if (rc < 0) return Fail(failure, rc, "mkdir in /dev", directory.name);
    Descriptor target(sys::OpenAt(dev.fd, directory.name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (target.fd < 0) return Fail(failure, target.fd, "open in /dev", directory.name);
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
      int rc = MakeTarget(root_fd, mount);
      if (rc < 0) return Fail(failure, rc, "make mount point", mount.target);
      target_fd = OpenInRoot(root_fd, mount.target);
    }
    Descriptor target(target_fd);
    if (target.fd < 0) return Fail(failure, target.fd, "open mount point", mount.target);
    int rc = 0;
    switch (mount.kind) {
      case SandboxMount::Kind::kTmpfs:
        rc = MountAt("tmpfs", target.fd, kNoSetuidNoDevices, mount.tmpfs_options, mount.target,
                     failure);
        break;
      case SandboxMount::Kind::kBind:
        rc = BindTo(mount.source, {root_fd, mount.target, target.fd}, true,
                    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                        (mount.read_only ? unsigned{MOUNT_ATTR_RDONLY} : 0U),
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
