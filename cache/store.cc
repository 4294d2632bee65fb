// SPDX-License-Identifier: Apache-2.0
#include "cache/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "base/io.h"
#include "base/path.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "cache/durable.h"
#include "cache/replace_layer.h"

namespace strata {
namespace {

constexpr char kFormatLine[] = "strata store 1\n";

std::string LayerPath(const LayerId& id) {
  return LayerPathIn("layers", id);
}

// What the store refuses to take: reading it may still be of use.
bool CannotWrite(int sys_errno) {
  return sys_errno == EROFS || sys_errno == EACCES || sys_errno == EPERM || sys_errno == ENOSPC ||
         sys_errno == EDQUOT;
}

Error NoStoreAccess(Error error, const std::string& path) {
  int sys_errno = error.sys_errno();
  error = std::move(error).Wrap(fmt::format("open store {}", path));
  if (sys_errno == EACCES || sys_errno == EROFS || sys_errno == EPERM) {
    return std::move(error).Hint(
        "choose a directory that you may write to: export STRATA_STORE=DIR");
  }
  return error;
}

Result<UniqueFd> OpenOrMake(const std::string& path) {
  Result<UniqueFd> found = OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (found || found.error().sys_errno() != ENOENT) return found;
  size_t slash = path.find_last_of('/');
  if (slash != std::string::npos && slash > 0) {
    STRATA_TRY(MakeDirs(AT_FDCWD, path.substr(0, slash), 0755));
  }
  STRATA_TRY(MakeDirs(AT_FDCWD, path, 0700));
  return OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
}

// Makes a store of a directory that is empty (or nearly: another process may be doing the same).
Result<void> Initialise(int root_fd) {
  if (::fchmod(root_fd, 0700) != 0) return FailSys(errno, "fchmod", "store");
  for (const char* name : {"layers", "refs", "roots", "pins", "derived", "workspaces", "caches",
                           "stages", "tmp", "trash", "mnt"}) {
    int rc = sys::MkdirAt(root_fd, name, 0700);
    if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mkdir", name);
  }
  STRATA_TRY(SettleNew(root_fd));
  return ReplaceFile(root_fd, "format", kFormatLine, 0600);
}

Result<bool> LooksEmpty(int root_fd) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(root_fd, ".", O_RDONLY | O_DIRECTORY));
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", ".");
  static_cast<void>(fd.release());
  bool empty = true;
  while (const dirent* entry = ::readdir(dir)) {
    std::string_view name(entry->d_name);
    if (name == "." || name == ".." || name == "lost+found" || name.substr(0, 7) == "format#") {
      continue;
    }
    static constexpr std::string_view kOurs[] = {
        "layers", "refs",   "roots",      "pins",    "derived",   "workspaces",
        "caches", "stages", "tmp",        "trash",   "mnt",       "config",
        "format", "boot",   "unverified", "damaged", "stages-at", "gc-stamp"};
    if (std::find(std::begin(kOurs), std::end(kOurs), name) == std::end(kOurs)) empty = false;
  }
  ::closedir(dir);
  return empty;
}

}  // namespace

Result<std::string> Store::DefaultPath() {
  if (const char* path = ::secure_getenv("STRATA_STORE"); path != nullptr && *path != '\0')
    return path;
  if (const char* data = ::secure_getenv("XDG_DATA_HOME"); data != nullptr && *data == '/') {
    return fmt::format("{}/strata", data);
  }
  if (const char* home = ::secure_getenv("HOME"); home != nullptr && *home == '/') {
    return fmt::format("{}/.local/share/strata", home);
  }
  return Unexpected(Error(Errc::kInvalid, "no place for the store: HOME is not set")
                        .Hint("export STRATA_STORE=DIR"));
}

