// SPDX-License-Identifier: Apache-2.0
//
// Level by level: list the directories, look at what is in them in pieces of equal size (one
// directory may hold everything), then add it all to the manifest in one thread.
#include "cache/directory_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/parallel.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/directory_layer.h"
#include "cache/import_context.h"
#include "cache/xattr_policy.h"

namespace strata {
namespace {

using Node = ManifestBuilder::Node;

constexpr size_t kPiece = 64;  // entries that one thread looks at in a go
constexpr char kMark[8] = {'u', 'n', 'r', 'e', 'a', 'd', ':', '\0'};

struct Identity {
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t inode = 0;
  auto operator<=>(const Identity&) const = default;
};

Identity IdentityOf(const struct statx& st) {
  return {st.stx_dev_major, st.stx_dev_minor, st.stx_ino};
}

// A number that is used again for a new file comes with another time of birth.
Digest MarkOfFile(const struct statx& st) {
  const uint64_t device = uint64_t{st.stx_dev_major} << 32 | st.stx_dev_minor;
  uint64_t birth = 0;
  if ((st.stx_mask & STATX_BTIME) != 0) {
    birth = static_cast<uint64_t>(st.stx_btime.tv_sec) * 1000000000 + st.stx_btime.tv_nsec;
  }
  Digest digest;
  uint8_t* out = digest.bytes.data();
  std::memcpy(out, kMark, 8);
  std::memcpy(out + 8, &device, 8);
  std::memcpy(out + 16, &st.stx_ino, 8);
  std::memcpy(out + 24, &birth, 8);
  return digest;
}

struct Entry {
  std::string name;
  ManifestBuilder::Data data;
  Identity identity;
  bool several_names = false;
};

struct Directory {
  std::string path;  // "" for the top
  Node node = ManifestBuilder::kRoot;
  std::vector<Entry> entries;
};

class DirectoryScan {
 public:
  DirectoryScan(const Store& store, int fd) : store_(store), top_fd_(fd) {}
  Result<ScannedDirectory> Run();

 private:
  struct Piece {
    Directory* directory;
    size_t first;
    size_t last;
  };

  Result<void> Prepare();
  Result<UniqueFd> Open(const Directory& directory) const;
  Result<void> List(Directory& directory) const;
  Result<void> LookAt(const Piece& piece);
  Result<void> LookAt(int dir_fd, const Directory& directory, Entry& entry);
  Result<void> CheckEntry(const std::string& path, const struct statx& st) const;
  Result<void> ReadXattrs(const std::string& proc_path, const std::string& path,
                          ManifestBuilder::Data& data);
  Result<void> TakeLevel(std::vector<Directory>* next);

  // Runs `body` for each index in several threads, and returns the first error that any of them
  // met.
  template <typename Body>
  Result<void> Each(size_t count, const Body& body);

