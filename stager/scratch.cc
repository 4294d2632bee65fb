// SPDX-License-Identifier: Apache-2.0
#include "stager/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id_map.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/manifest.h"

namespace strata {
namespace {

constexpr mode_t kInUse = 0700;
constexpr mode_t kClean = 01700;  // the sticky bit means nothing here; and its owner can remove it
// More than that of what earlier runs left, and it goes before anything else.
constexpr size_t kMostOldWorks = 32;
constexpr int kMostScratches = 100000;

// Calls `visit` with each name but . and .. until it returns false. False then, and when the directory
// cannot be read.
template <typename Visit>
bool ForEachName(int fd, const Visit& visit) {
  alignas(dirent64) char buffer[4096];
  for (;;) {
    int64_t size = sys::GetDents(fd, buffer, sizeof buffer);
    if (size <= 0) return size == 0;
    for (int64_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      std::string_view name(entry->d_name);
      if (name != "." && name != ".." && !visit(name)) return false;
      at += entry->d_reclen;
    }
  }
}

bool IsEmpty(int fd) noexcept {
  return ForEachName(fd, [](std::string_view) { return false; });
}

timespec ChangeTime(int fd) noexcept {
  struct stat st;
  return sys::FstatAt(fd, "upper", &st) == 0 ? st.st_ctim : timespec{};
}

// As it was when taken: nothing in it, and nobody has changed the root's mode, time or attributes;
// nor, as the time of the last change tells, an inode flag (chattr +S), which whatever is made
// there later inherits.
bool IsUntouched(int fd, const timespec& changed) noexcept {
  int upper = sys::OpenAt(fd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (upper < 0) return false;
  struct stat st;
  bool untouched = ::fstat(upper, &st) == 0 && (st.st_mode & 07777) == 0755 &&
                   st.st_ctim.tv_sec == changed.tv_sec && st.st_ctim.tv_nsec == changed.tv_nsec &&
                   st.st_mtim.tv_sec == kRootMtime && st.st_mtim.tv_nsec == 0 &&
                   ::flistxattr(upper, nullptr, 0) == 0 && IsEmpty(upper);
  ::close(upper);
  return untouched;
}

// What earlier runs left in a work directory, by name.
std::vector<std::string> OldWorks(int work_fd) {
  std::vector<std::string> names;
  ForEachName(work_fd, [&](std::string_view name) {
    if (name != "work") names.emplace_back(name);
    return true;
  });
  return names;
}

// What a volatile mount leaves: nested directories. False when stopped, or when there
// is more in it than that; then it stays for later.
bool RemoveOldWork(int work_fd, const std::string& name, const std::function<bool()>& stop) {
  const std::string incompat = name + "/incompat";
  const std::string mark = incompat + "/volatile";
  sys::UnlinkAt(work_fd, (mark + "/dirty").c_str());
  for (const std::string& path : {mark, incompat, name}) {
    if (stop()) return false;
    int rc = sys::UnlinkAt(work_fd, path.c_str(), AT_REMOVEDIR);
    if (rc < 0 && rc != -ENOENT) return static_cast<bool>(RemoveTree(work_fd, name));
  }
  return true;
}

}  // namespace

Result<void> MakeUpperAndWork(int dir_fd) {
  int rc = sys::MkdirAt(dir_fd, "work", 0755);
  if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mkdir", "work");
  STRATA_TRY(sys::Check(sys::MkdirAt(dir_fd, "upper", 0755), "mkdir", "upper"));
  // overlayfs shows the upper's own metadata for /.
  timespec times[2] = {{kRootMtime, 0}, {kRootMtime, 0}};
  if (::fchmodat(dir_fd, "upper", 0755, 0) != 0 || ::utimensat(dir_fd, "upper", times, 0) != 0) {
    return FailSys(errno, "utimensat", "upper");
  }
  return {};
}

std::vector<std::string> ScratchElsewhere() {
  std::vector<std::string> directories;
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
    const char* directory = std::getenv(variable);
    if (directory != nullptr && *directory == '/') directories.emplace_back(directory);
  }
  return directories;
}

Result<Scratch> Scratch::Take(int store_fd) {
  Scratch scratch;
  scratch.store_fd_ = store_fd;
  for (int number = 0; number < kMostScratches; ++number) {
    scratch.path_ = "stages/" + std::to_string(number);
    auto lock =
        FileLock::OnDirectory(store_fd, scratch.path_, LockMode::kExclusive, LockWait::kFail);
    if (!lock && lock.error().code() == Errc::kBusy) continue;
    if (!lock && lock.error().sys_errno() == ENOENT) {
      int rc = sys::MkdirAt(store_fd, scratch.path_.c_str(), kInUse);
      if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mkdir", scratch.path_);
      lock = FileLock::OnDirectory(store_fd, scratch.path_, LockMode::kExclusive, LockWait::kFail);
      if (!lock) continue;  // somebody else was faster
    }
    if (!lock) return Unexpected(std::move(lock).error());
    scratch.lock_ = std::move(*lock);
    struct stat st;
    if (::fstat(scratch.fd(), &st) != 0) return FailSys(errno, "fstat", scratch.path_);
    if ((st.st_mode & 07777) == kClean) {
      if (::fchmod(scratch.fd(), kInUse) != 0) return FailSys(errno, "fchmod", scratch.path_);
      scratch.changed_ = ChangeTime(scratch.fd());
      return scratch;
    }
    if (!IsEmpty(scratch.fd())) {  // a leftover
      STRATA_TRY(RemoveTree(store_fd, scratch.path_));
      --number;
      continue;
    }
    STRATA_TRY(MakeUpperAndWork(scratch.fd()));
    scratch.changed_ = ChangeTime(scratch.fd());
    return scratch;
  }
  return Fail(Errc::kBusy, "more than {} stages at once", kMostScratches);
}

Scratch::Scratch(Scratch&& other) noexcept
    : store_fd_(std::exchange(other.store_fd_, -1)),
      path_(std::move(other.path_)),
      lock_(std::move(other.lock_)),
      changed_(other.changed_),
      reusable_(other.reusable_) {}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
  std::swap(store_fd_, other.store_fd_);
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  std::swap(changed_, other.changed_);
  std::swap(reusable_, other.reusable_);
  return *this;
}