Result<Store> Store::Open(const std::string& given) {
  STRATA_ASSIGN_WITH(const std::string path, AbsolutePath(given),
                     fmt::format("open store {}", given));
  auto root = OpenOrMake(path);
  if (!root) return Unexpected(NoStoreAccess(std::move(root).error(), path));
  struct stat st;
  if (::fstat(root->get(), &st) != 0) return FailSys(errno, "fstat", path);
  if (st.st_uid != ::geteuid()) {
    // Whoever owns it can put links in the way of what we write, and other content into layers.
    return Unexpected(
        Error(Errc::kInvalid,
              fmt::format("open store {}: it belongs to another user (uid {})", path, st.st_uid))
            .Hint("export STRATA_STORE=DIR, with a directory of your own"));
  }
  char line[64];
  UniqueFd format(sys::OpenAt(root->get(), "format", O_RDONLY));
  if (!format.valid() && format.get() != -ENOENT) {
    return Unexpected(NoStoreAccess(Error::Sys(-format.get(), "open", "format"), path));
  }
  int64_t size = format.valid() ? sys::Read(format.get(), line, sizeof line) : 0;
  std::string_view found(line, size > 0 ? static_cast<size_t>(size) : 0);
  if (found.empty()) {  // none; or the machine went down just after it was written
    STRATA_ASSIGN_WITH(bool empty, LooksEmpty(root->get()), fmt::format("open store {}", path));
    if (!empty) {
      return Unexpected(Error(Errc::kInvalid,
                              fmt::format("open store {}: not a strata store, and not empty", path))
                            .Hint("name an empty or new directory in STRATA_STORE"));
    }
    auto made = Initialise(root->get());
    if (!made) return Unexpected(NoStoreAccess(std::move(made).error(), path));
    return Store(path, std::move(*root));
  }
  if (found != kFormatLine) {
    while (!found.empty() && found.back() == '\n') found.remove_suffix(1);
    return Unexpected(
        Error(Errc::kUnsupported,
              fmt::format("open store {}: its format is '{}'; this strata knows 'strata store 1'",
                          path, found))
            .Hint("use the strata that made it, or another store: export STRATA_STORE=DIR"));
  }
  Store store(path, std::move(*root));
  STRATA_TRY_WITH(store.Settle(), fmt::format("open store {}", path));
  return store;
}

Result<void> Store::Settle() {
  STRATA_ASSIGN(bool settled, IsSettled(root_.get()));
  if (settled) return {};
  auto done = SettleAfterBoot(*this);
  if (done || !CannotWrite(done.error().sys_errno())) return done;
  marked_only_ = true;
  return {};
}

