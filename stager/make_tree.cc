// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "base/id_map.h"
#include "base/io.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/tree_writer.h"
#include "stager/copy_entry.h"
#include "stager/tree_plan.h"

namespace strata {
namespace {

// The directory that was used last, by a number of the caller's: one descriptor, however many
// directories there are.
class LastDirectory {
 public:
  template <typename Open>
  Result<int> Get(uint64_t key, const Open& open) {
    if (!fd_.valid() || key != key_) {
      fd_.reset();
      STRATA_ASSIGN(fd_, open());
      key_ = key;
    }
    return fd_.get();
  }

 private:
  uint64_t key_ = 0;
  UniqueFd fd_;
};

class TreeMaker {
 public:
  TreeMaker(const Store& store, const TreePlan& plan, int tree_fd, const MakeTreeOptions& options)
      : store_(store),
        plan_(plan),
        manifest_(plan.manifest),
        tree_fd_(tree_fd),
        options_(options),
        jobs_(DefaultJobs(options.jobs)) {}

  Result<void> Run() {
    STRATA_TRY(MakeDirectories());
    if (options_.place == PlaceFile::kLink) {
      STRATA_TRY(LinkAll());
      STRATA_TRY(AddRestOfGroups());
    } else {
      for (uint32_t i = 0; i < manifest_.size(); ++i) {
        if (HasOrigin(i)) to_copy_.push_back(i);
      }
    }
    STRATA_TRY(CopyAll());
    STRATA_TRY(FinishTree(tree_fd_, manifest_, jobs_));
    if (::fchmod(tree_fd_, 0755) != 0) return FailSys(errno, "fchmod", "root of the tree");
    timespec times[2] = {{0, UTIME_OMIT}, {kRootMtime, 0}};
    if (::futimens(tree_fd_, times) != 0) return FailSys(errno, "futimens", "root of the tree");
    return {};
  }

 private:
  // What one thread has open.
  struct Hands {
    LastDirectory from;
    LastDirectory to;
  };

  bool HasOrigin(uint32_t i) const { return plan_.origins[i].source != TreePlan::kNone; }
  const Manifest& OriginManifest(uint32_t i) const {
    return *plan_.sources[plan_.origins[i].source].manifest;
  }
  const ManifestEntry& OriginEntry(uint32_t i) const {
    return OriginManifest(i).entry(plan_.origins[i].entry);
  }
  struct Owner {
    uint32_t uid = 0;
    uint32_t gid = 0;
    bool is_root() const { return uid == 0 && gid == 0; }
  };
  Owner OwnerOf(uint32_t i) const {
    Owner owner;
    if (options_.owners == nullptr) return owner;
    const ManifestEntry& e = manifest_.entry(i);
    if (options_.owners->HasUid(e.uid)) owner.uid = e.uid;
    if (options_.owners->HasGid(e.gid)) owner.gid = e.gid;
    return owner;
  }
  // What has just been made is root's.
  Result<void> GiveOwner(int dir_fd, const std::string& name, uint32_t i) const {
    const Owner owner = OwnerOf(i);
    if (owner.is_root()) return {};
    if (::fchownat(dir_fd, name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) == 0) return {};
    return FailSys(errno, "chown", QuotePath(manifest_.Path(i)));
  }
  std::string Name(uint32_t i) const { return std::string(manifest_.name(manifest_.entry(i))); }

  Result<UniqueFd> OpenTarget(uint32_t directory) const {
    std::string path = directory == 0 ? "." : manifest_.Path(directory);
    return sys::CheckFd(sys::OpenAt(tree_fd_, path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW),
                        "open", QuotePath(path));
  }

