// SPDX-License-Identifier: Apache-2.0
#include "sandbox/mount_ops.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>

namespace strata {
namespace {

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

// BindTo by mount(2). MOUNT_ATTR_* are MS_* as far as they are used here.
int BindByMount2(const char* source, const MountTarget& target, const BindKind& kind,
                 ChildFailure* failure) noexcept {
  // A remount changes one mount, not those below it: read-only means all, so EINVAL if there are
  // any.
  bool all = kind.recursive && (kind.attributes & MOUNT_ATTR_RDONLY) == 0;
  int rc =
      sys::Mount(source, FdPath(target.fd).text, nullptr, MS_BIND | (all ? MS_REC : 0), nullptr);
  if (rc < 0) return FailStep(failure, rc, "bind", source);
  // `target.fd` still leads below it.
  Descriptor mounted(OpenInRoot(target.root_fd, target.path));
  if (mounted.fd < 0) return FailStep(failure, mounted.fd, "open mount point", target.path);
  FdPath to(mounted.fd);
  rc = 0;
  if (kind.propagation != 0) {
    rc = sys::Mount(nullptr, to.text, nullptr, kind.propagation | MS_REC, nullptr);
  }
  if (rc == 0 && kind.attributes != 0) {
    // What restricts it already may not be lifted.
    struct statvfs st;
    unsigned long flags = MS_REMOUNT | MS_BIND | kind.attributes;
    if (::fstatvfs(mounted.fd, &st) == 0) {
      flags |= st.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC);
    }
    rc = sys::Mount(nullptr, to.text, nullptr, flags, nullptr);
  }
  return rc < 0 ? FailStep(failure, rc, "remount", target.path) : 0;
}

constexpr uint64_t kProtected =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Read-only, all but the processes. A mount for each entry takes 0.2 ms.
int ProtectAllButProcesses(int proc_fd, ChildFailure* failure) noexcept {
  Descriptor listing(sys::OpenAt(proc_fd, ".", O_RDONLY | O_DIRECTORY));
  if (listing.fd < 0) return FailStep(failure, listing.fd, "open", "/proc");
  alignas(dirent64) char buffer[8192];
  for (;;) {
    int64_t size = sys::GetDents(listing.fd, buffer, sizeof buffer);
    if (size < 0) return FailStep(failure, static_cast<int>(size), "getdents64", "/proc");
    if (size == 0) return 0;
    const dirent64* entry;
    for (int64_t at = 0; at < size; at += entry->d_reclen) {
      entry = reinterpret_cast<const dirent64*>(buffer + at);
      const char* name = entry->d_name;
      if (entry->d_type == DT_LNK || name[0] == '.' || (name[0] >= '0' && name[0] <= '9')) continue;
      Descriptor file(sys::OpenAt(proc_fd, name, O_PATH | O_NOFOLLOW));
      if (file.fd == -ENOENT) continue;  // a module was unloaded
      if (file.fd < 0) return FailStep(failure, file.fd, "open /proc entry", name);
      int rc = BindTo(FdPath(file.fd).text, {proc_fd, name, file.fd}, {false, kProtected}, failure);
      if (rc < 0) return rc;
    }
  }
}

}  // namespace

int FailStep(ChildFailure* failure, int rc, const char* call, const char* argument) noexcept {
  failure->Set(-rc, call, argument);
  return rc;
}

int OpenInRoot(int root_fd, const char* path) noexcept {
  int fd = sys::OpenAt2(root_fd, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd == -ENOSYS || fd == -EPERM) fd = OpenInRootWithoutLinks(root_fd, path);
  return fd;
}

int OpenParent(int root_fd, const char* path_in_root, mode_t parent_mode,
               char (&name)[256]) noexcept {
  char path[4096];
  size_t size = std::strlen(path_in_root);
  while (size > 0 && path_in_root[size - 1] == '/') --size;
  size_t start = size;
  while (start > 0 && path_in_root[start - 1] != '/') --start;
  if (size >= sizeof path || size - start >= sizeof name) return -ENAMETOOLONG;
  std::memcpy(name, path_in_root + start, size - start);
  name[size - start] = '\0';
  if (size == 0) std::strcpy(name, ".");
  while (start > 0 && path_in_root[start - 1] == '/') --start;
  if (start == 0) return OpenInRoot(root_fd, "/");
  std::memcpy(path, path_in_root, start);
  path[start] = '\0';
  int parent = OpenInRoot(root_fd, path);
  if (parent != -ENOENT) return parent;

  parent = OpenInRoot(root_fd, "/");
  for (char* at = path; parent >= 0;) {
    while (*at == '/') ++at;
    if (*at == '\0') return parent;
    char* end = at + std::strcspn(at, "/");
    const char cut = *end;
    *end = '\0';
    int rc = sys::MkdirAt(parent, at, parent_mode);
    ::close(parent);
    if (rc < 0 && rc != -EEXIST) return rc;
    parent = OpenInRoot(root_fd, path);
    *end = cut;
    at = end;
  }
  return parent;
}