Result<UniqueFd> Store::OpenDir(const std::string& name) const {
  int fd = sys::OpenAt(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) {
    STRATA_TRY(MakeDirs(root_.get(), name, 0700));
    fd = sys::OpenAt(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }
  return sys::CheckFd(fd, "open", fmt::format("{}/{}", path_, name));
}

Result<bool> Store::HasLayer(const LayerId& id) const {
  struct stat st;
  int rc = sys::FstatAt(root_.get(), LayerPath(id).c_str(), &st);
  if (rc == -ENOENT) {
    STRATA_TRY(RecoverLayer(*this, id));
    rc = sys::FstatAt(root_.get(), LayerPath(id).c_str(), &st);
  }
  if (rc == -ENOENT) return false;
  if (rc < 0) return FailSys(-rc, "stat", LayerPath(id));
  return true;
}

Result<Manifest> Store::OpenManifest(const LayerId& id) const {
  auto manifest = Manifest::Open(root_.get(), LayerPath(id) + "/manifest");
  bool trusted = !marked_only_ || IsMarked(*this, LayerPath(id));
  if (!manifest && manifest.error().sys_errno() == ENOENT) {
    // For showing what is in a layer its manifest is enough, and that is checked in no time.
    manifest = Manifest::Open(root_.get(), LayerPathIn("unverified", id) + "/manifest");
    trusted = false;
  }
  if (manifest && (trusted || manifest->Id() == id)) return manifest;
  if (manifest || manifest.error().sys_errno() == ENOENT) {
    STRATA_TRY(RecoverLayer(*this, id));  // it says what is wrong
    return Unexpected(NoLayer(*this, id));
  }
  if (manifest.error().code() != Errc::kCorrupt) return manifest;
  return Unexpected(
      std::move(manifest)
          .error()
          .Wrap(fmt::format("layer {:.12} is damaged", id.Hex()))
          .Hint(fmt::format("`strata fsck {:.12}` says what; importing the same again "
                            "makes it whole",
                            id.Hex())));
}

Result<LayerLease> Store::LeaseLayer(const LayerId& id) const {
  if (marked_only_ && HasUnmarked(id)) {
    return Unexpected(
        Error(
            Errc::kCorrupt,
            fmt::format("layer {:.12} may be torn: the machine was restarted before it was on the "
                        "disk for sure, and the store cannot be written to",
                        id.Hex()))
            .Hint("make the store writable once: then it is verified when it is used"));
  }
  auto take = [&] {
    return FileLock::OnDirectory(root_.get(), LayerPath(id) + "/tree", LockMode::kShared,
                                 LockWait::kBlock);
  };
  auto lock = take();
  if (!lock && lock.error().sys_errno() == ENOENT) {
    STRATA_TRY(RecoverLayer(*this, id));
    lock = take();
  }
  if (lock) return LayerLease(std::move(*lock));
  if (lock.error().sys_errno() == ENOENT) return Unexpected(NoLayer(*this, id));
  return Unexpected(std::move(lock).error());
}

Result<std::vector<LayerId>> Store::ListLayers() const {
  std::vector<LayerId> ids;
  for (const char* place : {"layers", "unverified"}) {
    int fd = sys::OpenAt(root_.get(), place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd == -ENOENT) continue;
    STRATA_ASSIGN(UniqueFd owner, sys::CheckFd(fd, "open", place));
    DIR* dir = ::fdopendir(owner.get());
    if (dir == nullptr) return FailSys(errno, "fdopendir", place);
    static_cast<void>(owner.release());
    while (const dirent* entry = ::readdir(dir)) {
      if (auto id = Digest::FromHex(entry->d_name)) ids.push_back(*id);
    }
    ::closedir(dir);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

bool Store::HasUnmarked(const LayerId& id) const {
  struct stat st;
  return sys::FstatAt(root_.get(), LayerPath(id).c_str(), &st) == 0 &&
         !IsMarked(*this, LayerPath(id));
}

Result<PendingLayer> Store::NewLayer(bool with_tree) const {
  PendingLayer pending;
  auto make = [&]() -> Result<void> {
    STRATA_ASSIGN(pending.dir_, TempDir::Create(root_.get(), "tmp/"));
    if (with_tree) {
      STRATA_TRY(sys::Check(sys::MkdirAt(pending.dir_fd(), "tree", 0755), "mkdir", "tree"));
      STRATA_ASSIGN(pending.tree_, OpenAt(pending.dir_fd(), "tree", O_RDONLY | O_DIRECTORY));
      // Nothing of the umask, the setgid bit or the default ACL of where the store is gets inside.
      if (::fchmod(pending.tree_fd(), 0755) != 0) return FailSys(errno, "fchmod", "tree");
      for (const char* acl : {"system.posix_acl_default", "system.posix_acl_access"}) {
        static_cast<void>(::fremovexattr(pending.tree_fd(), acl));  // mostly there is none
      }
    }
    return {};
  };
  auto made = make();
  if (!made) return Unexpected(NoStoreAccess(std::move(made).error(), path_));
  return pending;
}

Result<PublishedLayer> Store::Publish(PendingLayer pending,
                                      const std::vector<uint8_t>& manifest) const {
  LayerId id = Sha256::Of(manifest.data(), manifest.size());
  const std::string path = LayerPath(id);
  for (int attempt = 0;; ++attempt) {
    auto lease =
        FileLock::OnDirectory(root_.get(), path + "/tree", LockMode::kShared, LockWait::kBlock);
    FileLock lock;
    if (lease && LooksWhole(*this, id)) {
      STRATA_ASSIGN(const bool still, LeadsTo(*lease, path + "/tree"));
      if (!still) continue;  // another import has replaced it meanwhile
      // For the collector it is as good as new, although its directory is as old as it is.
      static_cast<void>(::utimensat(root_.get(), (path + "/manifest").c_str(), nullptr, 0));
      return PublishedLayer{id, true, false, LayerLease(std::move(*lease))};
    }
    if (lease) {
      STRATA_ASSIGN_WITH(bool replaced, Replace(pending, manifest, id, *lease, lock),
                         fmt::format("replace the damaged layer {:.12}", id.Hex()));
      if (!replaced) continue;
      STRATA_TRY(DropAside(*this, id));
      return PublishedLayer{id, false, true, LayerLease(std::move(lock))};
    }
    int sys_errno = lease.error().sys_errno();
    if (sys_errno != ENOENT && sys_errno != ENOTDIR && sys_errno != ELOOP) {
      return Unexpected(std::move(lease).error());
    }
    const bool in_the_way = attempt > 3;  // it is there and has no tree
    if (in_the_way) {
      const std::string trash = "trash/" + RandomName();
      sys::RenameAt2(root_.get(), path.c_str(), root_.get(), trash.c_str());
      struct stat st;
      if (sys::FstatAt(root_.get(), (trash + "/tree").c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
        // Another import was faster, and what was taken is its layer.
        sys::RenameAt2(root_.get(), trash.c_str(), root_.get(), path.c_str());
        continue;
      }
      static_cast<void>(RemoveTree(root_.get(), trash));
    }
    STRATA_ASSIGN_WITH(bool published, PublishAs(pending, manifest, path, lock),
                       fmt::format("publish layer {:.12}", id.Hex()));
    if (!published) continue;
    STRATA_TRY(DropAside(*this, id));  // this one is whole
    return PublishedLayer{id, false, in_the_way, LayerLease(std::move(lock))};
  }
}

Result<bool> Store::LeadsTo(const FileLock& lock, const std::string& path) const {
  struct stat held;
  struct stat there;
  if (::fstat(lock.fd(), &held) != 0) return FailSys(errno, "fstat", path);
  const int rc = sys::FstatAt(root_.get(), path.c_str(), &there);
  return rc == 0 && there.st_dev == held.st_dev && there.st_ino == held.st_ino;
}

Result<bool> Store::Replace(PendingLayer& pending, const std::vector<uint8_t>& manifest,
                            const LayerId& id, const FileLock& old, FileLock& lease) const {
  STRATA_TRY(OpenDir("damaged"));
  STRATA_ASSIGN(FileLock turn, FileLock::OnDirectory(root_.get(), "damaged", LockMode::kExclusive,
                                                     LockWait::kBlock));
  STRATA_ASSIGN(const bool still, LeadsTo(old, LayerPath(id) + "/tree"));
  if (!still) return false;  // another import was faster
  // Complete and aside before it is exchanged: who is killed in between leaves what gc removes.
  const std::string aside = NameForReplaced(id);
  STRATA_ASSIGN(const bool published, PublishAs(pending, manifest, aside, lease));
  if (!published) return false;
  return ExchangeLayer(*this, aside, id);
}

Result<void> Store::PublishDerived(PendingLayer pending, const std::vector<uint8_t>& manifest,
                                   const std::string& name) const {
  FileLock lease;
  STRATA_TRY_WITH(PublishAs(pending, manifest, "derived/" + name, lease),
                  fmt::format("publish {}", name));
  return {};
}

Result<bool> Store::PublishAs(PendingLayer& pending, const std::vector<uint8_t>& manifest,
                              const std::string& path, FileLock& lease) const {
  STRATA_ASSIGN(UniqueFd file,
                OpenAt(pending.dir_fd(), "manifest", O_WRONLY | O_CREAT | O_TRUNC, 0644));
  STRATA_TRY(WriteAll(file.get(), {reinterpret_cast<const char*>(manifest.data()), manifest.size()},
                      "manifest"));
  // The root's metadata is always the same (design rule 8): overlayfs shows the topmost layer's.
  if (::fchmodat(pending.dir_fd(), "tree", 0755, 0) != 0) return FailSys(errno, "chmod", "tree");
  timespec times[2] = {{kRootMtime, 0}, {kRootMtime, 0}};
  if (::utimensat(pending.dir_fd(), "tree", times, 0) != 0) {
    return FailSys(errno, "utimensat", "tree");
  }
  STRATA_ASSIGN(
      lease, FileLock::OnDirectory(pending.dir_fd(), "tree", LockMode::kShared, LockWait::kBlock));
  // No rename replaces a directory that has entries, and not every file system knows NOREPLACE.
  int rc = sys::RenameAt2(root_.get(), pending.dir().name().c_str(), root_.get(), path.c_str());
  if (rc == -EEXIST || rc == -ENOTEMPTY || rc == -ENOTDIR) return false;
  if (rc < 0) return FailSys(-rc, "rename", path);
  static_cast<void>(pending.dir_.Release());
  return true;
}

Result<size_t> Store::CleanLeftovers(Leftovers what) const {
  size_t found = 0;
  for (const char* place : {"tmp", "stages", "trash", "refs"}) {
    STRATA_ASSIGN(UniqueFd fd, OpenDir(place));
    UniqueFd listing(sys::OpenAt(fd.get(), ".", O_RDONLY | O_DIRECTORY));
    DIR* dir = ::fdopendir(listing.get());
    if (dir == nullptr) return FailSys(errno, "fdopendir", place);
    static_cast<void>(listing.release());
    while (const dirent* entry = ::readdir(dir)) {
      std::string name(entry->d_name);
      if (name == "." || name == "..") continue;
      // Of a ref that was being written.
      const bool file = std::string_view(place) == "refs";
      if (file && name.find('#') == std::string::npos) continue;
      // In trash/ nobody holds a lock; elsewhere the owner does, from just after the mkdir on.
      struct stat st;
      if (sys::FstatAt(fd.get(), name.c_str(), &st) < 0) continue;
      // A clean scratch, waiting for the next run. (In trash/ that mode is a layer's mark.)
      if ((st.st_mode & 07777) == 01700 && std::string_view(place) == "stages") continue;
      if (::time(nullptr) - st.st_mtime < 2 && std::string_view(place) != "trash") continue;
      auto lock =
          file ? FileLock::OnExistingFile(fd.get(), name, LockMode::kExclusive, LockWait::kFail)
               : FileLock::OnDirectory(fd.get(), name, LockMode::kExclusive, LockWait::kFail);
      // Only a lock that was had says that nobody has it: not one that failed for want of
      // descriptors.
      bool ours = lock || (!file && lock.error().sys_errno() == ENOTDIR) ||
                  std::string_view(place) == "trash";
      if (!ours) continue;
      ++found;
      if (what == Leftovers::kRemove) static_cast<void>(RemoveTree(fd.get(), name));
    }
    ::closedir(dir);
  }
  return found;
}

}  // namespace strata
