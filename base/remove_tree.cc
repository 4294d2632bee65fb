// SPDX-License-Identifier: Apache-2.0
#include "base/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>
#include <vector>

#include "base/id_map.h"
#include "base/sys.h"
#include "base/temp_dir.h"

namespace strata {
namespace {

// Each level costs a descriptor. What is deeper is moved up to the root of the tree first.
constexpr size_t kMostLevels = 64;

// Opens a directory for emptying it, giving the owner all rights if need be.
int OpenForRemoval(int parent_fd, const char* name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  int fd = sys::OpenAt(parent_fd, name, kFlags);
  if (fd == -EACCES) {
    // NOFOLLOW: of a sandbox that was killed, a process may have a last moment to put a link here.
    if (::fchmodat(parent_fd, name, 0700, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    fd = sys::OpenAt(parent_fd, name, kFlags);
  }
  return fd;
}

// 0 or -errno. Gives the owner of the directory all rights if need be.
int RemoveFrom(int dir_fd, const char* child, int flags) {
  int removed = sys::UnlinkAt(dir_fd, child, flags);
  if (removed != -EACCES) return removed;
  ::fchmod(dir_fd, 0700);
  return sys::UnlinkAt(dir_fd, child, flags);
}

// Empties a directory, and removes it. Goes on where something cannot be removed; the first reason
// is the error.
class Emptying {
 public:
  Emptying(int parent_fd, const std::string& name) : parent_fd_(parent_fd) {
    Enter(parent_fd, name.c_str());
    while (!stack_.empty()) Step();
  }

  Result<void> Outcome() && {
    if (first_error_) return Unexpected(std::move(*first_error_));
    return {};
  }

 private:
  // An explicit stack: a hostile tree may be deeper than ours is.
  struct Level {
    DIR* dir;
    std::string name;
  };

  void Note(int sys_errno, std::string_view call, std::string_view what) {
    if (!first_error_) first_error_ = Error::Sys(sys_errno, call, what);
  }

  void Enter(int dir_fd, const char* child) {
    if (stack_.size() >= kMostLevels) {
      MoveUp(dir_fd, child);
      return;
    }
    int fd = OpenForRemoval(dir_fd, child);
    if (fd < 0) {
      if (fd != -ENOENT) Note(-fd, "open", child);
      return;
    }
    DIR* dir = ::fdopendir(fd);
    if (dir == nullptr) {
      Note(errno, "fdopendir", child);
      ::close(fd);
      return;
    }
    stack_.push_back({dir, child});
  }

  void MoveUp(int dir_fd, const char* child) {
    ::fchmod(dir_fd, 0700);  // moving a directory writes to its parent and to itself
    // Where that fails, so does the rename, which says why.
    static_cast<void>(::fchmodat(dir_fd, child, 0700, AT_SYMLINK_NOFOLLOW) == 0);
    int moved = sys::RenameAt2(dir_fd, child, ::dirfd(stack_.front().dir), RandomName().c_str());
    if (moved == 0) moved_up_ = true;
    if (moved < 0 && moved != -ENOENT) Note(-moved, "rename", child);
  }

  // Takes one entry of the directory that is open last, or leaves that.
  void Step() {
    DIR* dir = stack_.back().dir;
    const dirent* entry = ::readdir(dir);
    if (entry == nullptr && stack_.size() == 1 && moved_up_) {
      moved_up_ = false;
      ::rewinddir(dir);
    } else if (entry == nullptr) {
      Leave();
    } else if (std::string_view child = entry->d_name; child != "." && child != "..") {
      RemoveEntry(::dirfd(dir), entry->d_name, entry->d_type);
    }
  }

  void Leave() {
    const std::string done = std::move(stack_.back().name);
    ::closedir(stack_.back().dir);
    stack_.pop_back();
    int up = stack_.empty() ? parent_fd_ : ::dirfd(stack_.back().dir);
    int rc = sys::UnlinkAt(up, done.c_str(), AT_REMOVEDIR);
    if (rc < 0 && rc != -ENOENT) Note(-rc, "rmdir", done);
  }

  void RemoveEntry(int dir_fd, const char* child, unsigned char type) {
    int flags = type == DT_DIR ? AT_REMOVEDIR : 0;
    int rc = RemoveFrom(dir_fd, child, flags);
    if (rc == -EISDIR) {  // a file system that does not tell types
      flags = AT_REMOVEDIR;
      rc = RemoveFrom(dir_fd, child, flags);
    }
    if (rc == 0 || rc == -ENOENT) return;
    // The kernel says EBUSY of what has something mounted on it, before it looks whether it is
    // empty: we never go in there.
    if (flags == 0 || rc == -EBUSY) {
      Note(-rc, flags == 0 ? "unlink" : "rmdir", child);
    } else {
      Enter(dir_fd, child);
    }
  }

  int parent_fd_;
  std::vector<Level> stack_;
  bool moved_up_ = false;
  std::optional<Error> first_error_;
};

Result<void> RemoveOwnTree(int parent_fd, const std::string& name) {
  int rc = sys::UnlinkAt(parent_fd, name.c_str());
  if (rc == 0 || rc == -ENOENT) return {};
  if (rc != -EISDIR && rc != -EPERM) return FailSys(-rc, "unlink", name);
  rc = sys::UnlinkAt(parent_fd, name.c_str(), AT_REMOVEDIR);
  if (rc == 0 || rc == -ENOENT) return {};
  if (rc == -EBUSY) return FailSys(EBUSY, "rmdir", name);
  return Emptying(parent_fd, name).Outcome();
}

}  // namespace

Result<void> RemoveTree(int parent_fd, const std::string& name) {
  Result<void> removed = RemoveOwnTree(parent_fd, name);
  if (removed || ::geteuid() == 0) return removed;
  if (removed.error().sys_errno() != EACCES && removed.error().sys_errno() != EPERM) return removed;
  // A directory that was made read-only stays so: others may own what is in the tree, not where it
  // is.
  const size_t slash = name.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : name.substr(0, slash);
  if (::faccessat(parent_fd, parent.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return removed;
  Result<IdMapping> range = SubordinateIds();
  if (!range) return removed;
  Result<void> rest =
      RunInMapping(*range, [&]() -> Result<void> { return RemoveOwnTree(parent_fd, name); });
  return rest ? rest : removed;
}

}  // namespace strata
