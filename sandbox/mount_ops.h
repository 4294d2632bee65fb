// SPDX-License-Identifier: Apache-2.0
//
// What every sandbox mounts with, whatever it looks like as a whole: paths resolved inside a root,
// binds, file systems, the protection of /proc, devices. All of it runs in a cloned child: no heap,
// a value >= 0 or -errno, and `failure` filled in by whoever takes one.
//
// Nothing else runs in the new root yet, so a path that was checked stays as it is; but the root's
// content is not trusted, so every path in it is resolved inside it.
#pragma once

#include <unistd.h>
#include <cstdint>
#include <cstdio>

#include "base/child_report.h"

namespace strata {

inline constexpr unsigned long kNoSetuidNoDevices = MS_NOSUID | MS_NODEV;

// Owner of a descriptor in a cloned child.
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

// Sets `failure` and returns `rc`, a negative errno.
int FailStep(ChildFailure* failure, int rc, const char* call, const char* argument) noexcept;

// What an older kernel (ENOSYS), or the filter of a container (EPERM), answers: time for the
// fallback.
inline bool IsMissing(int rc) noexcept {
  return rc == -ENOSYS || rc == -EPERM;
}

// Opens `path` (O_PATH) as if `root_fd` were /: links, absolute ones too, never lead out of it. By
// openat2 (Linux 5.6); without it, component by component and through no links at all (-ELOOP).
int OpenInRoot(int root_fd, const char* path) noexcept;

// Opens the directory that `path` is an entry of, in the root, and says which entry (`.` for the
// root itself). Makes what is missing of it, directories of `parent_mode`. What is there already
// may be a layer's link, or the content of a bind: each step is resolved inside the root, and only
// a single name is ever made in it.
int OpenParent(int root_fd, const char* path, mode_t parent_mode, char (&name)[256]) noexcept;

// Makes `path`, which is not there, a directory or an empty file (S_IFDIR | 0755, S_IFREG | 0444),
// and what is missing above it. A link to nothing gets the file that it wants, in the root.
int MakeMountPoint(int root_fd, const char* path, mode_t mode, mode_t parent_mode) noexcept;

// Where a mount goes: `path` in `root_fd`, which was opened as `fd`.
struct MountTarget {
  int root_fd;
  const char* path;
  int fd;
};

// How a bind is made: with the mounts below it, with MOUNT_ATTR_* on all of them, and MS_PRIVATE,
// or 0 to go on receiving what the host mounts there.
struct BindKind {
  bool recursive;
  uint64_t attributes;
  uint64_t propagation = MS_PRIVATE;
};

// What is bound, opened in the caller's view: by open_tree (Linux 5.2) as a copy that is not
// mounted yet, else by O_PATH. It can be looked at before it is put anywhere.
struct BindSource {
  Descriptor opened;
  const char* path;
  bool is_copy;
  BindSource(const char* source, bool recursive) noexcept;
};

// Puts `source`, which was opened, on `target`. By mount_setattr (Linux 5.12), else by mount(2).
int AttachBind(const BindSource& source, const MountTarget& target, const BindKind& kind,
               ChildFailure* failure) noexcept;

// Opens and attaches.
int BindTo(const char* source, const MountTarget& target, const BindKind& kind,
           ChildFailure* failure) noexcept;

// Mounts a new file system on an opened directory; `name` is for the error.
int MountAt(const char* type, int target_fd, unsigned long flags, const char* options,
            const char* name, ChildFailure* failure) noexcept;

// Of a fresh procfs in a sandbox whose uid 0 is the host's and owns what belongs to the machine in
// /proc: without any capability it could write to it, and change its modes, which are the same in
// every procfs. Makes it read-only; with `but_processes`, what is not a process only.
int ProtectProc(int proc_fd, bool but_processes, ChildFailure* failure) noexcept;

// Binds the host's device `source` on a new file `name` of the directory `dev_fd`, which we made.
int BindDevice(const char* source, int dev_fd, const char* name, ChildFailure* failure) noexcept;

}  // namespace strata
