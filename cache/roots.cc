// SPDX-License-Identifier: Apache-2.0
#include "cache/roots.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/io.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/byte_reader.h"
#include "cache/last_use.h"

namespace strata {
namespace {

constexpr std::string_view kMagic = "STRATART";
constexpr uint32_t kVersion = 2;
constexpr uint32_t kWithoutOwners = 1;  // a version that says nothing of them
constexpr int64_t kMaxFileSize = 64 << 20;
// Of rounds in which an entry is found and has gone before it is leased: there is always another
// process that has got further meanwhile.
constexpr int kMaxAttempts = 1000;

std::string RootPath(const RootKey& key) {
  return "roots/" + key.Hex();
}

std::string EncodeFile(std::string_view encoded_set, const RootContent& content) {
  std::string body;
  PutU32(body, static_cast<uint32_t>(content.method));
  PutU32(body, content.layer_count);
  PutU32(body, content.base_count);
  PutU32(body, static_cast<uint32_t>(content.lowers.size()));
  for (const std::string& lower : content.lowers) PutText(body, lower);
  PutU32(body, static_cast<uint32_t>(content.foreign_lowers.size()));
  for (uint32_t index : content.foreign_lowers) PutU32(body, index);
  PutU32(body, content.needs_range ? 1 : 0);

  std::string bytes(kMagic);
  PutU32(bytes, kVersion);
  PutText(bytes, encoded_set);
  PutText(bytes, body);
  PutU64(bytes, Xxh3Short(bytes));
  return bytes;
}

void DecodeOwners(ByteReader& in, RootContent& content) {
  const uint32_t count = in.U32();
  if (count > content.lowers.size()) in.SetBad();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const uint32_t index = in.U32();
    const bool ascends = i == 0 || index > content.foreign_lowers.back();
    if (!ascends || index >= content.lowers.size()) in.SetBad();
    content.foreign_lowers.push_back(index);
  }
  const uint32_t needs_range = in.U32();
  if (needs_range > 1) in.SetBad();
  content.needs_range = needs_range == 1;
}

// What is not known to have no other owners is looked at when it is needed.
void SuspectAll(RootContent& content) {
  for (uint32_t i = 0; i < content.lowers.size(); ++i) {
    if (!content.lowers[i].starts_with('/')) content.foreign_lowers.push_back(i);
  }
}

bool DecodeContent(std::string_view body, uint32_t version, RootContent& content) {
  ByteReader in(body);
  uint32_t method = in.U32();
  content.layer_count = in.U32();
  content.base_count = in.U32();
  uint32_t lowers = in.U32();
  if (method < 1 || method > 3 || content.base_count > lowers || lowers == 0) in.SetBad();
  content.method = static_cast<RootMethod>(method);
  for (uint32_t i = 0; i < lowers && in.ok(); ++i) {
    std::string_view lower = in.Text();
    if (lower.empty() || lower.find('\0') != std::string_view::npos) in.SetBad();
    content.lowers.emplace_back(lower);
  }
  if (version == kWithoutOwners) {
    SuspectAll(content);
  } else {
    DecodeOwners(in, content);
  }
  return in.AtEnd();
}

// False: these bytes are no root's file. They become the encoded set, which is most of them.
bool DecodeFile(std::string file, CachedRoot& root) {
  const std::string_view bytes = file;
  if (bytes.size() < sizeof(uint64_t)) return false;
  std::string_view summed = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  if (ByteReader(bytes.substr(summed.size())).U64() != Xxh3Short(summed)) return false;
  ByteReader in(summed);
  if (in.Bytes(kMagic.size()) != kMagic) return false;
  const uint32_t version = in.U32();
  if (version != kVersion && version != kWithoutOwners) return false;
  const std::string_view set = in.Text();
  const std::string_view body = in.Text();
  if (!in.AtEnd() || !DecodeContent(body, version, root.content)) return false;
  const auto begin = static_cast<size_t>(set.data() - bytes.data());
  file.resize(begin + set.size());
  file.erase(0, begin);
  root.encoded_set = std::move(file);
  return true;
}

// In a store that cannot be written to there is no gc either, that would ask.
void Stamp(int fd, const struct stat& st) {
  if (StampIsDue(st)) static_cast<void>(::futimens(fd, nullptr));
}

Unexpected Damaged(const RootKey& key) {
  return Fail(Errc::kCorrupt, "cached root {:.12} is damaged", key.Hex());
}

// The file of `key`, leased and read; whether its set is the one of the key is the caller's to see:
// a hit compares the sets, and hashes nothing again. kCorrupt: `root` has the lease and nothing
// else.
Result<void> LeaseAndRead(const Store& store, const RootKey& key, CachedRoot& root) {
  const std::string path = RootPath(key);
  root.key = key;
  STRATA_ASSIGN(root.lease,
                FileLock::OnExistingFile(store.fd(), path, LockMode::kShared, LockWait::kBlock));
  struct stat st;
  if (::fstat(root.lease.fd(), &st) != 0) return FailSys(errno, "fstat", path);
  std::string bytes;
  if (S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= kMaxFileSize) {
    bytes.resize(static_cast<size_t>(st.st_size));
    int64_t size = sys::Read(root.lease.fd(), bytes.data(), bytes.size());
    if (size < 0) return FailSys(static_cast<int>(-size), "read", path);
    bytes.resize(static_cast<size_t>(size));
  }
  if (!DecodeFile(std::move(bytes), root)) return Damaged(key);
  if (store.marked_only() && (st.st_mode & S_ISVTX) == 0) return FailSys(ENOENT, "find", path);
  Stamp(root.lease.fd(), st);
  return {};
}

// What is in the file, whoever has it leased.
Result<RootInfo> Decode(const RootKey& key, std::string bytes) {
  CachedRoot root;
  if (!DecodeFile(std::move(bytes), root) || KeyOfSet(root.encoded_set) != key) return Damaged(key);
  RootInfo info;
  info.key = key;
  STRATA_ASSIGN_WITH(info.set, DependencySet::Decode(root.encoded_set),
                     fmt::format("cached root {:.12}", key.Hex()));
  info.content = std::move(root.content);
  return info;
}

// Takes the name away from the file that `lock` (exclusive) is on.
Result<void> Unlink(const Store& store, const RootKey& key) {
  int rc = sys::UnlinkAt(store.fd(), RootPath(key).c_str());
  if (rc < 0 && rc != -ENOENT) return FailSys(-rc, "unlink", RootPath(key));
  return {};
}

// What cannot be used goes, so that the root can be composed again.
Result<void> Drop(const Store& store, const RootKey& key, FileLock lease) {
  lease.Release().reset();  // or it would be in the way of the exclusive lock
  auto removed = RemoveRoot(store, key);
  if (removed || removed.error().code() == Errc::kNotFound) return {};
  return Unexpected(std::move(removed).error().Wrap(
      fmt::format("drop cached root {:.12}, which cannot be used", key.Hex())));
}

Error CannotPublish(Error error, const Store& store, const RootKey& key) {
  int sys_errno = error.sys_errno();
  error = std::move(error).Wrap(fmt::format("publish root {:.12}", key.Hex()));
  if (sys_errno == EACCES || sys_errno == EROFS || sys_errno == EPERM) {
    return std::move(error).Hint(
        fmt::format("the store {} cannot be written to: what is composed already can be run there, "
                    "nothing else",
                    store.path()));
  }
  return error;
}

// True: `name` (in tmp/) is now roots/KEY; false: there is one already.
Result<bool> GiveName(const Store& store, const std::string& name, const RootKey& key) {
  const std::string path = RootPath(key);
  int rc = sys::RenameAt2(store.fd(), name.c_str(), store.fd(), path.c_str(), RENAME_NOREPLACE);
  if (rc == -EINVAL) {  // a file system without that flag
    rc = sys::LinkAt(store.fd(), name.c_str(), store.fd(), path.c_str());
    if (rc == 0) sys::UnlinkAt(store.fd(), name.c_str());
  }
  if (rc == -EEXIST) return false;
  if (rc < 0) return FailSys(-rc, "rename", path);
  return true;
}

// The new file, with the lease on it from before it has its name; nothing where another was faster.
Result<std::optional<FileLock>> WriteRoot(const Store& store, const RootKey& key,
                                          std::string_view bytes) {
  STRATA_TRY(store.OpenDir("roots"));  // stores of earlier versions have none
  const std::string name = "tmp/root-" + RandomName();
  STRATA_ASSIGN(UniqueFd fd, OpenAt(store.fd(), name, O_WRONLY | O_CREAT | O_EXCL, 0600));
  auto write = [&]() -> Result<std::optional<FileLock>> {
    STRATA_TRY(WriteAll(fd.get(), bytes, name));
    STRATA_ASSIGN(FileLock lease, FileLock::OnDescriptor(std::move(fd), LockMode::kShared));
    STRATA_ASSIGN(bool named, GiveName(store, name, key));
    if (named) return lease;
    sys::UnlinkAt(store.fd(), name.c_str());
    return std::nullopt;
  };
  auto written = write();
  if (!written) sys::UnlinkAt(store.fd(), name.c_str());
  return written;
}

}  // namespace

