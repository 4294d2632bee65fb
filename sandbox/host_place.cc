// SPDX-License-Identifier: Apache-2.0
#include "sandbox/host_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/ask_in_mapping.h"
#include "base/copy_tree.h"
#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"

namespace strata {
namespace {

// Each level costs a descriptor and some stack.
constexpr size_t kDeepest = 4096;

// Takes from a tree what its files would lend to whoever runs them, and the owners that a range of
// ids gave. Nobody else writes to it.
class Disarmer {
 public:
  Result<size_t> Run(int parent_fd, const std::string& name) {
    struct stat st;
    STRATA_TRY(sys::Check(sys::FstatAt(parent_fd, name.c_str(), &st), "stat", name));
    STRATA_TRY(Own(parent_fd, name.c_str(), st));
    STRATA_TRY(Directory(parent_fd, name, st));
    return found_;
  }

 private:
  Result<void> Own(int dir_fd, const char* name, const struct stat& st) {
    if (st.st_uid == ::geteuid() && st.st_gid == ::getegid()) return {};
    if (::fchownat(dir_fd, name, ::geteuid(), ::getegid(), AT_SYMLINK_NOFOLLOW) == 0) return {};
    return FailSys(errno, "chown", QuotePath(name));
  }

  Result<void> Directory(int parent_fd, const std::string& name, const struct stat& st) {
    if (++depth_ > kDeepest) {
      return Fail(Errc::kInvalid, "more than {} directories in each other", kDeepest);
    }
    const mode_t mode = st.st_mode & 01777;
    // Opened by its owner, whatever its mode says.
    bool change = (st.st_mode & 06000) != 0 || (mode & 0700) != 0700;
    if (change && ::fchmodat(parent_fd, name.c_str(), mode | 0700, 0) != 0) {
      return FailSys(errno, "chmod", QuotePath(name));
    }
    STRATA_ASSIGN(UniqueFd fd, OpenAt(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    std::string buffer(32 << 10, '\0');  // not on the stack: this is recursive
    for (;;) {
      int64_t size = sys::GetDents(fd.get(), buffer.data(), buffer.size());
      if (size < 0) return FailSys(static_cast<int>(-size), "getdents64", QuotePath(name));
      if (size == 0) break;
      for (int64_t at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
        at += entry->d_reclen;
        std::string_view child(entry->d_name);
        if (child != "." && child != "..") STRATA_TRY(Entry(fd.get(), entry));
      }
    }
    // With the tree's root the mode comes last, when it has been moved.
    if (change && depth_ > 1 && ::fchmod(fd.get(), mode) != 0) {
      return FailSys(errno, "fchmod", QuotePath(name));
    }
    --depth_;
    return {};
  }

  Result<void> Entry(int dir_fd, const dirent64* entry) {
    struct stat st;
    STRATA_TRY(
        sys::Check(sys::FstatAt(dir_fd, entry->d_name, &st), "stat", QuotePath(entry->d_name)));
    STRATA_TRY(Own(dir_fd, entry->d_name, st));
    if (S_ISDIR(st.st_mode)) return Directory(dir_fd, entry->d_name, st);
    if (!S_ISREG(st.st_mode)) return {};
    bool armed = (st.st_mode & 06000) != 0;
    if (armed && ::fchmodat(dir_fd, entry->d_name, st.st_mode & 01777, 0) != 0) {
      return FailSys(errno, "chmod", QuotePath(entry->d_name));
    }
    // Those that another user sets count for nothing outside of his namespaces.
    if (::geteuid() == 0 && (st.st_mode & 0111) != 0) {
      std::string path = fmt::format("/proc/self/fd/{}/{}", dir_fd, entry->d_name);
      if (::lremovexattr(path.c_str(), "security.capability") == 0) armed = true;
    }
    if (armed) ++found_;
    return {};
  }

  size_t depth_ = 0;
  size_t found_ = 0;
};

// Returns how many files it disarmed. Files of other ids are changed in a namespace that has them.
Result<size_t> Disarm(int parent_fd, const std::string& name,
                      const std::optional<IdMapping>& range) {
  if (!range) return Disarmer().Run(parent_fd, name);
  auto work = [&]() -> Result<std::string> {
    STRATA_ASSIGN(size_t disarmed, Disarmer().Run(parent_fd, name));
    return std::to_string(disarmed);
  };
  STRATA_ASSIGN(std::string disarmed, AskInMapping(*range, work));
  return std::strtoul(disarmed.c_str(), nullptr, 10);
}

}  // namespace

Result<HostPlace> FindHostPlace(const std::string& path) {
  HostPlace place{path, {}, {}};
  size_t end = path.find_last_not_of('/');
  size_t slash = end == std::string::npos ? end : path.find_last_of('/', end);
  if (slash == std::string::npos) return Fail(Errc::kInvalid, "'{}' cannot be replaced", path);
  place.name = path.substr(slash + 1, end - slash);
  if (place.name == "." || place.name == "..") {
    return Fail(Errc::kInvalid, "'{}' ends in '{}'", path, place.name);
  }
  STRATA_ASSIGN(place.parent, OpenAt(AT_FDCWD, path.substr(0, slash + 1), O_PATH | O_DIRECTORY));
  return place;
}

Result<void> CheckFree(const HostPlace& place) {
  struct stat st;
  int rc = sys::FstatAt(place.parent.get(), place.name.c_str(), &st);
  if (rc == -ENOENT) return {};
  if (rc < 0) return FailSys(-rc, "stat", place.path);
  if (!S_ISDIR(st.st_mode)) return Fail(Errc::kExists, "{} is there already", place.path);
  STRATA_ASSIGN(UniqueFd fd,
                OpenAt(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  alignas(dirent64) char entries[1024];  // "." and ".." are 48 bytes of it
  if (sys::GetDents(fd.get(), entries, sizeof entries) > 48) {
    return Fail(Errc::kExists, "{} is there already, and not empty", place.path);
  }
  return {};
}

Result<size_t> Deliver(int store_fd, const std::string& store_path, const std::string& source,
                       const HostPlace& place, const std::optional<IdMapping>& range) {
  struct stat st;
  STRATA_TRY(sys::Check(sys::FstatAt(store_fd, source.c_str(), &st), "stat", source));
  STRATA_ASSIGN(size_t disarmed, Disarm(store_fd, source, range));

  const int parent = place.parent.get();
  // An empty directory may be in the way; anything else there is not ours to replace.
  int rc = sys::UnlinkAt(parent, place.name.c_str(), AT_REMOVEDIR);
  if (rc < 0 && rc != -ENOENT) {
    return Fail(Errc::kExists, "{} is there already{}", place.path,
                rc == -ENOTEMPTY || rc == -EEXIST ? ", and not empty" : "");
  }
  rc = sys::RenameAt2(store_fd, source.c_str(), parent, place.name.c_str(), RENAME_NOREPLACE);
  if (rc < 0 && rc != -EXDEV) return FailSys(-rc, "rename", place.path);
  if (rc == -EXDEV) {
    STRATA_TRY(sys::Check(sys::MkdirAt(parent, place.name.c_str(), 0700), "mkdir", place.path));
    STRATA_TRY(CopyTree(fmt::format("{}/{}", store_path, source),
                        fmt::format("/proc/{}/fd/{}/{}", ::getpid(), parent, place.name)));
  }
  if (::fchmodat(parent, place.name.c_str(), st.st_mode & 01777, 0) != 0) {
    return FailSys(errno, "chmod", place.path);
  }
  return disarmed;
}

}  // namespace strata
