// SPDX-License-Identifier: Apache-2.0
#include "cache/durable.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <set>

#include "base/io.h"
#include "base/path.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "cache/roots.h"
#include "cache/verify.h"

namespace strata {
namespace {

constexpr char kBootIdPath[] = "/proc/sys/kernel/random/boot_id";
constexpr char kBootLink[] = "boot";
constexpr mode_t kMark = S_ISVTX;
constexpr time_t kMarkAfter = 60;
// Dirty pages of the whole machine that a sync may find: what a disk writes in some 10 ms.
constexpr uint64_t kCheapKiB = 16 << 10;

// 36 characters. Nothing where /proc is hidden: then nothing tells one boot from another.
Result<std::string> BootId() {
  UniqueFd fd(sys::OpenAt(AT_FDCWD, kBootIdPath, O_RDONLY));
  char text[64];
  int64_t size = fd.valid() ? sys::Read(fd.get(), text, sizeof text) : fd.get();
  if (size < 0) return FailSys(static_cast<int>(-size), "read", kBootIdPath);
  std::string_view id(text, static_cast<size_t>(size));
  return std::string(id.substr(0, id.find('\n')));
}

std::string SettledBoot(int root_fd) {
  char target[128];
  int64_t size = sys::ReadlinkAt(root_fd, kBootLink, target, sizeof target);
  return std::string(target, size > 0 ? static_cast<size_t>(size) : 0);
}

// A link's target is written with its inode: it is there as a whole, or not at all.
Result<void> WriteSettledBoot(int root_fd, const std::string& boot) {
  std::string temporary = fmt::format("tmp/boot-{}", RandomName());
  STRATA_TRY(
      sys::Check(sys::SymlinkAt(boot.c_str(), root_fd, temporary.c_str()), "symlink", temporary));
  int rc = sys::RenameAt2(root_fd, temporary.c_str(), root_fd, kBootLink);
  if (rc >= 0) return {};
  sys::UnlinkAt(root_fd, temporary.c_str());
  return FailSys(-rc, "rename", kBootLink);
}

struct Entry {
  std::string path;  // "layers/ID"
  ino_t inode = 0;
  bool marked = false;
};

Result<std::vector<Entry>> ListEntries(const Store& store, const std::string& place) {
  std::vector<Entry> entries;
  int fd = sys::OpenAt(store.fd(), place.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) return entries;
  STRATA_ASSIGN(UniqueFd owner, sys::CheckFd(fd, "open", place));
  DIR* dir = ::fdopendir(owner.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", place);
  static_cast<void>(owner.release());
  while (const dirent* entry = ::readdir(dir)) {
    struct stat st;
    if (entry->d_name[0] == '.' || sys::FstatAt(::dirfd(dir), entry->d_name, &st) < 0) continue;
    entries.push_back({place + "/" + entry->d_name, st.st_ino, (st.st_mode & kMark) != 0});
  }
  ::closedir(dir);
  return entries;
}

Result<void> Move(const Store& store, const std::string& from, const std::string& to) {
  int rc = sys::RenameAt2(store.fd(), from.c_str(), store.fd(), to.c_str());
  if (rc < 0 && rc != -ENOENT) return FailSys(-rc, "rename", from);
  return {};
}

Result<void> MoveToTrash(const Store& store, const std::string& path) {
  STRATA_TRY(store.OpenDir("trash"));
  return Move(store, path, "trash/" + RandomName());
}

// Where another of that name was put aside before, the newer one takes its place.
Result<void> MoveAside(const Store& store, const std::string& from, const std::string& to) {
  struct stat st;
  if (sys::FstatAt(store.fd(), to.c_str(), &st) == 0) STRATA_TRY(MoveToTrash(store, to));
  return Move(store, from, to);
}

bool MountsAny(const RootContent& content, const std::set<std::string>& gone) {
  return std::any_of(content.lowers.begin(), content.lowers.end(), [&](const std::string& lower) {
    size_t end = lower.rfind("/tree");
    return end != std::string::npos && gone.count(lower.substr(0, end)) != 0;
  });
}

// Those without a mark, and those that mount what was taken away.
Result<void> DropRoots(const Store& store, const std::set<std::string>& gone) {
  STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(store));
  for (const RootKey& key : keys) {
    if (IsMarked(store, "roots/" + key.Hex())) {
      if (gone.empty()) continue;
      auto root = OpenRoot(store, key);
      if (root && !MountsAny(root->content, gone)) continue;
    }
    auto removed = RemoveRoot(store, key);
    // One that is leased belongs to a machine that shares this store and did not go down.
    if (!removed && removed.error().sys_errno() != 0) return removed;
  }
  return {};
}

Result<void> TakeUnmarkedAside(const Store& store) {
  std::set<std::string> gone;
  STRATA_ASSIGN(std::vector<Entry> layers, ListEntries(store, "layers"));
  STRATA_ASSIGN(std::vector<Entry> derived, ListEntries(store, "derived"));
  std::erase_if(layers, [](const Entry& entry) { return entry.marked; });
  std::erase_if(derived, [](const Entry& entry) { return entry.marked; });
  for (const Entry& entry : layers) gone.insert(entry.path);
  for (const Entry& entry : derived) gone.insert(entry.path);
  // First who mounts, then what is mounted: who is killed in between leaves no root without a
  // layer.
  STRATA_TRY(DropRoots(store, gone));
  for (const Entry& entry : derived) STRATA_TRY(MoveToTrash(store, entry.path));
  if (layers.empty()) return {};
  STRATA_TRY(store.OpenDir("unverified"));
  for (const Entry& entry : layers) {
    STRATA_TRY(
        MoveAside(store, entry.path, "unverified" + entry.path.substr(entry.path.find('/'))));
  }
  return {};
}

// Not when it was published anew meanwhile.
void Mark(const Store& store, const Entry& entry, mode_t mode) {
  struct stat st;
  if (sys::FstatAt(store.fd(), entry.path.c_str(), &st) < 0 || st.st_ino != entry.inode) return;
  static_cast<void>(::fchmodat(store.fd(), entry.path.c_str(), mode | kMark, 0) == 0);
}

uint64_t DirtyKiB() {
  auto text = ReadFile(AT_FDCWD, "/proc/meminfo", 64 << 10);
  if (!text) return UINT64_MAX;
  uint64_t sum = 0;
  for (std::string_view name : {"\nDirty:", "\nWriteback:"}) {
    size_t at = text->find(name);
    if (at == std::string::npos) return UINT64_MAX;
    at = text->find_first_not_of(' ', at + name.size());
    if (at == std::string::npos) return UINT64_MAX;
    uint64_t value = 0;
    std::from_chars(text->data() + at, text->data() + text->size(), value);
    sum += value;
  }
  return sum;
}

bool IsBefore(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

std::string FirstDamages(const std::vector<TreeDamage>& damages) {
  std::string text;
  for (size_t i = 0; i < damages.size() && i < 3; ++i) {
    if (i > 0) text += "; ";
    text += fmt::format("/{} {}", QuotePath(damages[i].path), damages[i].problem);
  }
  if (damages.size() > 3) text += "; ...";
  return text;
}

// "base, gcc:12"; empty where the layer has no name.
std::string NamesOf(const Store& store, const LayerId& id) {
  std::string names;
  auto refs = store.ListRefs();
  if (!refs) return names;
  for (const Store::Ref& ref : *refs) {
    if (ref.target == id) names += (names.empty() ? "" : ", ") + ref.name;
  }
  return names;
}

Error DamagedLayer(const Store& store, const LayerId& id, std::string_view why) {
  std::string names = NamesOf(store, id);
  return Error(Errc::kCorrupt, fmt::format("layer {:.12}{} is damaged{}", id.Hex(),
                                           names.empty() ? "" : " (" + names + ")", why))
      .Hint(fmt::format("import or make it again; what is left of it is in {}/{}", store.path(),
                        LayerPathIn("damaged", id)));
}

}  // namespace

std::string LayerPathIn(std::string_view place, const LayerId& id) {
  return fmt::format("{}/{}", place, id.Hex());
}

bool IsMarked(const Store& store, const std::string& path) {
  struct stat st;
  return sys::FstatAt(store.fd(), path.c_str(), &st) == 0 && (st.st_mode & kMark) != 0;
}

Result<bool> IsSettled(int root_fd) {
  STRATA_ASSIGN(std::string boot, BootId());
  return SettledBoot(root_fd) == boot;
}

Result<void> SettleNew(int root_fd) {
  STRATA_ASSIGN(std::string boot, BootId());
  return WriteSettledBoot(root_fd, boot);
}

Result<void> SettleAfterBoot(const Store& store) {
  STRATA_ASSIGN(std::string boot, BootId());
  STRATA_ASSIGN(FileLock lock, FileLock::OnDirectory(store.fd(), "layers", LockMode::kExclusive,
                                                     LockWait::kBlock));
  if (SettledBoot(store.fd()) == boot) return {};  // another process was faster
  STRATA_TRY(TakeUnmarkedAside(store));
  return WriteSettledBoot(store.fd(), boot);
}

Result<void> MarkDurable(const Store& store) {
  timespec begin;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &begin);  // the clock of the files' times
  // Roots are listed first and marked last: a marked one mounts marked layers.
  STRATA_ASSIGN(std::vector<Entry> roots, ListEntries(store, "roots"));
  STRATA_ASSIGN(std::vector<Entry> derived, ListEntries(store, "derived"));
  STRATA_ASSIGN(std::vector<Entry> layers, ListEntries(store, "layers"));
  STRATA_TRY(sys::Check(sys::SyncFs(store.fd()), "syncfs", store.path()));
  for (const Entry& entry : layers) {
    if (!entry.marked) Mark(store, entry, 0700);
  }
  for (const Entry& entry : derived) {
    if (!entry.marked) Mark(store, entry, 0700);
  }
  for (const Entry& entry : roots) {
    if (!entry.marked) Mark(store, entry, 0600);
  }
  timespec times[2] = {begin, begin};
  static_cast<void>(::utimensat(store.fd(), kBootLink, times, AT_SYMLINK_NOFOLLOW));
  return {};
}

void MarkDurableIfCheap(const Store& store) {
  struct stat last;
  if (sys::FstatAt(store.fd(), kBootLink, &last) < 0) return;
  time_t age = ::time(nullptr) - last.st_mtime;
  if (age >= 0 && age < kMarkAfter) return;  // a time in the future is of a clock that was put back
  bool published = false;
  for (const char* place : {"layers", "derived", "roots"}) {
    struct stat st;
    if (sys::FstatAt(store.fd(), place, &st) < 0) continue;
    published = published || age < 0 || !IsBefore(st.st_mtim, last.st_mtim);
  }
  if (!published || DirtyKiB() > kCheapKiB) return;
  static_cast<void>(MarkDurable(store));  // without the mark it is verified some day
}

Result<void> RecoverLayer(const Store& store, const LayerId& id) {
  const std::string path = LayerPathIn("unverified", id);
  auto lock = FileLock::OnDirectory(store.fd(), path, LockMode::kExclusive, LockWait::kBlock);
  if (!lock && lock.error().sys_errno() == ENOENT) return {};  // or another has done it meanwhile
  if (!lock) return Unexpected(std::move(lock).error());
  VerifyOptions options;
  options.widen = Widen::kForReading;  // it is nobody else's while it is here
  STRATA_ASSIGN_WITH(std::vector<TreeDamage> damages, VerifyTree(store.fd(), path, id, options),
                     fmt::format("verify layer {:.12}, which was not on the disk for sure when the "
                                 "machine went down",
                                 id.Hex()));
  if (!damages.empty()) {
    STRATA_TRY(store.OpenDir("damaged"));
    STRATA_TRY(MoveAside(store, path, LayerPathIn("damaged", id)));
    return Unexpected(
        DamagedLayer(store, id, " since the machine went down: " + FirstDamages(damages)));
  }
  // It was read from the disk: it is there. (Were it still dirty from this boot, it would not be
  // here.)
  if (::fchmod(lock->fd(), 0700 | kMark) != 0) return FailSys(errno, "fchmod", path);
  int rc = sys::RenameAt2(store.fd(), path.c_str(), store.fd(), LayerPathIn("layers", id).c_str());
  if (rc == -EEXIST || rc == -ENOTEMPTY)
    return MoveToTrash(store, path);  // imported again meanwhile
  if (rc < 0) return FailSys(-rc, "rename", path);
  return {};
}

Error NoLayer(const Store& store, const LayerId& id) {
  struct stat st;
  if (sys::FstatAt(store.fd(), LayerPathIn("layers", id).c_str(), &st) == 0) {
    std::string names = NamesOf(store, id);
    return Error(Errc::kCorrupt, fmt::format("layer {:.12}{} is damaged: a part of it is missing",
                                             id.Hex(), names.empty() ? "" : " (" + names + ")"))
        .Hint(fmt::format("`strata fsck {:.12}` says what; importing the same again makes it "
                          "whole",
                          id.Hex()));
  }
  if (sys::FstatAt(store.fd(), LayerPathIn("damaged", id).c_str(), &st) == 0) {
    return DamagedLayer(store, id, " and was put aside");
  }
  Error error(Errc::kNotFound, fmt::format("no layer {}", id.Hex()));
  std::string names = NamesOf(store, id);
  if (names.empty()) return error;
  return std::move(error).Hint(fmt::format(
      "it was {}, and somebody removed it: import it again, or see `strata fsck`", names));
}

Result<bool> DropAside(const Store& store, const LayerId& id) {
  bool any = false;
  for (const char* place : {"unverified", "damaged"}) {
    std::string path = LayerPathIn(place, id);
    // Whoever verifies it must not take what goes for damage.
    auto lock = FileLock::OnDirectory(store.fd(), path, LockMode::kExclusive, LockWait::kBlock);
    if (!lock && lock.error().sys_errno() == ENOENT) continue;
    if (!lock) return Unexpected(std::move(lock).error());
    std::string trash = "trash/" + RandomName();
    STRATA_TRY(Move(store, path, trash));
    STRATA_TRY(RemoveTree(store.fd(), trash));
    any = true;
  }
  return any;
}

}  // namespace strata