Scratch::~Scratch() {
  if (!valid() || store_fd_ < 0) return;
  // What cannot be removed now is left unlocked, for the next owner.
  if (!LeaveClean()) static_cast<void>(RemoveTree(store_fd_, path_));
}

void Scratch::SweepUp(const std::function<bool()>& stop) {
  UniqueFd work(sys::OpenAt(fd(), "work", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (!work.valid()) return;
  std::vector<std::string> old_works = OldWorks(work.get());
  bool too_many = old_works.size() > kMostOldWorks;
  for (const std::string& name : old_works) {
    if (!RemoveOldWork(work.get(), name, [&] { return !too_many && stop(); })) return;
  }
}

bool Scratch::LeaveClean() {
  if (!reusable_ || !IsUntouched(fd(), changed_)) return false;
  // Within one directory: a rename needs no rights on what is renamed, which has mode 0000.
  const std::string old_work = "work/" + RandomName();
  int rc = sys::RenameAt2(fd(), "work/work", fd(), old_work.c_str());
  if (rc < 0 && rc != -ENOENT) return false;
  if (rc == 0 && (::geteuid() != 0 || !IsInFirstUserNamespace())) {
    // So that its owner can remove it, with `rm -r` on the store for instance.
    for (const char* part : {"", "/incompat", "/incompat/volatile"}) {
      static_cast<void>(::fchmodat(fd(), (old_work + part).c_str(), 0700, 0) == 0);
    }
  }
  return ::fchmod(fd(), kClean) == 0;
}

Result<std::string> Scratch::MakeDirectory(const std::string& name) {
  reusable_ = false;
  int rc = sys::MkdirAt(fd(), name.c_str(), 0755);
  if (rc < 0) return FailSys(-rc, "mkdir", fmt::format("{}/{}", path_, name));
  // Whatever the caller's umask is.
  if (::fchmodat(fd(), name.c_str(), 0755, 0) != 0) return FailSys(errno, "chmod", name);
  return fmt::format("{}/{}", path_, name);
}

void Scratch::Release() {
  store_fd_ = -1;
  lock_ = FileLock();
}

}  // namespace strata