std::vector<int> CachedRoot::Leases() const {
  std::vector<int> leases;
  if (lease.held()) leases.push_back(lease.fd());
  for (const FileLock& draft_lease : draft_leases) leases.push_back(draft_lease.fd());
  return leases;
}

Result<std::optional<CachedRoot>> FindRoot(const Store& store, std::string_view encoded_set) {
  CachedRoot root;
  auto read = LeaseAndRead(store, KeyOfSet(encoded_set), root);
  if (read && root.encoded_set == encoded_set) {
    root.hit = true;
    return root;
  }
  if (!read && read.error().sys_errno() == ENOENT) return std::nullopt;
  if (!read && read.error().code() != Errc::kCorrupt) return Unexpected(std::move(read).error());
  STRATA_TRY(Drop(store, root.key, std::move(root.lease)));
  return std::nullopt;
}

Result<CachedRoot> OpenRoot(const Store& store, const RootKey& key) {
  CachedRoot root;
  auto read = LeaseAndRead(store, key, root);
  if (!read && read.error().sys_errno() == ENOENT) {
    return Fail(Errc::kNotFound, "no cached root {}", key.Hex());
  }
  if (!read) return Unexpected(std::move(read).error());
  if (KeyOfSet(root.encoded_set) != key) return Damaged(key);
  root.hit = true;
  return root;
}