int MakeMountPoint(int root_fd, const char* path, mode_t mode, mode_t parent_mode) noexcept {
  char name[256];
  Descriptor parent(OpenParent(root_fd, path, parent_mode, name));
  if (parent.fd < 0) return parent.fd;
  if (S_ISDIR(mode)) return sys::MkdirAt(parent.fd, name, mode & 07777);
  int rc = sys::MknodAt(parent.fd, name, mode, 0);
  if (rc != -EEXIST) return rc;
  // A link to nothing: mknod does not follow it.
  Descriptor file(sys::OpenAt2(root_fd, path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY,
                               mode & 07777, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  return file.fd < 0 ? file.fd : 0;
}

BindSource::BindSource(const char* source, bool recursive) noexcept
    : opened(sys::OpenTree(AT_FDCWD, source,
                           OPEN_TREE_CLONE | (recursive ? unsigned{AT_RECURSIVE} : 0U))),
      path(source),
      is_copy(true) {
  if (!IsMissing(opened.fd)) return;
  is_copy = false;
  opened.fd = sys::OpenAt(AT_FDCWD, source, O_PATH);
}

int AttachBind(const BindSource& source, const MountTarget& target, const BindKind& kind,
               ChildFailure* failure) noexcept {
  if (!source.is_copy) return BindByMount2(source.path, target, kind, failure);
  const int tree_fd = source.opened.fd;
  if (kind.attributes != 0 || kind.propagation != 0) {
    struct mount_attr attr {};
    attr.attr_set = kind.attributes;
    attr.propagation = kind.propagation;  // what the host mounts later has none of the attributes
    int rc = sys::MountSetattr(
        tree_fd, "", AT_EMPTY_PATH | (kind.recursive ? unsigned{AT_RECURSIVE} : 0U), &attr);
    if (IsMissing(rc)) return BindByMount2(source.path, target, kind, failure);
    if (rc < 0) return FailStep(failure, rc, "mount_setattr", source.path);
  }
  int rc =
      sys::MoveMount(tree_fd, "", target.fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return rc < 0 ? FailStep(failure, rc, "move_mount", target.path) : 0;
}

int BindTo(const char* source, const MountTarget& target, const BindKind& kind,
           ChildFailure* failure) noexcept {
  BindSource opened(source, kind.recursive);
  if (opened.opened.fd < 0) return FailStep(failure, opened.opened.fd, "open_tree", source);
  return AttachBind(opened, target, kind, failure);
}

int MountAt(const char* type, int target_fd, unsigned long flags, const char* options,
            const char* name, ChildFailure* failure) noexcept {
  FdPath to(target_fd);
  int rc = sys::Mount(type, to.text, type, flags, options);
  if (rc < 0) {
    char call[40];
    std::snprintf(call, sizeof call, "mount %s on", type);
    FailStep(failure, rc, call, name);
  }
  return rc;
}

int ProtectProc(int proc_fd, bool but_processes, ChildFailure* failure) noexcept {
  int rc = 0;
  if (but_processes) {
    rc = ProtectAllButProcesses(proc_fd, failure);
  } else {
    struct mount_attr attr {};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    rc = sys::MountSetattr(proc_fd, "", AT_EMPTY_PATH, &attr);
    if (IsMissing(rc)) {
      rc = sys::Mount(nullptr, FdPath(proc_fd).text, nullptr, MS_REMOUNT | MS_BIND | kProtected,
                      nullptr);
    }
    if (rc < 0) FailStep(failure, rc, "mount_setattr", "/proc");
  }
  if (rc < 0) return rc;
  for (const char* name : {"kcore", "keys", "timer_list"}) {
    Descriptor entry(sys::OpenAt(proc_fd, name, O_PATH | O_NOFOLLOW));
    if (entry.fd == -ENOENT) continue;
    if (entry.fd < 0) return FailStep(failure, entry.fd, "open /proc entry", name);
    rc = BindTo("/dev/null", {proc_fd, name, entry.fd}, {false, MOUNT_ATTR_RDONLY}, failure);
    if (rc < 0) return rc;
  }
  return 0;
}

// `name` is a fresh entry of a directory that we made, so no link can be in the way. Read-only is
// about the inode, which is the host's: the host's root could change its mode or times. The device
// can be written.
int BindDevice(const char* source, int dev_fd, const char* name, ChildFailure* failure) noexcept {
  Descriptor file(sys::OpenAt(dev_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0666));
  if (file.fd < 0) return FailStep(failure, file.fd, "create /dev entry", name);
  return BindTo(source, {dev_fd, name, file.fd},
                {false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC}, failure);
}

}  // namespace strata