  const Store& store_;
  const int top_fd_;
  const uint32_t uid_ = ::geteuid();
  const uint32_t gid_ = ::getegid();
  const Digest empty_ = Sha256::Of("", 0);
  Identity top_;
  Identity store_identity_;
  ManifestBuilder builder_;
  Warnings warnings_;
  std::vector<Directory> level_;
  std::map<Identity, Node> linked_;  // files with several names
};

std::string Join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

Unexpected Changed(std::string_view path) {
  return Fail(Errc::kBusy, "{}: changed while it was read", QuotePath(path));
}

Result<struct statx> Statx(int dir_fd, const char* name, const std::string& path) {
  struct statx st {};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(dir_fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
    if (errno == ENOENT) return Changed(path);
    return FailSys(errno, "statx", QuotePath(path));
  }
  return st;
}

template <typename Body>
Result<void> DirectoryScan::Each(size_t count, const Body& body) {
  std::mutex mutex;
  std::optional<Error> error;
  std::atomic<bool> failed{false};
  ParallelFor(count, 0, [&](size_t i) {
    if (failed.load(std::memory_order_relaxed)) return;
    Result<void> done = body(i);
    if (done) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (!error) error = std::move(done).error();
    failed = true;
  });
  if (error) return Unexpected(std::move(*error));
  return {};
}

Result<void> DirectoryScan::Prepare() {
  STRATA_ASSIGN(struct statx store, Statx(store_.fd(), "", "store"));
  STRATA_ASSIGN(struct statx top, Statx(top_fd_, "", "."));
  store_identity_ = IdentityOf(store);
  top_ = IdentityOf(top);
  STRATA_TRY(CheckEntry(".", top));
  ManifestBuilder::Data unused;  // the root of a layer has no attributes
  return ReadXattrs(fmt::format("/proc/self/fd/{}/.", top_fd_), ".", unused);
}

// Below the top, and through no link.
Result<UniqueFd> DirectoryScan::Open(const Directory& directory) const {
  const char* path = directory.path.empty() ? "." : directory.path.c_str();
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  int fd = sys::OpenAt2(top_fd_, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  if (fd == -ENOSYS || fd == -EPERM) fd = sys::OpenAt(top_fd_, path, flags);
  return sys::CheckFd(fd, "open", QuotePath(path));
}

Result<void> DirectoryScan::List(Directory& directory) const {
  STRATA_ASSIGN(UniqueFd fd, Open(directory));
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", QuotePath(directory.path));
  static_cast<void>(fd.release());
  std::unique_ptr<DIR, decltype([](DIR* d) { ::closedir(d); })> owner(dir);
  for (;;) {
    errno = 0;
    const dirent* found = ::readdir(dir);
    if (found == nullptr) {
      if (errno != 0) return FailSys(errno, "readdir", QuotePath(directory.path));
      return {};
    }
    std::string_view name(found->d_name);
    if (name == "." || name == "..") continue;
    directory.entries.emplace_back().name = name;
  }
}

Result<void> DirectoryScan::LookAt(const Piece& piece) {
  STRATA_ASSIGN(UniqueFd fd, Open(*piece.directory));
  for (size_t i = piece.first; i < piece.last; ++i) {
    STRATA_TRY(LookAt(fd.get(), *piece.directory, piece.directory->entries[i]));
  }
  return {};
}

Result<void> DirectoryScan::LookAt(int dir_fd, const Directory& directory, Entry& entry) {
  const std::string path = Join(directory.path, entry.name);
  if (path.size() > 4095) return SplitPath(path).map([](const auto&) {});  // says what is wrong
  STRATA_ASSIGN(struct statx st, Statx(dir_fd, entry.name.c_str(), path));
  STRATA_TRY(CheckEntry(path, st));
  ManifestBuilder::Data& data = entry.data;
  entry.identity = IdentityOf(st);
  data.mode = st.stx_mode & 07777;
  data.mtime_sec = st.stx_mtime.tv_sec;
  data.mtime_nsec = st.stx_mtime.tv_nsec;
  if (S_ISDIR(st.stx_mode)) {
    data.type = EntryType::kDirectory;
  } else if (S_ISREG(st.stx_mode)) {
    data.type = EntryType::kFile;
    data.size = st.stx_size;
    data.digest = st.stx_size == 0 ? empty_ : MarkOfFile(st);
  } else if (S_ISLNK(st.stx_mode)) {
    char target[4096];
    int64_t size = sys::ReadlinkAt(dir_fd, entry.name.c_str(), target, sizeof target);
    if (size < 0) return FailSys(static_cast<int>(-size), "readlink", QuotePath(path));
    data.type = EntryType::kSymlink;
    data.target.assign(target, static_cast<size_t>(size));
  } else {
    data.type = EntryType::kFifo;
  }
  entry.several_names = data.type != EntryType::kDirectory && st.stx_nlink > 1;
  return ReadXattrs(fmt::format("/proc/self/fd/{}/{}", dir_fd, entry.name), path, data);
}

// What cannot be staged where it is.
Result<void> DirectoryScan::CheckEntry(const std::string& path, const struct statx& st) const {
  if (IdentityOf(st) == store_identity_) {
    return Unexpected(
        Error(Errc::kInvalid, fmt::format("{}: the store itself is in there", QuotePath(path)))
            .Hint("export STRATA_STORE=DIR, with a directory elsewhere"));
  }
  const bool top = path == ".";
  const bool other_device = st.stx_dev_major != top_.major || st.stx_dev_minor != top_.minor;
  if (!top && (other_device || (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)) {
    return Fail(Errc::kInvalid,
                "{}: something is mounted there, which a staged root would not show",
                QuotePath(path));
  }
  if (S_ISCHR(st.stx_mode) && st.stx_rdev_major == 0 && st.stx_rdev_minor == 0) {
    return Fail(Errc::kHostile, "{}: a 0:0 device would act as a whiteout", QuotePath(path));
  }
  const char* special = S_ISCHR(st.stx_mode) || S_ISBLK(st.stx_mode) ? "a device node"
                        : S_ISSOCK(st.stx_mode)                      ? "a socket"
                                                                     : nullptr;
  if (special != nullptr) {
    return Fail(Errc::kHostile, "{}: {}, which no layer can have", QuotePath(path), special);
  }
  if (S_ISREG(st.stx_mode) && (st.stx_mode & (S_ISUID | S_ISGID)) != 0) {
    return Unexpected(
        Error(Errc::kInvalid, fmt::format("{}: a setuid or setgid file", QuotePath(path)))
            .Hint("import the directory: a layer records the bit, and has it nowhere on disk"));
  }
  if (st.stx_uid != uid_ || st.stx_gid != gid_) {
    return Unexpected(
        Error(Errc::kInvalid,
              fmt::format("{}: it belongs to {}:{}, and a sandbox of yours maps {}:{} alone",
                          QuotePath(path), st.stx_uid, st.stx_gid, uid_, gid_))
            .Hint("import the directory: what a layer holds belongs to you"));
  }
  return {};
}

// By a path through /proc, which needs no descriptor of the file and so no right to read it.
Result<void> DirectoryScan::ReadXattrs(const std::string& proc_path, const std::string& path,
                                       ManifestBuilder::Data& data) {
  char small[1024];
  std::string large;
  char* names = small;
  ssize_t size = ::llistxattr(proc_path.c_str(), small, sizeof small);
  if (size == 0) return {};
  if (size < 0 && errno == ERANGE) {
    large.resize(65536);  // the kernel's limit
    names = large.data();
    size = ::llistxattr(proc_path.c_str(), names, large.size());
  }
  if (size < 0) {
    if (errno == ENOTSUP) return {};
    return FailSys(errno, "llistxattr", QuotePath(path));
  }
  for (const char* name = names; name < names + size; name += std::string_view(name).size() + 1) {
    std::string value;
    if (std::string_view(name) == "security.capability" ||
        std::string_view(name).starts_with("user.")) {
      value.resize(65536);
      ssize_t length = ::lgetxattr(proc_path.c_str(), name, value.data(), value.size());
      if (length < 0) {
        return FailSys(errno, fmt::format("lgetxattr {}", QuotePath(name)), QuotePath(path));
      }
      value.resize(static_cast<size_t>(length));
    }
    switch (JudgeXattr(name, value)) {
      case XattrVerdict::kKeep:
        data.xattrs.push_back({name, std::move(value)});
        break;
      case XattrVerdict::kDrop:
        warnings_.Add(
            fmt::format("{}: its attribute {} is no part of the layer", QuotePath(path), name));
        break;
      case XattrVerdict::kOverlay:
        return Fail(Errc::kHostile, "{}: the attribute {} is overlayfs's own", QuotePath(path),
                    QuotePath(name));
    }
  }
  return {};
}

// Into the manifest; the directories among them are the next level.
Result<void> DirectoryScan::TakeLevel(std::vector<Directory>* next) {
  for (Directory& directory : level_) {
    for (Entry& entry : directory.entries) {
      if (builder_.Find(directory.node, entry.name)) return Changed(directory.path);
      Node node = builder_.Add(directory.node, entry.name);
      ManifestBuilder::Data& data = builder_.At(node);
      data = std::move(entry.data);
      if (data.type == EntryType::kDirectory) {
        next->push_back({Join(directory.path, entry.name), node, {}});
      } else if (entry.several_names) {
        auto [known, fresh] = linked_.try_emplace(entry.identity, node);
        if (!fresh) data.hardlink_to = known->second;
      }
    }
  }
  return {};
}

Result<ScannedDirectory> DirectoryScan::Run() {
  STRATA_TRY(Prepare());
  level_.emplace_back();
  while (!level_.empty()) {
    STRATA_TRY(Each(level_.size(), [&](size_t i) { return List(level_[i]); }));
    std::vector<Piece> pieces;
    for (Directory& directory : level_) {
      for (size_t i = 0; i < directory.entries.size(); i += kPiece) {
        pieces.push_back({&directory, i, std::min(i + kPiece, directory.entries.size())});
      }
    }
    STRATA_TRY(Each(pieces.size(), [&](size_t i) { return LookAt(pieces[i]); }));
    std::vector<Directory> next;
    STRATA_TRY(TakeLevel(&next));
    level_ = std::move(next);
  }
  ScannedDirectory result;
  STRATA_ASSIGN(result.manifest, builder_.Finish());
  result.warnings = warnings_.Take();
  return result;
}

}  // namespace

bool IsMarkOfFile(const Digest& digest) {
  return std::memcmp(digest.bytes.data(), kMark, sizeof kMark) == 0;
}

Result<ScannedDirectory> ScanDirectory(const Store& store, int directory_fd) {
  return DirectoryScan(store, directory_fd).Run();
}

}  // namespace strata
