// SPDX-License-Identifier: Apache-2.0
#include "cache/directory_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/directory_scan.h"

namespace strata {
namespace {

bool IsBelow(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.size() > 1;
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

Result<void> CheckOutsideStore(const Store& store, const std::string& path) {
  STRATA_ASSIGN(std::string real, RealPath(store.path()));
  if (path == real || IsBelow(path, real)) {
    return Fail(Errc::kInvalid, "{}: it is in the store", QuotePath(path));
  }
  if (IsBelow(real, path)) {
    return Unexpected(
        Error(Errc::kInvalid, fmt::format("{}: the store itself is in there", QuotePath(path)))
            .Hint("export STRATA_STORE=DIR, with a directory elsewhere"));
  }
  return {};
}

LayerId DirectoryId(const std::string& path, const std::string& key) {
  Sha256 hash;
  for (std::string_view part : {std::string_view("dir"), std::string_view(path)}) {
    hash.Update(part.data(), part.size());
    hash.Update("", 1);
  }
  hash.Update(key.data(), key.size());
  return hash.Finish();
}

// A link between the file systems of both, and what is more, between these mounts of them.
Result<bool> CanLink(const Store& store, int directory_fd) {
  struct statx theirs {};
  struct statx ours {};
  for (auto [fd, stat] : {std::pair{directory_fd, &theirs}, std::pair{store.fd(), &ours}}) {
    if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, stat) != 0) {
      return FailSys(errno, "statx");
    }
  }
  return theirs.stx_dev_major == ours.stx_dev_major && theirs.stx_dev_minor == ours.stx_dev_minor &&
         theirs.stx_mnt_id == ours.stx_mnt_id;
}

// What an earlier reading left; nothing where there was none.
Result<std::optional<Manifest>> OpenKept(const Store& store, const std::string& kept,
                                         FileLock* lease) {
  auto lock =
      FileLock::OnDirectory(store.fd(), kept + "/tree", LockMode::kShared, LockWait::kBlock);
  if (!lock) {
    if (lock.error().sys_errno() == ENOENT) return std::nullopt;
    return Unexpected(std::move(lock).error());
  }
  auto open = [&]() -> Result<Manifest> {
    STRATA_ASSIGN(Manifest manifest, Manifest::Open(store.fd(), kept + "/manifest"));
    STRATA_TRY(manifest.Validate());
    return manifest;
  };
  STRATA_ASSIGN_WITH(Manifest manifest, open(), kept);
  *lease = std::move(*lock);
  return std::optional<Manifest>(std::move(manifest));
}

Result<void> Fill(const Store& store, const SetItem& item, int fd, DirectoryLayer* layer) {
  const bool keyed = item.id != LayerId{};
  const std::string name = "dir-" + item.id.Hex();
  std::optional<Manifest> manifest;
  if (keyed) {
    STRATA_ASSIGN(manifest, OpenKept(store, "derived/" + name, &layer->lease));
  }
  if (!manifest) {
    STRATA_ASSIGN(ScannedDirectory scanned, ScanDirectory(store, fd));
    layer->warnings = std::move(scanned.warnings);
    if (keyed) {
      STRATA_ASSIGN(PendingLayer pending, store.NewLayer());
      STRATA_TRY(store.PublishDerived(std::move(pending), scanned.manifest, name));
      STRATA_ASSIGN(manifest, OpenKept(store, "derived/" + name, &layer->lease));
    }
    // Without a key, or when it was collected at once.
    if (!manifest) {
      STRATA_ASSIGN(manifest, Manifest::FromBytes(std::move(scanned.manifest)));
    }
  }
  layer->manifest = std::move(*manifest);
  return {};
}

}  // namespace

Result<SetItem> MakeDirectoryItem(const Store& store, const std::string& path,
                                  const std::optional<std::string>& key) {
  SetItem item;
  STRATA_ASSIGN(item.directory, RealPath(path));
  struct stat st;
  STRATA_TRY(sys::Check(sys::FstatAt(AT_FDCWD, item.directory.c_str(), &st), "stat",
                        QuotePath(item.directory)));
  if (!S_ISDIR(st.st_mode)) {
    return Fail(Errc::kInvalid, "{}: not a directory", QuotePath(item.directory));
  }
  STRATA_TRY(CheckOutsideStore(store, item.directory));
  if (key) item.id = DirectoryId(item.directory, *key);
  return item;
}

Result<DirectoryLayer> OpenDirectoryLayer(const Store& store, const SetItem& item) {
  auto open = [&]() -> Result<DirectoryLayer> {
    STRATA_TRY(CheckOutsideStore(store, item.directory));
    STRATA_ASSIGN(UniqueFd fd,
                  OpenAt(AT_FDCWD, item.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    STRATA_ASSIGN(Manifest empty, Manifest::FromBytes(*ManifestBuilder().Finish()));
    DirectoryLayer layer{.id = item.id, .path = item.directory, .manifest = std::move(empty)};
    STRATA_ASSIGN(layer.same_file_system, CanLink(store, fd.get()));
    STRATA_TRY(Fill(store, item, fd.get(), &layer));
    return layer;
  };
  auto layer = open();
  if (!layer) {
    return Unexpected(
        std::move(layer).error().Wrap(fmt::format("dir:{}", QuotePath(item.directory))));
  }
  return layer;
}

}  // namespace strata