  Result<UniqueFd> OpenOrigin(const PlanSource& source, uint32_t directory) const {
    std::string inside = source.manifest->Path(directory);
    std::string path = directory == 0 ? source.tree : source.tree + "/" + inside;
    int fd = sys::OpenAt(store_.fd(), path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd == -ENAMETOOLONG && directory != 0) {  // in two steps, each is short enough
      STRATA_ASSIGN(UniqueFd tree, OpenAt(store_.fd(), source.tree, O_PATH | O_DIRECTORY));
      fd = sys::OpenAt(tree.get(), inside.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    }
    return sys::CheckFd(fd, "open", QuotePath(path));
  }

  Result<int> FromDirectory(Hands& hands, uint32_t i) const {
    const TreePlan::Origin& origin = plan_.origins[i];
    const PlanSource& source = plan_.sources[origin.source];
    uint32_t directory = source.manifest->entry(origin.entry).parent;
    return hands.from.Get(uint64_t{origin.source} << 32 | directory,
                          [&] { return OpenOrigin(source, directory); });
  }
  Result<int> ToDirectory(Hands& hands, uint32_t i) const {
    uint32_t directory = manifest_.entry(i).parent;
    return hands.to.Get(directory, [&] { return OpenTarget(directory); });
  }

  // Runs `work(unit, hands)` for each unit, on several threads, until one fails.
  template <typename Work>
  Result<void> EachUnit(size_t count, const Work& work) {
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::optional<Error> error;
    RunOnEach(std::min<size_t>(jobs_, count), [&] {
      Hands hands;
      for (size_t unit; !failed.load() && (unit = next.fetch_add(1)) < count;) {
        Result<void> done = work(unit, hands);
        if (done) continue;
        std::lock_guard lock(mutex);
        if (!error) error = std::move(done).error();
        failed.store(true);
      }
    });
    if (error) return Unexpected(std::move(*error));
    return {};
  }

  void Count(uint64_t entries) {
    if (options_.progress != nullptr) options_.progress->entries += entries;
  }

  Result<void> MakeDirectories();
  Result<void> LinkAll();
  Result<void> LinkUnit(std::span<const uint32_t> entries, Hands& hands);
  Result<void> AddRestOfGroups();
  Result<void> CopyAll();
  Result<void> CopyGroup(const uint32_t* first, const uint32_t* last, Hands& hands);
  uint64_t GroupOf(uint32_t i) const;

  const Store& store_;
  const TreePlan& plan_;
  const Manifest& manifest_;
  const int tree_fd_;
  const MakeTreeOptions& options_;
  const unsigned jobs_;
  std::mutex mutex_;
  std::vector<uint32_t> to_copy_;  // entries; while links are made, guarded by mutex_
};

// Breadth-first, as the entries stand: each parent is there before its children, and is opened
// once. 0700 until FinishTree: nobody else looks inside, and we can.
Result<void> TreeMaker::MakeDirectories() {
  LastDirectory parent;
  for (uint32_t i = 1; i < manifest_.size(); ++i) {
    const ManifestEntry& e = manifest_.entry(i);
    if (!e.is_directory()) continue;
    STRATA_ASSIGN(int fd, parent.Get(e.parent, [&] { return OpenTarget(e.parent); }));
    int rc = sys::MkdirAt(fd, Name(i).c_str(), 0700);
    if (rc < 0) return FailSys(-rc, "mkdir", QuotePath(manifest_.Path(i)));
    STRATA_TRY(GiveOwner(fd, Name(i), i));
    Count(1);
  }
  return {};
}

// In the order of the sources, so that inodes that lie near each other are changed together: their
// block of the inode table goes into the journal once. But the kernel locks a directory for each
// link that is made in it, so neighbours in that order are regrouped by directory, and threads that
// take one unit after the other are mostly in different ones.
Result<void> TreeMaker::LinkAll() {
  constexpr size_t kNear = 1024;
  constexpr size_t kLeast = 64;
  std::vector<uint32_t> entries;
  for (uint32_t i = 0; i < manifest_.size(); ++i) {
    if (HasOrigin(i)) entries.push_back(i);
  }
  auto origin = [&](uint32_t i) {
    return std::pair(plan_.origins[i].source, plan_.origins[i].entry);
  };
  auto parent = [&](uint32_t i) { return manifest_.entry(i).parent; };
  std::sort(entries.begin(), entries.end(),
            [&](uint32_t a, uint32_t b) { return origin(a) < origin(b); });
  std::vector<size_t> starts;
  for (size_t near = 0; near < entries.size(); near += kNear) {
    size_t end = std::min(near + kNear, entries.size());
    std::stable_sort(entries.begin() + static_cast<ptrdiff_t>(near),
                     entries.begin() + static_cast<ptrdiff_t>(end),
                     [&](uint32_t a, uint32_t b) { return parent(a) < parent(b); });
    for (size_t k = near; k < end; ++k) {
      bool other = k == near || parent(entries[k]) != parent(entries[k - 1]);
      if (k == near || (other && k - starts.back() >= kLeast)) starts.push_back(k);
    }
  }
  starts.push_back(entries.size());
  return EachUnit(starts.size() - 1, [&](size_t unit, Hands& hands) {
    return LinkUnit({entries.data() + starts[unit], starts[unit + 1] - starts[unit]}, hands);
  });
}

Result<void> TreeMaker::LinkUnit(std::span<const uint32_t> entries, Hands& hands) {
  auto copy_later = [&](uint32_t i) {
    std::lock_guard lock(mutex_);
    to_copy_.push_back(i);
  };
  for (uint32_t i : entries) {
    if (!OwnerOf(i).is_root()) {
      copy_later(i);
      continue;
    }
    STRATA_ASSIGN(int from, FromDirectory(hands, i));
    STRATA_ASSIGN(int to, ToDirectory(hands, i));
    const Manifest& origin = OriginManifest(i);
    const std::string old_name(origin.name(OriginEntry(i)));
    int rc = sys::LinkAt(from, old_name.c_str(), to, Name(i).c_str());
    if (rc == -EMLINK || rc == -EXDEV || rc == -EPERM) {
      // Too many links (ext4: 65,000); a directory of another file system; a file of another owner,
      // which fs.protected_hardlinks guards, or a file system without links.
      copy_later(i);
      continue;
    }
    if (rc < 0) return FailSys(-rc, "link", QuotePath(manifest_.Path(i)));
  }
  Count(entries.size());
  return {};
}

// Entries with the same number are one file on disk. With links, all that come from one file are.
uint64_t TreeMaker::GroupOf(uint32_t i) const {
  if (options_.place == PlaceFile::kLink) {
    const TreePlan::Origin& origin = plan_.origins[i];
    uint32_t first = OriginEntry(i).hardlink;
    return uint64_t{origin.source} << 32 | (first == kNoEntry ? origin.entry : first);
  }
  uint32_t first = manifest_.entry(i).hardlink;
  return first == kNoEntry ? i : first;
}

// Where one file of a hardlink group could not be linked, the others must be links to its copy.
Result<void> TreeMaker::AddRestOfGroups() {
  std::vector<uint32_t> groups;  // that are to be copied, by their first entry in our manifest
  for (uint32_t i : to_copy_) {
    if (manifest_.entry(i).hardlink != kNoEntry) groups.push_back(manifest_.entry(i).hardlink);
  }
  if (groups.empty()) return {};
  std::sort(groups.begin(), groups.end());
  std::sort(to_copy_.begin(), to_copy_.end());
  std::vector<uint32_t> more;
  for (uint32_t i = 0; i < manifest_.size(); ++i) {
    uint32_t group = manifest_.entry(i).hardlink;
    if (group == kNoEntry || !std::binary_search(groups.begin(), groups.end(), group) ||
        std::binary_search(to_copy_.begin(), to_copy_.end(), i)) {
      continue;
    }
    std::string path = manifest_.Path(i);
    STRATA_TRY(sys::Check(sys::UnlinkAt(tree_fd_, path.c_str()), "unlink", QuotePath(path)));
    more.push_back(i);
  }
  to_copy_.insert(to_copy_.end(), more.begin(), more.end());
  return {};
}

Result<void> TreeMaker::CopyAll() {
  std::sort(to_copy_.begin(), to_copy_.end(), [&](uint32_t a, uint32_t b) {
    return std::tuple(plan_.origins[a].source, GroupOf(a), a) <
           std::tuple(plan_.origins[b].source, GroupOf(b), b);
  });
  // A unit is some whole groups: enough to be worth the lock, few enough to share the work.
  constexpr size_t kUnit = 32;
  std::vector<size_t> starts;
  for (size_t k = 0; k < to_copy_.size(); ++k) {
    bool new_group = k == 0 || GroupOf(to_copy_[k]) != GroupOf(to_copy_[k - 1]);
    if (new_group && (starts.empty() || k - starts.back() >= kUnit)) starts.push_back(k);
  }
  starts.push_back(to_copy_.size());
  return EachUnit(starts.size() - 1, [&](size_t unit, Hands& hands) -> Result<void> {
    for (size_t k = starts[unit]; k < starts[unit + 1];) {
      size_t end = k + 1;
      while (end < starts[unit + 1] && GroupOf(to_copy_[end]) == GroupOf(to_copy_[k])) ++end;
      STRATA_TRY(CopyGroup(to_copy_.data() + k, to_copy_.data() + end, hands));
      k = end;
    }
    return {};
  });
}

// The first is a copy, the others are links to it; where it has too many, the next is a copy again.
Result<void> TreeMaker::CopyGroup(const uint32_t* first, const uint32_t* last, Hands& hands) {
  const uint32_t* copied = nullptr;
  for (const uint32_t* i = first; i != last; ++i) {
    STRATA_ASSIGN(int to, ToDirectory(hands, *i));
    const std::string name = Name(*i);
    const std::string path = manifest_.Path(*i);
    if (copied != nullptr) {
      int rc = sys::LinkAt(tree_fd_, manifest_.Path(*copied).c_str(), to, name.c_str());
      if (rc == 0) continue;
      if (rc != -EMLINK) return FailSys(-rc, "link", QuotePath(path));
    }
    STRATA_ASSIGN(int from, FromDirectory(hands, *i));
    const Manifest& origin = OriginManifest(*i);
    const std::string old_name(origin.name(OriginEntry(*i)));
    CopyContent how =
        options_.place == PlaceFile::kReflink ? CopyContent::kReflink : CopyContent::kBytes;
    STRATA_TRY(CopyEntry(origin, plan_.origins[*i].entry, {from, old_name.c_str()},
                         {to, name.c_str()}, how, QuotePath(path)));
    STRATA_TRY(GiveOwner(to, name, *i));
    copied = i;
  }
  if (options_.place != PlaceFile::kLink) Count(static_cast<uint64_t>(last - first));
  return {};
}

// Whether a file is below a directory that its owner may not go through, or is to be read and may
// not.
bool ModesAreInTheWay(const TreePlan& plan, PlaceFile place) {
  for (const TreePlan::Origin& origin : plan.origins) {
    if (origin.source == TreePlan::kNone) continue;
    const Manifest& manifest = *plan.sources[origin.source].manifest;
    const ManifestEntry& e = manifest.entry(origin.entry);
    if (place != PlaceFile::kLink && e.type == EntryType::kFile && (e.mode & S_IRUSR) == 0) {
      return true;
    }
    for (uint32_t at = e.parent; at != 0; at = manifest.entry(at).parent) {
      if ((manifest.entry(at).mode & S_IXUSR) == 0) return true;
    }
  }
  return false;
}

std::string TreePath(const std::string& name) {
  return "derived/" + name + "/tree";
}

}  // namespace

Result<void> MakeTree(const Store& store, const TreePlan& plan, int tree_fd,
                      const MakeTreeOptions& options) {
  if (plan.origins.size() != plan.manifest.size()) {
    return Fail(Errc::kInvalid, "a plan of {} entries with {} origins", plan.manifest.size(),
                plan.origins.size());
  }
  auto make = [&] { return TreeMaker(store, plan, tree_fd, options).Run(); };
  if (::geteuid() == 0 || !ModesAreInTheWay(plan, options.place)) return make();
  STRATA_TRY(RunInMapping(SingleId(), make));
  if (options.progress != nullptr) options.progress->entries += plan.manifest.size() - 1;
  return {};
}

Result<std::optional<DerivedLayer>> FindDerived(const Store& store, const std::string& name) {
  auto lock =
      FileLock::OnDirectory(store.fd(), TreePath(name), LockMode::kShared, LockWait::kBlock);
  if (!lock) {
    if (lock.error().sys_errno() == ENOENT) return std::optional<DerivedLayer>();
    return Unexpected(std::move(lock).error());
  }
  return DerivedLayer{TreePath(name), std::move(*lock), true};
}

Result<DerivedLayer> PublishTree(const Store& store, const TreePlan& plan, const std::string& name,
                                 const MakeTreeOptions& options, const Providers* providers) {
  for (;;) {
    STRATA_ASSIGN(std::optional<DerivedLayer> found, FindDerived(store, name));
    if (found) return std::move(*found);
    STRATA_ASSIGN(PendingLayer pending, store.NewLayer());
    STRATA_TRY_WITH(MakeTree(store, plan, pending.tree_fd(), options),
                    fmt::format("make {}", name));
    if (providers != nullptr) {
      STRATA_ASSIGN(UniqueFd file,
                    OpenAt(pending.dir_fd(), kProvidersFile, O_WRONLY | O_CREAT | O_EXCL, 0644));
      STRATA_TRY(WriteAll(file.get(), EncodeProviders(*providers), kProvidersFile));
    }
    struct stat made;
    if (::fstat(pending.tree_fd(), &made) != 0) return FailSys(errno, "fstat", name);
    std::span<const uint8_t> bytes = plan.manifest.bytes();
    STRATA_TRY(store.PublishDerived(std::move(pending), {bytes.begin(), bytes.end()}, name));
    STRATA_ASSIGN(found, FindDerived(store, name));
    if (!found) continue;  // collected before we had the lease: nobody needed it yet
    struct stat named;
    if (::fstat(found->lease.fd(), &named) != 0) return FailSys(errno, "fstat", name);
    found->existed = named.st_ino != made.st_ino;  // another was faster
    return std::move(*found);
  }
}

}  // namespace strata