Result<CachedRoot> PublishRoot(const Store& store, std::string_view encoded_set,
                               const RootContent& content) {
  const RootKey key = KeyOfSet(encoded_set);
  const std::string bytes = EncodeFile(encoded_set, content);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto written = WriteRoot(store, key, bytes);
    if (!written && written.error().sys_errno() == ENOENT && attempt < 3) {
      continue;  // this process slept for so long that its file was taken for a leftover
    }
    if (!written) return Unexpected(CannotPublish(std::move(written).error(), store, key));
    if (*written) {
      return CachedRoot{key, content, std::string(encoded_set), std::move(**written), false};
    }
    STRATA_ASSIGN(std::optional<CachedRoot> winner, FindRoot(store, encoded_set));
    if (winner) {
      winner->hit = false;
      return std::move(*winner);
    }
  }
  return Fail(Errc::kBusy, "publish root {:.12}: others remove it all the time", key.Hex());
}

bool RootInfo::Needs(const LayerId& id) const {
  auto is_it = [&](const SetItem& item) { return item.id == id; };
  return std::any_of(set.items.begin(), set.items.end(), is_it);
}

Result<RootInfo> ReadRoot(const Store& store, const RootKey& key) {
  const std::string path = RootPath(key);
  auto opened = OpenAt(store.fd(), path, O_RDONLY | O_NOFOLLOW);
  if (!opened && opened.error().sys_errno() == ENOENT) {
    return Fail(Errc::kNotFound, "no cached root {}", key.Hex());
  }
  if (!opened) return Unexpected(std::move(opened).error());
  struct stat st;
  if (::fstat(opened->get(), &st) != 0) return FailSys(errno, "fstat", path);
  STRATA_ASSIGN(std::string bytes, ReadAll(opened->get(), path, kMaxFileSize));
  const size_t size = bytes.size();
  STRATA_ASSIGN(RootInfo info, Decode(key, std::move(bytes)));
  info.last_used = st.st_mtime;
  info.file_bytes = size;
  return info;
}

Result<void> RemoveRoot(const Store& store, const RootKey& key) {
  auto lock =
      FileLock::OnExistingFile(store.fd(), RootPath(key), LockMode::kExclusive, LockWait::kFail);
  if (lock) return Unlink(store, key);
  if (lock.error().sys_errno() == ENOENT) {
    return Fail(Errc::kNotFound, "no cached root {}", key.Hex());
  }
  if (lock.error().code() == Errc::kBusy) {
    return Fail(Errc::kBusy, "root {:.12} is in use by a running stage", key.Hex());
  }
  return Unexpected(std::move(lock).error());
}

Result<std::vector<RootKey>> ListRoots(const Store& store) {
  std::vector<RootKey> keys;
  int fd = sys::OpenAt(store.fd(), "roots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) return keys;
  STRATA_ASSIGN(UniqueFd owner, sys::CheckFd(fd, "open", "roots"));
  DIR* dir = ::fdopendir(owner.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", "roots");
  static_cast<void>(owner.release());
  while (const dirent* entry = ::readdir(dir)) {
    if (auto key = RootKey::FromHex(entry->d_name)) keys.push_back(*key);
  }
  ::closedir(dir);
  std::sort(keys.begin(), keys.end());
  return keys;
}

Result<std::vector<RootInfo>> ReadRoots(const Store& store) {
  std::vector<RootInfo> roots;
  STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(store));
  for (const RootKey& key : keys) {
    auto info = ReadRoot(store, key);
    if (info) {
      roots.push_back(std::move(*info));
    } else if (info.error().code() == Errc::kSystem) {
      return Unexpected(std::move(info).error());
    }
  }
  return roots;
}

}  // namespace strata
