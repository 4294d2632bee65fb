// SPDX-License-Identifier: Apache-2.0
#include "cache/verify.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "base/ask_in_mapping.h"
#include "base/io.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/byte_reader.h"
#include "cache/directory_layer.h"

namespace strata {
namespace {

constexpr char kOpaqueXattr[] = "user.overlay.opaque";
constexpr size_t kBuffer = 256 << 10;
constexpr size_t kMaxManifest = size_t{4} << 30;

uint32_t DiskMode(const ManifestEntry& e) {
  return e.mode & 01777;
}

// What the medium or the file system has lost, as opposed to what this process may not do.
bool IsDamage(int sys_errno) {
  return sys_errno == EIO || sys_errno == EUCLEAN || sys_errno == EBADMSG || sys_errno == ENOENT ||
         sys_errno == ENOTDIR || sys_errno == ELOOP;
}

std::string_view KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISREG(mode)) return "a file";
  if (S_ISLNK(mode)) return "a symlink";
  if (S_ISFIFO(mode)) return "a fifo";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "a socket";
}

// A file system that cannot hold a time has the nearest that it can: from 1901 on, and to 2038,
// 2446 or 2486.
bool HasMtime(const ManifestEntry& e, const struct stat& st) {
  const int64_t there = st.st_mtim.tv_sec;
  if (there == e.mtime_sec) return st.st_mtim.tv_nsec == long{e.mtime_nsec};
  if (e.mtime_sec > there) return there >= INT32_MAX;
  return e.mtime_sec < INT32_MIN && there <= INT32_MIN;
}

bool HasType(EntryType type, const struct stat& st) {
  switch (type) {
    case EntryType::kDirectory:
      return S_ISDIR(st.st_mode);
    case EntryType::kFile:
      return S_ISREG(st.st_mode);
    case EntryType::kSymlink:
      return S_ISLNK(st.st_mode);
    case EntryType::kFifo:
      return S_ISFIFO(st.st_mode);
    case EntryType::kWhiteout:
      return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
  }
  return false;
}

std::string_view TypeText(EntryType type) {
  constexpr std::string_view kTexts[] = {"",          "a directory", "a file",
                                         "a symlink", "a fifo",      "a whiteout"};
  return kTexts[static_cast<size_t>(type)];
}

class Verifier {
 public:
  Verifier(const Manifest& manifest, UniqueFd tree, bool is_layer, const VerifyOptions& options)
      : manifest_(manifest), tree_(std::move(tree)), is_layer_(is_layer), options_(options) {}

  Result<std::vector<TreeDamage>> Run() {
    unreachable_.resize(manifest_.size());
    inodes_.resize(is_layer_ ? manifest_.size() : 0);
    std::vector<uint32_t> directories;
    std::vector<uint32_t> others;
    for (uint32_t i = 0; i < manifest_.size(); ++i) {
      const ManifestEntry& e = manifest_.entry(i);
      // Parents come before their children.
      if (i != 0 && unreachable_[e.parent]) {
        unreachable_[i] = true;
      } else if (e.is_directory()) {
        if (ReachDirectory(i)) directories.push_back(i);
      } else {
        others.push_back(i);
      }
    }
    ParallelFor(directories.size(), options_.jobs, [&](size_t k) { Directory(directories[k]); });
    ParallelFor(others.size(), options_.jobs, [&](size_t k) { NonDirectory(others[k]); });
    if (is_layer_) HardlinkGroups();
    // What was closed before is closed again, children before their parents.
    for (auto i = widened_.rbegin(); i != widened_.rend(); ++i) {
      static_cast<void>(
          ::fchmodat(tree_.get(), DiskPath(*i).c_str(), DiskMode(manifest_.entry(*i)), 0) == 0);
    }
    if (error_) return Unexpected(std::move(*error_));
    return Sorted();
  }

 private:
  std::string DiskPath(uint32_t index) const { return index == 0 ? "." : manifest_.Path(index); }

  void Add(std::string path, std::string problem) {
    std::lock_guard lock(mutex_);
    if (damages_.size() < options_.max_damages) {
      damages_.push_back({std::move(path), std::move(problem)});
    } else {
      ++uncounted_;
    }
  }
  void Add(uint32_t index, std::string problem) { Add(manifest_.Path(index), std::move(problem)); }

  // A call that failed: damage, or a reason to give up.
  void Failed(uint32_t index, int sys_errno, std::string_view call) {
    std::string path = manifest_.Path(index);
    if (sys_errno == ENOENT) return Add(std::move(path), "is missing");
    if (IsDamage(sys_errno)) {
      return Add(std::move(path), fmt::format("cannot be read: {}", std::strerror(sys_errno)));
    }
    std::lock_guard lock(mutex_);
    if (error_) return;
    error_ = Error::Sys(sys_errno, call, QuotePath(path));
    if (sys_errno == EACCES || sys_errno == EPERM) {
      error_ = std::move(*error_).Hint("its mode shuts its owner out, too: run this as root");
    }
  }

