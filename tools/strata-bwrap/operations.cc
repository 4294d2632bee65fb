// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/operations.h"

#include <linux/openat2.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sandbox/mount_ops.h"
#include "stager/overlay.h"
#include "tools/strata-bwrap/message.h"

namespace strata::bwrap {
namespace {

constexpr mode_t kDirectoryMode = S_IFDIR | 0755;
constexpr mode_t kFileMode = S_IFREG | 0444;

// Who gives a file no access for the group or the others wants that for the directories made for
// it.
mode_t ParentMode(const Operation& operation) noexcept {
  mode_t mode = 0755;
  if (operation.mode >= 0 && (operation.mode & 0070) == 0) mode &= ~mode_t{0050};
  if (operation.mode >= 0 && (operation.mode & 0007) == 0) mode &= ~mode_t{0005};
  return mode;
}

[[noreturn]] void DieOfTarget(int rc, const Operation& operation, const NewRoot& root,
                              bool directory) noexcept {
  char name[256];
  Descriptor parent(OpenParent(root.fd, operation.target, ParentMode(operation), name));
  if (parent.fd < 0) DieWith(parent.fd, "Can't mkdir parents for %s", operation.target);
  if (directory) DieWith(rc, "Can't mkdir %s", operation.target);
  DieWith(rc, "Can't create file at %s", operation.target);
}

// The target of an operation, made where it is missing, opened by O_PATH.
struct Target {
  Descriptor opened;
  bool is_root = false;

  Target(const Operation& operation, const NewRoot& root, mode_t mode) noexcept
      : opened(OpenInRoot(root.fd, operation.target)) {
    const bool directory = S_ISDIR(mode);
    if (opened.fd == -ENOENT) {
      int rc = MakeMountPoint(root.fd, operation.target, mode, ParentMode(operation));
      if (rc < 0) DieOfTarget(rc, operation, root, directory);
      opened.fd = OpenInRoot(root.fd, operation.target);
    }
    if (opened.fd < 0) DieOfTarget(opened.fd, operation, root, directory);
    struct stat st;
    if (::fstat(opened.fd, &st) != 0) DieOfTarget(errno, operation, root, directory);
    if (S_ISDIR(st.st_mode) != directory) {
      Die("Destination is not a %s %s", directory ? "directory" : "file", operation.target);
    }
    is_root = directory && st.st_ino == root.identity.st_ino && st.st_dev == root.identity.st_dev;
  }
};

// The directory that the target is an entry of, and the entry's name.
struct Parent {
  char name[256];
  Descriptor opened;

