// SPDX-License-Identifier: Apache-2.0
//
// The walk: each directory is opened once, each entry looked at once, each file opened once.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/parallel.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "stager/capture_session.h"

namespace strata {
namespace {

// Hashing starts when this much has come together, and so at most kBatchDirs descriptors are open
// besides those of the path being walked.
constexpr size_t kBatchDirs = 128;
constexpr size_t kBatchFiles = 8192;
constexpr size_t kPathLimit = PATH_MAX - 1;

Result<std::vector<std::string>> ListDirectory(int fd, const std::string& path) {
  std::vector<std::string> names;
  std::vector<char> buffer(32 << 10);  // not on the stack: the walk is recursive
  for (;;) {
    ssize_t size = ::getdents64(fd, buffer.data(), buffer.size());
    if (size < 0) return FailSys(errno, "getdents64", path);
    if (size == 0) return names;
    for (ssize_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      std::string_view name(entry->d_name);
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
}

struct Opened {
  std::shared_ptr<UniqueFd> fd;
  bool widened = false;
};

// Its owner must be able to list, search and change it, whatever its mode says.
Result<Opened> OpenDirectory(int parent_fd, const char* name, const struct stat& st,
                             const std::string& path) {
  Opened opened;
  if ((st.st_mode & 0700) != 0700) {
    if (::fchmodat(parent_fd, name, 0700, 0) != 0) return FailSys(errno, "chmod", path);
    opened.widened = true;
  }
  int fd = OpenQuietly(parent_fd, name, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return FailSys(-fd, "open", path);
  opened.fd = std::make_shared<UniqueFd>(fd);
  if (!opened.widened && (st.st_mode & 06000) != 0 && ::fchmod(fd, st.st_mode & 01777) != 0) {
    return FailSys(errno, "chmod", path);
  }
  return opened;
}

bool IsWhiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

}  // namespace

Result<void> CaptureSession::Scan(int parent_fd, const char* name) {
  struct stat st;
  STRATA_TRY(sys::Check(sys::FstatAt(parent_fd, name, &st), "fstatat", name));
  STRATA_ASSIGN(Opened opened, OpenDirectory(parent_fd, name, st, "/"));
  Level level{ManifestBuilder::kRoot, opened.fd, lower_.Root(), false};
  entries_[ManifestBuilder::kRoot].changed = false;
  root_ = opened.fd;
  STRATA_TRY(ScanDirectory(level, st));
  STRATA_TRY(HashPending());
  return {};
}

Result<void> CaptureSession::ScanDirectory(Level& level, const struct stat& st) {
  const Node node = level.node;
  const int fd = level.dir->get();
  Data& data = builder_.At(node);
  STRATA_ASSIGN(Attributes found, TakeAttributes(fd, node));
  if (found.opaque) {
    if (!level.covered && level.below && node != ManifestBuilder::kRoot &&
        lower_.HasVisibleChildren(*level.below)) {
      data.flags |= kOpaque;
      level.covered = true;
    } else {
      found.strip.push_back("user.overlay.opaque");
    }
  }
  STRATA_TRY(StripAttributes(fd, node, found));
  STRATA_TRY(TakeFromOwner(fd, node));
  if (node != ManifestBuilder::kRoot) Settle(node);

  STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(fd, Describe(node)));
  const std::vector<std::string_view> left_out = LeftOutOf(node);
  const size_t path_size = builder_.Path(node).size();
  for (const std::string& name : names) {
    if (path_size + 1 + name.size() > kPathLimit) {
      return Fail(Errc::kInvalid, "{}: a path longer than {} bytes", Describe(node, name),
                  kPathLimit);
    }
    if (std::find(left_out.begin(), left_out.end(), name) != left_out.end()) {
      STRATA_TRY(Discard(level, name));
    } else {
      STRATA_TRY(ScanEntry(level, name));
    }
  }
  if (jobs_.size() > kBatchFiles || job_dirs_.size() > kBatchDirs) STRATA_TRY(HashPending());

  bool new_mtime = data.mtime_sec != st.st_mtim.tv_sec ||
                   data.mtime_nsec != static_cast<uint32_t>(st.st_mtim.tv_nsec);
  if ((level.touched || new_mtime) && node != ManifestBuilder::kRoot) {
    int rc = SetMtime(fd, data.mtime_sec, data.mtime_nsec);
    if (rc < 0) return FailSys(-rc, "utimensat", Describe(node));
  }
  return {};
}

Result<void> CaptureSession::ScanEntry(Level& level, const std::string& name) {
  struct stat st;
  int rc = sys::FstatAt(level.dir->get(), name.c_str(), &st);
  if (rc < 0) return FailSys(-rc, "fstatat", Describe(level.node, name));
  if (options_.progress != nullptr) ++options_.progress->entries;
  if (S_ISDIR(st.st_mode)) return ScanChildDirectory(level, name, st);
  if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISFIFO(st.st_mode)) {
    return ScanLeaf(level, name, st);
  }
  if (IsWhiteout(st) && source_ == CaptureSource::kUpper) {
    if (level.covered || !level.below || !lower_.Child(*level.below, name)) {
      return Discard(level, name);
    }
    Add(level, name, EntryType::kWhiteout, st);
    return {};
  }
  Warn(fmt::format("{} left out: {}", Describe(level.node, name),
                   S_ISSOCK(st.st_mode) ? "a socket" : "a device node"));
  return Discard(level, name);
}

Result<void> CaptureSession::ScanChildDirectory(Level& level, const std::string& name,
                                                const struct stat& st) {
  Node node = Add(level, name, EntryType::kDirectory, st);
  STRATA_ASSIGN(Opened opened, OpenDirectory(level.dir->get(), name.c_str(), st, Describe(node)));
  entries_[node].widened = opened.widened;
  Level child{node, opened.fd, {}, level.covered};
  if (entries_[node].lower) child.below = lower_.Child(*level.below, name);
  return ScanDirectory(child, st);
}

Result<void> CaptureSession::ScanLeaf(Level& level, const std::string& name,
                                      const struct stat& st) {
  const EntryType type = S_ISREG(st.st_mode)   ? EntryType::kFile
                         : S_ISLNK(st.st_mode) ? EntryType::kSymlink
                                               : EntryType::kFifo;
  Node node = Add(level, name, type, st);
  Data& data = builder_.At(node);
  if (st.st_nlink > 1) {
    entries_[node].linked = true;
    std::vector<Node>& names = linked_[st.st_ino];
    names.push_back(node);
    if (names.size() > 1) {
      data.hardlink_to = names.front();
      return {};
    }
  }
  const int dir_fd = level.dir->get();
  if (type == EntryType::kFile) {
    data.size = static_cast<uint64_t>(st.st_size);
    if (job_dirs_.empty() || job_dirs_.back() != level.dir) job_dirs_.push_back(level.dir);
    jobs_.push_back({node, dir_fd});
    return {};
  }
  if (type == EntryType::kSymlink) {
    data.target.resize(PATH_MAX);
    int64_t size = sys::ReadlinkAt(dir_fd, name.c_str(), data.target.data(), data.target.size());
    if (size < 0) return FailSys(static_cast<int>(-size), "readlinkat", Describe(node));
    data.target.resize(static_cast<size_t>(size));
    data.target.shrink_to_fit();
  } else if ((st.st_mode & 06000) != 0 &&
             ::fchmodat(dir_fd, name.c_str(), st.st_mode & 01777, 0) != 0) {
    return FailSys(errno, "chmod", Describe(node));
  }
  if (mapping_ != nullptr && (data.uid != 0 || data.gid != 0) &&
      ::fchownat(dir_fd, name.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailSys(errno, "chown", Describe(node));
  }
  if (entries_[node].linked) return {};
  Settle(node);
  if (entries_[node].changed && options_.mtime) {
    int rc = SetMtime(dir_fd, name.c_str(), data.mtime_sec, data.mtime_nsec);
    if (rc < 0) return FailSys(-rc, "utimensat", Describe(node));
  }
  return {};
}

Result<void> CaptureSession::Discard(Level& level, const std::string& name) {
  STRATA_TRY(RemoveTree(level.dir->get(), name));
  level.touched = true;
  ++dropped_;
  return {};
}

ManifestBuilder::Node CaptureSession::Add(const Level& level, const std::string& name,
                                          EntryType type, const struct stat& st) {
  Node node = builder_.Add(level.node, name);
  Entry& entry = entries_.emplace_back();
  entry.covered = level.covered;
  Data& data = builder_.At(node);
  data.type = type;
  if (type == EntryType::kWhiteout) return node;
  data.mode = type == EntryType::kSymlink ? 0777 : st.st_mode & 07777;
  if (mapping_ != nullptr) {
    data.uid = st.st_uid;
    data.gid = st.st_gid;
  }
  data.mtime_sec = st.st_mtim.tv_sec;
  data.mtime_nsec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  if (level.below) {
    std::optional<Merged> below = lower_.Child(*level.below, name);
    if (below && lower_.entry(below->top()).type == type) entry.lower = below->top();
  }
  return node;
}

std::vector<std::string_view> CaptureSession::LeftOutOf(Node directory) const {
  std::vector<std::string_view> names;
  if (options_.leave_out.empty()) return names;
  const std::string path = builder_.Path(directory);
  for (std::string_view left_out : options_.leave_out) {
    size_t slash = left_out.rfind('/');
    std::string_view parent =
        slash == std::string_view::npos ? std::string_view() : left_out.substr(0, slash);
    if (parent == path) names.push_back(left_out.substr(slash == left_out.npos ? 0 : slash + 1));
  }
  return names;
}

Result<void> CaptureSession::HashPending() {
  std::atomic<bool> failed{false};
  std::optional<Error> first_error;
  ParallelFor(jobs_.size(), options_.jobs, [&](size_t i) {
    if (failed.load(std::memory_order_relaxed)) return;
    Result<void> captured = CaptureFile(jobs_[i]);
    if (captured) return;
    std::lock_guard lock(mutex_);
    if (!failed.exchange(true)) first_error = std::move(captured).error();
  });
  jobs_.clear();
  job_dirs_.clear();
  if (first_error) return Unexpected(std::move(*first_error));
  return {};
}

}  // namespace strata
