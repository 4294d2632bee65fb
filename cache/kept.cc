// SPDX-License-Identifier: Apache-2.0
#include "cache/kept.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/id_map.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/list_directory.h"
#include "cache/usage.h"

namespace strata {
namespace {

std::string PathOf(KeptKind kind, std::string_view name) {
  return fmt::format("{}/{}", KeptPlace(kind), name);
}

// An earlier command may have shut it or, with a range of ids, given it away. Nobody can have made
// it a link.
bool RegainDirectory(int dir_fd, const std::string& path) {
  if (::fchmodat(dir_fd, path.c_str(), 0700, 0) == 0) return true;
  Result<IdMapping> range = SubordinateIds();
  if (!range) return false;
  Result<void> regained = RunInMapping(*range, [&]() -> Result<void> {
    if (::fchownat(dir_fd, path.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) == 0 &&
        ::fchmodat(dir_fd, path.c_str(), 0700, 0) == 0) {
      return {};
    }
    return FailSys(errno, "chown", path);
  });
  return regained.has_value();
}

}  // namespace

std::string_view KeptKindName(KeptKind kind) {
  return kind == KeptKind::kWorkspace ? "workspace" : "cache";
}

std::string_view KeptPlace(KeptKind kind) {
  return kind == KeptKind::kWorkspace ? "workspaces" : "caches";
}

Result<std::vector<KeptDirectory>> ListKept(const Store& store, KeptKind kind) {
  STRATA_ASSIGN(std::vector<std::string> names,
                ListDirectory(store.fd(), std::string(KeptPlace(kind))));
  std::sort(names.begin(), names.end());
  std::vector<KeptDirectory> kept;
  for (std::string& name : names) {
    const std::string path = PathOf(kind, name);
    struct stat st;
    if (sys::FstatAt(store.fd(), path.c_str(), &st) < 0 || !S_ISDIR(st.st_mode)) continue;
    DiskUsage usage;
    STRATA_TRY(usage.Add(store.fd(), path));
    kept.push_back({std::move(name), st.st_mtime, usage.own_bytes() + usage.shared_bytes()});
  }
  return kept;
}

Result<FileLock> LockKept(const Store& store, KeptKind kind, const std::string& name,
                          LockWait wait) {
  const std::string path = PathOf(kind, name);
  auto take = [&] { return FileLock::OnDirectory(store.fd(), path, LockMode::kExclusive, wait); };
  auto lock = take();
  if (!lock && lock.error().sys_errno() == EACCES && RegainDirectory(store.fd(), path)) {
    lock = take();
  }
  return lock;
}

Result<void> CheckKept(const Store& store, KeptKind kind, const std::string& name) {
  STRATA_TRY_WITH(Store::CheckRefName(name), KeptKindName(kind));
  struct stat st;
  const bool plain = name.find('/') == std::string::npos;
  const int rc = plain ? sys::FstatAt(store.fd(), PathOf(kind, name).c_str(), &st) : -ENOENT;
  if (rc == -ENOENT) {
    return Unexpected(
        Error(Errc::kNotFound, fmt::format("there is no {} {}", KeptKindName(kind), name))
            .Hint(fmt::format("strata list {}", KeptPlace(kind))));
  }
  if (rc < 0) return FailSys(-rc, "stat", PathOf(kind, name));
  return {};
}

Result<void> RemoveKept(const Store& store, KeptKind kind, const std::string& name) {
  STRATA_TRY(CheckKept(store, kind, name));
  auto lock = LockKept(store, kind, name, LockWait::kFail);
  if (!lock && lock.error().code() == Errc::kBusy) {
    return Fail(Errc::kBusy, "{} {} is in use by a running stage", KeptKindName(kind), name);
  }
  if (!lock) return Unexpected(std::move(lock).error());
  const std::string path = PathOf(kind, name);
  // Moving it takes write permission on it.
  if (::fchmod(lock->fd(), 0700) != 0 && !RegainDirectory(store.fd(), path)) {
    return Fail(Errc::kSystem, "{} belongs to an id that is not yours any more", path);
  }
  STRATA_TRY(store.OpenDir("trash"));
  const std::string trash = "trash/" + RandomName();
  STRATA_TRY(sys::Check(sys::RenameAt2(store.fd(), path.c_str(), store.fd(), trash.c_str()),
                        "rename", path));
  return RemoveTree(store.fd(), trash);
}

}  // namespace strata