  bool CheckMetadata(uint32_t index, const struct stat& st) {
    const ManifestEntry& e = manifest_.entry(index);
    if (!HasType(e.type, st)) {
      Add(index, fmt::format("is {}, not {}", KindOf(st.st_mode), TypeText(e.type)));
      return false;
    }
    if (e.type == EntryType::kWhiteout) return true;
    if (e.type != EntryType::kSymlink && (st.st_mode & 07777) != DiskMode(e)) {
      Add(index, fmt::format("has mode {:04o}, not {:04o}", st.st_mode & 07777, DiskMode(e)));
    }
    if (options_.owners != nullptr) CheckOwner(index, st);
    if (!HasMtime(e, st)) {
      Add(index, fmt::format("has mtime {}.{:09}, not {}.{:09}", st.st_mtim.tv_sec,
                             st.st_mtim.tv_nsec, e.mtime_sec, e.mtime_nsec));
    }
    return true;
  }

  void CheckOwner(uint32_t index, const struct stat& st) {
    const ManifestEntry& e = manifest_.entry(index);
    const uint32_t uid = options_.owners->HasUid(e.uid) ? e.uid : 0;
    const uint32_t gid = options_.owners->HasGid(e.gid) ? e.gid : 0;
    if (st.st_uid == uid && st.st_gid == gid) return;
    Add(index, fmt::format("belongs to {}:{}, not {}:{}", st.st_uid, st.st_gid, uid, gid));
  }

  bool ReachDirectory(uint32_t index) {
    struct stat st;
    std::string path = DiskPath(index);
    int rc = sys::FstatAt(tree_.get(), path.c_str(), &st);
    if (rc < 0) Failed(index, -rc, "stat");
    if (rc < 0 || !CheckMetadata(index, st)) {
      unreachable_[index] = true;
      return false;
    }
    if (options_.widen == Widen::kForReading && (st.st_mode & 0500) != 0500 &&
        ::fchmodat(tree_.get(), path.c_str(), 0700, 0) == 0) {
      widened_.push_back(index);
    }
    return true;
  }