  Parent(const Operation& operation, const NewRoot& root) noexcept
      : opened(OpenParent(root.fd, operation.target, ParentMode(operation), name)) {
    if (opened.fd < 0) DieWith(opened.fd, "Can't mkdir parents for %s", operation.target);
  }
};

// With all mounts below it, which go on receiving what the host mounts there.
BindKind Kind(const Operation& operation) noexcept {
  uint64_t attributes = MOUNT_ATTR_NOSUID;
  if (!operation.devices) attributes |= MOUNT_ATTR_NODEV;
  if (operation.read_only) attributes |= MOUNT_ATTR_RDONLY;
  return {.recursive = true, .attributes = attributes, .propagation = 0};
}

void Attach(const BindSource& source, const char* name, const Operation& operation,
            const Options& options, NewRoot* root) noexcept {
  struct stat st;
  if (::fstat(source.opened.fd, &st) != 0) DieWith(errno, "Can't get type of source %s", name);
  Target target(operation, *root, S_ISDIR(st.st_mode) ? kDirectoryMode : kFileMode);
  const MountTarget place{root->fd, operation.target, target.opened.fd};
  BindKind kind = Kind(operation);
  ChildFailure failure;
  int rc = AttachBind(source, place, kind, &failure);
  if (rc < 0 && options.not_a_security_boundary) {
    Warn("Can't remount what is mounted below %s (%s), ignoring error", name,
         ::strerrordesc_np(-rc));
    kind.recursive = false;
    rc = AttachBind(source, place, kind, &failure);
  }
  if (rc < 0) {
    DieMount(rc, "Can't bind mount %s on %s: Unable to mount source on destination", name,
             operation.target);
  }
  if (target.is_root) ReopenRoot(root);
}

void DieOfSource(int error, const char* name, const Operation& operation) noexcept {
  // The kernel's answer for what may not be copied (an unbindable mount).
  if (error == -EINVAL) {
    DieMount(error, "Can't bind mount %s on %s: Unable to mount source on destination", name,
             operation.target);
  }
  DieWith(error, "Can't find source path %s", name);
}

void Bind(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  BindSource source(operation.source, true);
  if (source.opened.fd == -ENOENT && operation.optional) return;
  if (source.opened.fd < 0) DieOfSource(source.opened.fd, operation.source, operation);
  Attach(source, operation.source, operation, options, root);
}

// The descriptor was opened in the caller's mount namespace, of which nothing can be mounted here.
// So its path is looked up again, and must lead to the same file.
void BindOpened(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  FdPath link(operation.fd);
  char path[4096];
  int64_t size = sys::ReadlinkAt(AT_FDCWD, link.text, path, sizeof path - 1);
  if (size < 0) DieWith(static_cast<int>(size), "Can't find source path %s", link.text);
  path[size] = '\0';
  BindSource source(path, true);
  if (source.opened.fd < 0) DieOfSource(source.opened.fd, link.text, operation);
  struct stat wanted;
  struct stat found;
  if (::fstat(operation.fd, &wanted) != 0) DieWith(errno, "Can't stat fd %d", operation.fd);
  if (::fstat(source.opened.fd, &found) != 0) {
    DieWith(errno, "Can't stat mount at %s", operation.target);
  }
  if (wanted.st_ino != found.st_ino || wanted.st_dev != found.st_dev) {
    Die("Race condition binding dirfd");
  }
  Attach(source, path, operation, options, root);
  ::close(operation.fd);
}

// The directory `prefix``number` beside the new root, made.
int MakeScratch(const NewRoot& root, const char* prefix, int number) noexcept {
  char name[64];
  std::snprintf(name, sizeof name, "%s%d", prefix, number);
  int rc = sys::MkdirAt(root.base_fd, name, 0755);
  if (rc == 0) rc = sys::OpenAt(root.base_fd, name, O_PATH | O_DIRECTORY);
  if (rc < 0) DieWith(rc, "Creating --tmp-overlay directory failed");
  return rc;
}

void CheckSource(const char* path) noexcept {
  struct stat st;
  int rc = sys::FstatAt(AT_FDCWD, path, &st, 0);
  if (rc < 0) DieWith(rc, "Can't find source path %s", path);
}

void MountLayers(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  static int scratch_count = 0;
  const char* const* layers = options.layers.data() + operation.first_layer;
  for (size_t i = 0; i < operation.layer_count; ++i) CheckSource(layers[i]);
  Target target(operation, *root, kDirectoryMode);
  OverlayPlan plan{.lowers = layers,
                   .lower_count = operation.layer_count,
                   .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  Descriptor upper(-1);
  Descriptor work(-1);
  if (operation.upper != nullptr) {
    CheckSource(operation.upper);
    CheckSource(operation.work);
    plan.upper = operation.upper;
    plan.work = operation.work;
    plan.keep_upper = true;
  } else if (operation.scratch) {
    upper.fd = MakeScratch(*root, "tmp-overlay-upper-", scratch_count);
    work.fd = MakeScratch(*root, "tmp-overlay-work-", scratch_count++);
  }
  // No path leads there from here.
  FdPath upper_path(upper.fd);
  FdPath work_path(work.fd);
  if (operation.scratch) {
    plan.upper = upper_path.text;
    plan.work = work_path.text;
  }
  ChildFailure failure;
  int rc = MountOverlay(plan, FdPath(target.opened.fd).text, &failure);
  if (rc == -ELOOP) {
    Die("Can't make overlay mount on %s with options %s: Overlay directories may not overlap",
        operation.target, failure.argument);
  }
  if (rc < 0) {
    DieMount(rc, "Can't make overlay mount on %s with options %s", operation.target,
             failure.argument);
  }
  ::close(rc);
  if (target.is_root) ReopenRoot(root);
}

// A file system of its own on a directory. Returns it, opened.
int MountOn(const Operation& operation, NewRoot* root, const char* type, unsigned long flags,
            const char* data) noexcept {
  Target target(operation, *root, kDirectoryMode);
  ChildFailure failure;
  int rc = MountAt(type, target.opened.fd, flags, data, operation.target, &failure);
  if (rc < 0) DieMount(rc, "Can't mount %s on %s", type, operation.target);
  if (target.is_root) ReopenRoot(root);
  int fd = OpenInRoot(root->fd, operation.target);
  if (fd < 0) DieWith(fd, "Can't open %s", operation.target);
  return fd;
}

int BindHostProc(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  BindSource source("/proc", true);
  if (source.opened.fd < 0) DieOfSource(source.opened.fd, "/proc", operation);
  Attach(source, "/proc", operation, options, root);
  int fd = OpenInRoot(root->fd, operation.target);
  if (fd < 0) DieWith(fd, "Can't open %s", operation.target);
  return fd;
}

// Without a pid namespace there is only the caller's procfs. What belongs to the machine is made
// read-only for those who could write to it, root.
void MountProc(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  const bool own = options.unshare_pid || options.pidns_fd >= 0;
  Descriptor proc(own ? MountOn(operation, root, "proc", kNoSetuidNoDevices | MS_NOEXEC, nullptr)
                      : BindHostProc(options, operation, root));
  for (const char* name : {"sys", "sysrq-trigger", "irq", "bus"}) {
    Descriptor entry(sys::OpenAt(proc.fd, name, O_PATH | O_NOFOLLOW));
    if (entry.fd == -ENOENT) continue;
    struct stat st;
    if (entry.fd < 0 || ::fstat(entry.fd, &st) != 0) {
      DieWith(entry.fd < 0 ? entry.fd : errno, "Can't access %s/%s", operation.target, name);
    }
    // Not even its owner may write to the directory sys, but to the files in it.
    if (st.st_uid != ::geteuid() && ::faccessat(proc.fd, name, W_OK, 0) != 0) continue;
    FdPath source(entry.fd);
    ChildFailure failure;
    int rc = BindTo(source.text, {proc.fd, name, entry.fd},
                    {true, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0}, &failure);
    if (rc < 0) {
      DieMount(rc, "Can't bind mount %s/%s: Unable to mount source on destination",
               operation.target, name);
    }
  }
}

void MakeDevLink(int dev_fd, const char* says, const char* name,
                 const Operation& operation) noexcept {
  int rc = sys::SymlinkAt(says, dev_fd, name);
  if (rc < 0) DieWith(rc, "Can't create symlink %s/%s", operation.target, name);
}

void MountDev(const Operation& operation, const char* terminal, NewRoot* root) noexcept {
  Descriptor dev(MountOn(operation, root, "tmpfs", kNoSetuidNoDevices, "mode=0755"));
  ChildFailure failure;
  auto bind = [&](const char* source, const char* name) noexcept {
    int rc = BindDevice(source, dev.fd, name, &failure);
    if (rc < 0) {
      DieMount(rc, "Can't bind mount %s on %s/%s: Unable to mount source on destination", source,
               operation.target, name);
    }
  };
  bind("/dev/null", "null");
  bind("/dev/zero", "zero");
  bind("/dev/full", "full");
  bind("/dev/random", "random");
  bind("/dev/urandom", "urandom");
  bind("/dev/tty", "tty");
  MakeDevLink(dev.fd, "/proc/self/fd/0", "stdin", operation);
  MakeDevLink(dev.fd, "/proc/self/fd/1", "stdout", operation);
  MakeDevLink(dev.fd, "/proc/self/fd/2", "stderr", operation);
  MakeDevLink(dev.fd, "/proc/self/fd", "fd", operation);
  MakeDevLink(dev.fd, "/proc/kcore", "core", operation);
  for (const char* name : {"shm", "pts"}) {
    int rc = sys::MkdirAt(dev.fd, name, 0755);
    if (rc < 0) DieWith(rc, "Can't create %s/%s", operation.target, name);
  }
  Descriptor pts(sys::OpenAt(dev.fd, "pts", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  int rc = MountAt("devpts", pts.fd, MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620",
                   "pts", &failure);
  if (rc < 0) DieMount(rc, "Can't mount devpts on %s/pts", operation.target);
  MakeDevLink(dev.fd, "pts/ptmx", "ptmx", operation);
  // The sandbox can write to it anyway, and so ttyname finds it.
  if (terminal != nullptr) bind(terminal, "console");
}

void MountTmpfs(const Operation& operation, NewRoot* root) noexcept {
  char data[64];
  int used = std::snprintf(data, sizeof data, "mode=%#o", static_cast<unsigned>(operation.mode));
  if (operation.size != 0) {
    std::snprintf(data + used, sizeof data - static_cast<size_t>(used), ",size=%zu",
                  operation.size);
  }
  ::close(MountOn(operation, root, "tmpfs", kNoSetuidNoDevices, data));
}

void RemountReadOnly(const Operation& operation, const NewRoot& root) noexcept {
  Parent parent(operation, root);
  Descriptor mounted(OpenInRoot(root.fd, operation.target));
  if (mounted.fd < 0) DieWith(mounted.fd, "Can't remount readonly on %s", operation.target);
  struct mount_attr attr {};
  attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  int rc = sys::MountSetattr(mounted.fd, "", AT_EMPTY_PATH, &attr);
  if (IsMissing(rc)) {
    rc = sys::Mount(nullptr, FdPath(mounted.fd).text, nullptr,
                    MS_REMOUNT | MS_BIND | MS_RDONLY | kNoSetuidNoDevices, nullptr);
  }
  if (rc == -EINVAL) {
    Die("Can't remount readonly on %s: Unable to find \"%s\" in mount table", operation.target,
        operation.target);
  }
  if (rc < 0) DieMount(rc, "Can't remount readonly on %s", operation.target);
}

void MakeDirectory(const Operation& operation, const NewRoot& root) noexcept {
  Target made(operation, root, S_IFDIR | static_cast<mode_t>(operation.mode));
}

void CopyData(const Operation& operation, int to_fd) noexcept {
  static char buffer[1 << 16];
  for (;;) {
    const int64_t got = sys::Read(operation.fd, buffer, sizeof buffer);
    if (got == 0) break;
    int64_t done = 0;
    while (got > done) {
      const int64_t wrote = sys::Write(to_fd, buffer + done, static_cast<size_t>(got - done));
      if (wrote < 0)
        DieWith(static_cast<int>(wrote), "Can't write data to file %s", operation.target);
      done += wrote;
    }
    if (got < 0) DieWith(static_cast<int>(got), "Can't write data to file %s", operation.target);
  }
  ::close(operation.fd);
}

void MakeFile(const Operation& operation, const NewRoot& root) noexcept {
  Parent parent(operation, root);
  // Not to wait for a reader, if the target is a pipe that somebody planted.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY;
  const mode_t mode = static_cast<mode_t>(operation.mode);
  Descriptor file(sys::OpenAt2(root.fd, operation.target, kFlags, mode,
                               RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  if (IsMissing(file.fd)) {
    file.fd = sys::OpenAt(parent.opened.fd, parent.name, kFlags | O_NOFOLLOW, mode);
  }
  if (file.fd < 0) DieWith(file.fd, "Can't create file %s", operation.target);
  CopyData(operation, file.fd);
}

void BindData(const Options& options, const Operation& operation, NewRoot* root) noexcept {
  static constexpr char kName[] = "bind-data";
  Descriptor file(sys::OpenAt(root->base_fd, kName, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (file.fd < 0) DieWith(file.fd, "Can't create tmpfile for %s", operation.target);
  if (::fchmod(file.fd, static_cast<mode_t>(operation.mode)) != 0) {
    DieWith(errno, "Can't set mode %#o on file to be used for %s",
            static_cast<unsigned>(operation.mode), operation.target);
  }
  CopyData(operation, file.fd);
  // A copy of the mount, so the name can go: nothing else leads to the file.
  FdPath path(file.fd);
  BindSource source(path.text, true);
  if (source.opened.fd < 0) DieOfSource(source.opened.fd, kName, operation);
  Attach(source, kName, operation, options, root);
  sys::UnlinkAt(root->base_fd, kName);
}

void MakeLink(const Operation& operation, const NewRoot& root) noexcept {
  Parent parent(operation, root);
  int rc = sys::SymlinkAt(operation.source, parent.opened.fd, parent.name);
  if (rc == 0) return;
  if (rc != -EEXIST) DieWith(rc, "Can't make symlink at %s", operation.target);
  char existing[4096];
  int64_t size = sys::ReadlinkAt(parent.opened.fd, parent.name, existing, sizeof existing - 1);
  if (size == -EINVAL) {
    Die("Can't make symlink at %s: destination exists and is not a symlink", operation.target);
  }
  if (size < 0) {
    DieWith(static_cast<int>(size),
            "Can't make symlink at %s: destination exists, and cannot read symlink target",
            operation.target);
  }
  existing[size] = '\0';
  if (std::strcmp(existing, operation.source) == 0) return;
  Die("Can't make symlink at %s: existing destination is %s", operation.target, existing);
}

void ChangeMode(const Operation& operation, const NewRoot& root) noexcept {
  const unsigned mode = static_cast<unsigned>(operation.mode);
  Descriptor file(OpenInRoot(root.fd, operation.target));
  if (file.fd < 0) DieWith(file.fd, "Can't chmod %#o %s", mode, operation.target);
  // fchmod refuses an O_PATH descriptor.
  if (::chmod(FdPath(file.fd).text, static_cast<mode_t>(mode)) != 0) {
    DieWith(errno, "Can't chmod %#o %s", mode, operation.target);
  }
}

void SetHostname(const Operation& operation) noexcept {
  if (::sethostname(operation.target, std::strlen(operation.target)) != 0) {
    DieWith(errno, "Can't set hostname to %s", operation.target);
  }
}

}  // namespace

void ReopenRoot(NewRoot* root) noexcept {
  if (root->fd >= 0) ::close(root->fd);
  root->fd = sys::OpenAt(root->base_fd, "newroot", O_PATH | O_DIRECTORY);
  if (root->fd < 0) DieWith(root->fd, "Can't open the new root");
  if (::fstat(root->fd, &root->identity) != 0) DieWith(errno, "Can't stat the new root");
}

void RunOperations(const Options& options, const char* terminal, NewRoot* root) noexcept {
  for (const Operation& operation : options.operations) {
    switch (operation.kind) {
      case Operation::Kind::kBind:
        operation.fd < 0 ? Bind(options, operation, root) : BindOpened(options, operation, root);
        break;
      case Operation::Kind::kOverlay:
        MountLayers(options, operation, root);
        break;
      case Operation::Kind::kProc:
        MountProc(options, operation, root);
        break;
      case Operation::Kind::kDev:
        MountDev(operation, terminal, root);
        break;
      case Operation::Kind::kTmpfs:
        MountTmpfs(operation, root);
        break;
      case Operation::Kind::kMqueue:
        ::close(MountOn(operation, root, "mqueue", 0, nullptr));
        break;
      case Operation::Kind::kDirectory:
        MakeDirectory(operation, *root);
        break;
      case Operation::Kind::kFile:
        MakeFile(operation, *root);
        break;
      case Operation::Kind::kBindData:
        BindData(options, operation, root);
        break;
      case Operation::Kind::kSymlink:
        MakeLink(operation, *root);
        break;
      case Operation::Kind::kRemountReadOnly:
        RemountReadOnly(operation, *root);
        break;
      case Operation::Kind::kChmod:
        ChangeMode(operation, *root);
        break;
      case Operation::Kind::kHostname:
        SetHostname(operation);
        break;
    }
  }
}

}  // namespace strata::bwrap
