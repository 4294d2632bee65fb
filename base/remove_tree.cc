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

struct Level {
  DIR* dir;
  std::string name;
};

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

Result<void> RemoveOwnTree(int parent_fd, const std::string& name) {
  std::optional<Error> first_error;
  auto note = [&](int sys_errno, std::string_view call, std::string_view what) {
    if (!first_error) first_error = Error::Sys(sys_errno, call, what);
  };

  int rc = sys::UnlinkAt(parent_fd, name.c_str());
  if (rc == 0 || rc == -ENOENT) return {};
  if (rc != -EISDIR && rc != -EPERM) return FailSys(-rc, "unlink", name);
  rc = sys::UnlinkAt(parent_fd, name.c_str(), AT_REMOVEDIR);
  if (rc == 0 || rc == -ENOENT) return {};
  if (rc == -EBUSY) return FailSys(EBUSY, "rmdir", name);

  // An explicit stack: a hostile tree may be deeper than ours is.
  std::vector<Level> stack;
  bool moved_up = false;
  auto enter = [&](int dir_fd, const char* child) -> bool {
    if (stack.size() >= kMostLevels) {
      ::fchmod(dir_fd, 0700);  // moving a directory writes to its parent and to itself
      // Where that fails, so does the rename, which says why.
      static_cast<void>(::fchmodat(dir_fd, child, 0700, AT_SYMLINK_NOFOLLOW) == 0);
      int moved = sys::RenameAt2(dir_fd, child, ::dirfd(stack.front().dir), RandomName().c_str());
      if (moved == 0) moved_up = true;
      if (moved < 0 && moved != -ENOENT) note(-moved, "rename", child);
      return moved == 0;
    }
    int fd = OpenForRemoval(dir_fd, child);
    if (fd < 0) {
      if (fd != -ENOENT) note(-fd, "open", child);
      return false;
    }
    DIR* dir = ::fdopendir(fd);
    if (dir == nullptr) {
      note(errno, "fdopendir", child);
      ::close(fd);
      return false;
    }
    stack.push_back({dir, child});
    return true;
  };
  auto remove = [](int dir_fd, const char* child, int flags) {
    int removed = sys::UnlinkAt(dir_fd, child, flags);
    if (removed != -EACCES) return removed;
    ::fchmod(dir_fd, 0700);  // a directory without w for its owner
    return sys::UnlinkAt(dir_fd, child, flags);
  };
  if (!enter(parent_fd, name.c_str())) {
    if (first_error) return Unexpected(std::move(*first_error));
    return {};
  }
  while (!stack.empty()) {
    DIR* dir = stack.back().dir;
    int dir_fd = ::dirfd(dir);
    const dirent* entry = ::readdir(dir);
    if (entry == nullptr && stack.size() == 1 && moved_up) {
      moved_up = false;
      ::rewinddir(dir);
      continue;
    }
    if (entry == nullptr) {
      std::string done = std::move(stack.back().name);
      ::closedir(dir);
      stack.pop_back();
      int up = stack.empty() ? parent_fd : ::dirfd(stack.back().dir);
      rc = sys::UnlinkAt(up, done.c_str(), AT_REMOVEDIR);
      if (rc < 0 && rc != -ENOENT) note(-rc, "rmdir", done);
      continue;
    }
    std::string_view child(entry->d_name);
    if (child == "." || child == "..") continue;
    int flags = entry->d_type == DT_DIR ? AT_REMOVEDIR : 0;
    rc = remove(dir_fd, entry->d_name, flags);
    if (rc == -EISDIR) {  // a file system that does not tell types
      flags = AT_REMOVEDIR;
      rc = remove(dir_fd, entry->d_name, flags);
    }
    if (rc == 0 || rc == -ENOENT) continue;
    // The kernel says EBUSY of what has something mounted on it, before it looks whether it is
    // empty: we never go in there.
    if (flags == 0 || rc == -EBUSY) {
      note(-rc, flags == 0 ? "unlink" : "rmdir", child);
      continue;
    }
    enter(dir_fd, entry->d_name);
  }
  if (first_error) return Unexpected(std::move(*first_error));
  return {};
}

}  // namespace

Result<void> RemoveTree(int parent_fd, const std::string& name) {
  Result<void> removed = RemoveOwnTree(parent_fd, name);
  if (removed || ::geteuid() == 0) return removed;
  if (removed.error().sys_errno() != EACCES && removed.error().sys_errno() != EPERM) return removed;
  // A directory that was made read-only stays so: others may own what is in the tree, not where it is.
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