  // Its attributes, and that nothing is in it that the manifest does not have.
  void Directory(uint32_t index) {
    UniqueFd fd(
        sys::OpenAt(tree_.get(), DiskPath(index).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (!fd.valid()) return Failed(index, -fd.get(), "open");
    Xattrs(index, fd.get());
    DIR* dir = ::fdopendir(fd.get());
    if (dir == nullptr) return Failed(index, errno, "fdopendir");
    static_cast<void>(fd.release());
    errno = 0;
    while (const dirent* entry = ::readdir(dir)) {
      std::string_view name(entry->d_name);
      if (name == "." || name == ".." || manifest_.Child(index, name)) continue;
      std::string path = manifest_.Path(index);
      if (!path.empty()) path += '/';
      Add(path + std::string(name), "is not in the manifest");
    }
    int failed = errno;
    ::closedir(dir);
    if (failed != 0) Failed(index, failed, "readdir");
  }

  void NonDirectory(uint32_t index) {
    const ManifestEntry& e = manifest_.entry(index);
    const std::string path = manifest_.Path(index);
    if (options_.progress != nullptr) ++options_.progress->entries;
    struct stat st;
    int rc = sys::FstatAt(tree_.get(), path.c_str(), &st);
    if (rc < 0) return Failed(index, -rc, "stat");
    if (!CheckMetadata(index, st)) return;
    if (is_layer_) inodes_[index] = st.st_ino;
    if (e.type == EntryType::kSymlink) return Target(index, path);
    if (e.type == EntryType::kFile) File(index, path, st);
  }

  void Target(uint32_t index, const std::string& path) {
    char buffer[4096];
    int64_t size = sys::ReadlinkAt(tree_.get(), path.c_str(), buffer, sizeof buffer);
    if (size < 0) return Failed(index, static_cast<int>(-size), "readlink");
    std::string_view found(buffer, static_cast<size_t>(size));
    std::string_view wanted = manifest_.target(manifest_.entry(index));
    if (found == wanted) return;
    Add(index, fmt::format("leads to {}, not {}", QuotePath(found), QuotePath(wanted)));
  }

  void File(uint32_t index, const std::string& path, const struct stat& st) {
    const ManifestEntry& e = manifest_.entry(index);
    const bool right_size = static_cast<uint64_t>(st.st_size) == e.size;
    if (!right_size) Add(index, fmt::format("has {} bytes, not {}", st.st_size, e.size));
    if (options_.contents == Contents::kTaken) return;
    const bool widen = options_.widen == Widen::kForReading && (st.st_mode & 0400) == 0;
    if (widen) static_cast<void>(::fchmodat(tree_.get(), path.c_str(), 0600, 0) == 0);
    UniqueFd fd(sys::OpenAt(tree_.get(), path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (widen) static_cast<void>(::fchmodat(tree_.get(), path.c_str(), st.st_mode & 07777, 0) == 0);
    if (!fd.valid()) return Failed(index, -fd.get(), "open");
    Xattrs(index, fd.get());
    // A file that came by a link from an unmanaged directory: nobody has read its content.
    if (!right_size || IsMarkOfFile(e.digest)) return;
    const bool shared = st.st_nlink > 1 && options_.known != nullptr;
    std::optional<Digest> digest = shared ? options_.known->Find(st.st_ino) : std::nullopt;
    if (!digest) {
      digest = Hash(index, fd.get(), e.size);
      if (!digest) return;
      if (shared) options_.known->Add(st.st_ino, *digest);
    }
    if (*digest != e.digest) Add(index, "has other content");
  }

  std::optional<Digest> Hash(uint32_t index, int fd, uint64_t expected) {
    const size_t room = static_cast<size_t>(std::clamp<uint64_t>(expected, 1, kBuffer));
    const auto buffer = std::make_unique_for_overwrite<char[]>(room);
    Sha256 hash;
    for (;;) {
      int64_t size = sys::Read(fd, buffer.get(), room);
      if (size < 0) {
        Failed(index, static_cast<int>(-size), "read");
        return std::nullopt;
      }
      if (size == 0) return hash.Finish();
      hash.Update(buffer.get(), static_cast<size_t>(size));
      if (options_.progress != nullptr) options_.progress->bytes += static_cast<uint64_t>(size);
    }
  }

  void Xattrs(uint32_t index, int fd) {
    const ManifestEntry& e = manifest_.entry(index);
    std::vector<Xattr> wanted;
    for (Xattr& xattr : manifest_.xattrs(e)) {
      if (xattr.name.compare(0, 5, "user.") == 0) wanted.push_back(std::move(xattr));
    }
    if (e.opaque()) wanted.push_back({kOpaqueXattr, "y"});
    ssize_t size = ::flistxattr(fd, nullptr, 0);
    if (size <= 0 && wanted.empty()) return;
    std::string names(static_cast<size_t>(std::max<ssize_t>(size, 0)), '\0');
    if (size > 0) size = ::flistxattr(fd, names.data(), names.size());
    if (size < 0) return Failed(index, errno, "flistxattr");
    std::vector<Xattr> found;
    for (std::string_view rest(names); !rest.empty();) {
      std::string name(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      if (name.compare(0, 5, "user.") != 0) continue;
      std::string value(XATTR_SIZE_MAX, '\0');
      ssize_t length = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
      if (length < 0) return Failed(index, errno, "fgetxattr");
      value.resize(static_cast<size_t>(length));
      found.push_back({std::move(name), std::move(value)});
    }
    std::sort(found.begin(), found.end());
    std::sort(wanted.begin(), wanted.end());
    if (found == wanted) return;
    for (const Xattr& xattr : wanted) {
      if (std::find(found.begin(), found.end(), xattr) == found.end()) {
        return Add(index,
                   fmt::format("has lost or changed its attribute {}", QuotePath(xattr.name)));
      }
    }
    Add(index, "has an attribute that is not in the manifest");
  }

  // The names of a group are one inode, and no two groups are the same one.
  void HardlinkGroups() {
    std::unordered_map<ino_t, uint32_t> groups;  // inode -> the first entry of its group
    for (uint32_t i = 0; i < manifest_.size(); ++i) {
      const ManifestEntry& e = manifest_.entry(i);
      if (inodes_[i] == 0 || e.type == EntryType::kWhiteout) continue;  // one inode for all is fine
      uint32_t group = e.hardlink == kNoEntry ? i : e.hardlink;
      if (inodes_[group] != 0 && inodes_[i] != inodes_[group]) {
        Add(i, fmt::format("is no hard link to {}", QuotePath(manifest_.Path(group))));
      }
      auto [other, is_new] = groups.try_emplace(inodes_[i], group);
      if (is_new || other->second == group || inodes_[i] != inodes_[group]) continue;
      Add(i, fmt::format("is a hard link to {}", QuotePath(manifest_.Path(other->second))));
    }
  }

  std::vector<TreeDamage> Sorted() {
    std::sort(damages_.begin(), damages_.end(), [](const TreeDamage& a, const TreeDamage& b) {
      return std::tie(a.path, a.problem) < std::tie(b.path, b.problem);
    });
    if (uncounted_ > 0) damages_.push_back({"", fmt::format("and {} more", uncounted_)});
    return std::move(damages_);
  }

  const Manifest& manifest_;
  const UniqueFd tree_;
  const bool is_layer_;
  const VerifyOptions& options_;
  std::vector<bool> unreachable_;
  std::vector<uint32_t> widened_;
  std::vector<ino_t> inodes_;  // by entry; 0: not known

  std::mutex mutex_;
  std::vector<TreeDamage> damages_;
  uint64_t uncounted_ = 0;
  std::optional<Error> error_;
};

}  // namespace

void KnownContents::Add(ino_t inode, const Digest& digest) {
  std::lock_guard lock(mutex_);
  digests_.insert_or_assign(inode, digest);
}

std::optional<Digest> KnownContents::Find(ino_t inode) const {
  std::lock_guard lock(mutex_);
  auto found = digests_.find(inode);
  if (found == digests_.end()) return std::nullopt;
  return found->second;
}

namespace {

std::vector<TreeDamage> Whole(std::string path, std::string problem) {
  return {{std::move(path), std::move(problem)}};
}

struct CheckedManifest {
  std::optional<Manifest> manifest;  // none: it is damaged
  std::vector<TreeDamage> damages;
};

Result<CheckedManifest> CheckManifest(int dir_fd, const std::string& path,
                                      const std::optional<LayerId>& id) {
  // Read, not mapped: a bad block gives an error in place of a signal.
  auto read = [&]() -> Result<Manifest> {
    STRATA_ASSIGN(std::string bytes, ReadFile(dir_fd, path + "/manifest", kMaxManifest));
    return Manifest::FromBytes({bytes.begin(), bytes.end()});
  };
  auto manifest = read();
  if (!manifest) {
    int sys_errno = manifest.error().sys_errno();
    if (sys_errno == ENOENT) return CheckedManifest{{}, Whole("manifest", "is missing")};
    if (sys_errno != 0 && !IsDamage(sys_errno)) return Unexpected(std::move(manifest).error());
    return CheckedManifest{{}, Whole("manifest", "is damaged: " + manifest.error().message())};
  }
  if (id && manifest->Id() != *id) {
    return CheckedManifest{{}, Whole("manifest", "has the id " + manifest->Id().Hex())};
  }
  auto valid = manifest->Validate();
  if (!valid)
    return CheckedManifest{{}, Whole("manifest", "is damaged: " + valid.error().message())};
  return CheckedManifest{std::move(*manifest), {}};
}

}  // namespace

Result<std::vector<TreeDamage>> VerifyManifest(int dir_fd, const std::string& path) {
  STRATA_ASSIGN(CheckedManifest checked, CheckManifest(dir_fd, path, std::nullopt));
  return std::move(checked.damages);
}

Result<std::vector<TreeDamage>> VerifyTree(int dir_fd, const std::string& path,
                                           const std::optional<LayerId>& id,
                                           const VerifyOptions& options) {
  STRATA_ASSIGN(CheckedManifest checked, CheckManifest(dir_fd, path, id));
  if (!checked.manifest) return std::move(checked.damages);
  int fd = sys::OpenAt(dir_fd, (path + "/tree").c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) return Whole("", "its tree is missing");
  if (fd < 0 && IsDamage(-fd)) return Whole("", fmt::format("its tree: {}", std::strerror(-fd)));
  if (fd < 0) return FailSys(-fd, "open", path + "/tree");
  return Verifier(*checked.manifest, UniqueFd(fd), id.has_value(), options).Run();
}

Result<std::vector<TreeDamage>> VerifyInMapping(int dir_fd, const std::string& path,
                                                const std::optional<LayerId>& id,
                                                const IdMapping& mapping,
                                                const VerifyOptions& options) {
  auto work = [&]() -> Result<std::string> {
    STRATA_ASSIGN(std::vector<TreeDamage> damages, VerifyTree(dir_fd, path, id, options));
    std::string bytes;
    PutU32(bytes, static_cast<uint32_t>(damages.size()));
    for (const TreeDamage& damage : damages) {
      PutText(bytes, damage.path);
      PutText(bytes, damage.problem);
    }
    return bytes;
  };
  STRATA_ASSIGN(std::string bytes, AskInMapping(mapping, work));
  ByteReader in(bytes);
  std::vector<TreeDamage> damages(in.U32());
  for (TreeDamage& damage : damages) {
    damage.path = in.Text();
    damage.problem = in.Text();
  }
  return damages;
}

Result<std::vector<TreeDamage>> VerifyOwnTree(int dir_fd, const std::string& path,
                                              const std::optional<LayerId>& id,
                                              const VerifyOptions& options) {
  auto verified = VerifyTree(dir_fd, path, id, options);
  if (verified || verified.error().sys_errno() != EACCES || ::geteuid() == 0) return verified;
  // Modes that shut out their owner, too, and not who is root in a namespace.
  auto again = VerifyInMapping(dir_fd, path, id, SingleId(), options);
  return again ? std::move(again) : std::move(verified);
}

}  // namespace strata
