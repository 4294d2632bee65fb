// SPDX-License-Identifier: Apache-2.0
#include "cache/gc.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/durable.h"
#include "cache/gc_plan.h"
#include "cache/list_directory.h"
#include "cache/replace_layer.h"
#include "cache/store_config.h"
#include "cache/usage.h"

namespace strata {
namespace {

// Locks held at once: each is a descriptor, and the names are read once for all of them.
constexpr size_t kBatch = 256;
constexpr int64_t kLookEvery = 600;
constexpr char kStampFile[] = "gc-stamp";

class Collector {
 public:
  Collector(const Store& store, const GcOptions& options) : store_(store), options_(options) {}

  Result<GcReport> Run();

 private:
  Result<GcPlan> MakePlan();
  struct Candidate {
    int64_t last_used;
    const GcState::Root* root;  // or
    const std::string* materialisation;
  };
  std::vector<Candidate> LeastRecentlyUsed(const GcState& state, const GcPlan& plan) const;
  Result<GcPlan> EvictUntilItFits(const GcState& state, GcPlan plan);
  Result<void> CleanLeftovers();
  Result<void> RemoveRoots(const GcPlan& plan);
  Result<void> RemoveLayers(const GcPlan& plan);
  Result<void> RemoveDerived(const GcPlan& plan);
  Result<void> RemoveReplaced();
  Result<bool> IsAnyRootInUse(const LayerId& of) const;
  // Locks as many as it can of the directories and hands those to `remove`, batch by batch.
  template <typename Remove>
  Result<void> InBatches(const std::vector<std::string>& paths, const Remove& remove);
  // Of all roots that are there and stay.
  Result<std::vector<RootInfo>> RootsThatStay() const;
  // False: it is not there any more.
  Result<bool> Trash(const std::string& path);
  void EmptyTrash();

  const Store& store_;
  const GcOptions& options_;
  GcReport report_;
  DiskUsage removed_;
  std::vector<std::string> trash_;
};

Result<GcReport> Collector::Run() {
  // It takes its time anyway, and what is marked need not be read again after a power loss.
  if (!options_.dry_run) STRATA_TRY(MarkDurable(store_));
  STRATA_TRY(CleanLeftovers());
  STRATA_ASSIGN(GcPlan plan, MakePlan());
  // What is made of others first: nothing is ever visible whose parts are gone.
  STRATA_TRY_WITH(RemoveRoots(plan), "collect roots");
  STRATA_TRY_WITH(RemoveLayers(plan), "collect layers");
  STRATA_TRY_WITH(RemoveDerived(plan), "collect derived layers");
  STRATA_TRY_WITH(RemoveReplaced(), "collect damaged layers");
  report_.freed_bytes = removed_.own_bytes();
  EmptyTrash();
  if (options_.max_size) {
    STRATA_ASSIGN(StoreUsage usage, MeasureStore(store_));
    uint64_t going = options_.dry_run ? report_.freed_bytes : 0;
    report_.store_bytes = usage.total() - std::min(usage.total(), going);
  }
  return std::move(report_);
}

Result<void> Collector::CleanLeftovers() {
  auto what = options_.dry_run ? Store::Leftovers::kCount : Store::Leftovers::kRemove;
  STRATA_ASSIGN(report_.leftovers, store_.CleanLeftovers(what));
  // Temporary files of names that were being written.
  STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(store_.fd(), "refs"));
  for (const std::string& name : names) {
    struct stat st;
    std::string path = "refs/" + name;
    if (name.find('#') == std::string::npos) continue;
    if (sys::FstatAt(store_.fd(), path.c_str(), &st) < 0 || IsYoung(st.st_mtime)) continue;
    ++report_.leftovers;
    if (!options_.dry_run) sys::UnlinkAt(store_.fd(), path.c_str());
  }
  return {};
}

Result<GcPlan> Collector::MakePlan() {
  STRATA_ASSIGN(GcState state, ReadGcState(store_, options_.held));
  GcPlan plan = PlanGc(state, options_.all, {});
  if (!options_.max_size) return plan;
  return EvictUntilItFits(state, std::move(plan));
}

// What may go so that the store gets smaller, in that order.
std::vector<Collector::Candidate> Collector::LeastRecentlyUsed(const GcState& state,
                                                               const GcPlan& plan) const {
  std::vector<Candidate> candidates;
  for (const auto& [name, derived] : state.derived) {
    if (derived.materialises.empty() || derived.young || plan.derived.count(name) != 0) continue;
    candidates.push_back({derived.last_used, nullptr, &name});
  }
  for (const GcState::Root& root : state.roots) {
    if (!MayEvict(root, options_.all) || plan.roots.count(root.info.key) != 0) continue;
    candidates.push_back({root.info.last_used, &root, nullptr});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.last_used < b.last_used; });
  return candidates;
}

Result<GcPlan> Collector::EvictUntilItFits(const GcState& state, GcPlan plan) {
  STRATA_ASSIGN(StoreUsage usage, MeasureStore(store_));
  DiskUsage going;
  for (const LayerId& id : plan.layers)
    STRATA_TRY(going.Add(store_.fd(), WhereIsLayer(store_, id)));
  for (const std::string& name : plan.derived) {
    STRATA_TRY(going.Add(store_.fd(), "derived/" + name));
  }
  auto fits = [&] { return usage.total() <= *options_.max_size + going.own_bytes(); };
  GcEvicted evicted;
  for (const Candidate& candidate : LeastRecentlyUsed(state, plan)) {
    if (fits()) break;
    if (candidate.root != nullptr) {
      evicted.roots.insert(candidate.root->info.key);
    } else {
      evicted.derived.insert(*candidate.materialisation);
    }
    GcPlan next = PlanGc(state, options_.all, evicted);
    for (const std::string& name : next.derived) {
      if (plan.derived.count(name) == 0) STRATA_TRY(going.Add(store_.fd(), "derived/" + name));
    }
    plan = std::move(next);
  }
  return plan;
}

Result<void> Collector::RemoveRoots(const GcPlan& plan) {
  const std::vector<RootKey> keys(plan.roots.begin(), plan.roots.end());
  for (size_t start = 0; start < keys.size(); start += kBatch) {
    std::vector<std::pair<RootKey, FileLock>> locked;
    for (size_t i = start; i < std::min(start + kBatch, keys.size()); ++i) {
      auto lock = FileLock::OnExistingFile(store_.fd(), "roots/" + keys[i].Hex(),
                                           LockMode::kExclusive, LockWait::kFail);
      if (lock) locked.emplace_back(keys[i], std::move(*lock));
    }
    STRATA_ASSIGN(std::set<Target> named, ReadNamed(store_));
    std::vector<RootKey> held;
    if (options_.held) {
      STRATA_ASSIGN(held, options_.held(store_));
    }
    for (const auto& [key, lock] : locked) {
      if (named.count(key) != 0 || std::find(held.begin(), held.end(), key) != held.end()) continue;
      if (!options_.dry_run) {
        int rc = sys::UnlinkAt(store_.fd(), ("roots/" + key.Hex()).c_str());
        if (rc < 0 && rc != -ENOENT) return FailSys(-rc, "unlink", "roots/" + key.Hex());
      }
      report_.roots.push_back(key);
    }
  }
  return {};
}

template <typename Remove>
Result<void> Collector::InBatches(const std::vector<std::string>& paths, const Remove& remove) {
  for (size_t start = 0; start < paths.size(); start += kBatch) {
    std::vector<FileLock> locks;
    std::vector<std::string> locked;
    for (size_t i = start; i < std::min(start + kBatch, paths.size()); ++i) {
      auto lock = FileLock::OnDirectory(store_.fd(), paths[i] + "/tree", LockMode::kExclusive,
                                        LockWait::kFail);
      // In use, or gone; or somebody took its tree away, and then it is of no use to anybody.
      struct stat st;
      bool no_tree = !lock && lock.error().sys_errno() == ENOENT &&
                     sys::FstatAt(store_.fd(), paths[i].c_str(), &st) == 0;
      if (!lock && !no_tree) continue;
      if (lock) locks.push_back(std::move(*lock));
      locked.push_back(paths[i]);
    }
    STRATA_TRY(remove(locked));
  }
  return {};
}

Result<std::vector<RootInfo>> Collector::RootsThatStay() const {
  STRATA_ASSIGN(std::vector<RootInfo> roots, ReadRoots(store_));
  if (options_.dry_run) {
    std::erase_if(roots, [&](const RootInfo& root) {
      return std::binary_search(report_.roots.begin(), report_.roots.end(), root.key);
    });
  }
  return roots;
}

Result<void> Collector::RemoveLayers(const GcPlan& plan) {
  auto remove = [&](const std::vector<std::string>& locked) -> Result<void> {
    STRATA_ASSIGN(std::set<Target> named, ReadNamed(store_));
    STRATA_ASSIGN(std::vector<RootInfo> roots, RootsThatStay());
    std::set<LayerId> needed;
    for (const RootInfo& root : roots) needed.merge(LayersOf(root));
    for (const std::string& path : locked) {
      const LayerId id = *Digest::FromHex(path.substr(path.find('/') + 1));
      if (named.count(id) != 0 || needed.count(id) != 0) continue;
      struct stat st;  // imported again since?
      int rc = sys::FstatAt(store_.fd(), (path + "/manifest").c_str(), &st);
      if (rc == 0 && IsYoung(st.st_mtime) && !options_.all) continue;
      STRATA_ASSIGN(bool gone, Trash(path));
      if (gone) report_.layers.push_back(id);
    }
    return {};
  };
  std::vector<std::string> paths;
  for (const LayerId& id : plan.layers) paths.push_back(WhereIsLayer(store_, id));
  return InBatches(paths, remove);
}

Result<void> Collector::RemoveDerived(const GcPlan& plan) {
  auto remove = [&](const std::vector<std::string>& locked) -> Result<void> {
    STRATA_ASSIGN(std::vector<RootInfo> roots, RootsThatStay());
    std::set<std::string> mounted;
    for (const RootInfo& root : roots) mounted.merge(DerivedOf(root));
    for (const std::string& path : locked) {
      std::string name = path.substr(path.find('/') + 1);
      if (mounted.count(name) != 0) continue;
      STRATA_ASSIGN(bool gone, Trash(path));
      if (gone) report_.derived.push_back(std::move(name));
    }
    return {};
  };
  std::vector<std::string> paths;
  for (const std::string& name : plan.derived) paths.push_back("derived/" + name);
  return InBatches(paths, remove);
}

// A sandbox that was there before an import replaced the layer has the old one mounted. Its lease
// is on that, or on a root.
Result<void> Collector::RemoveReplaced() {
  STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(store_.fd(), "damaged"));
  for (const std::string& name : names) {
    const std::optional<LayerId> id = ReplacedLayer(name);
    if (!id) continue;
    const std::string path = "damaged/" + name;
    auto lock =
        FileLock::OnDirectory(store_.fd(), path + "/tree", LockMode::kExclusive, LockWait::kFail);
    if (!lock) continue;
    STRATA_ASSIGN(bool in_use, IsAnyRootInUse(*id));
    if (in_use) continue;
    STRATA_ASSIGN(bool gone, Trash(path));
    if (gone) ++report_.replaced;
  }
  return {};
}

Result<bool> Collector::IsAnyRootInUse(const LayerId& of) const {
  std::vector<RootKey> held;
  if (options_.held) {
    STRATA_ASSIGN(held, options_.held(store_));
  }
  STRATA_ASSIGN(std::vector<RootInfo> roots, ReadRoots(store_));
  for (const RootInfo& root : roots) {
    if (!root.Needs(of)) continue;
    if (std::find(held.begin(), held.end(), root.key) != held.end()) return true;
    auto lock = FileLock::OnExistingFile(store_.fd(), "roots/" + root.key.Hex(),
                                         LockMode::kExclusive, LockWait::kFail);
    if (!lock && lock.error().sys_errno() != ENOENT) return true;
  }
  return false;
}

Result<bool> Collector::Trash(const std::string& path) {
  if (options_.dry_run) {
    STRATA_TRY(removed_.Add(store_.fd(), path));
    return true;
  }
  std::string trash = "trash/" + RandomName();
  int rc = sys::RenameAt2(store_.fd(), path.c_str(), store_.fd(), trash.c_str());
  if (rc == -ENOENT) return false;
  if (rc < 0) return FailSys(-rc, "rename", path);
  trash_.push_back(trash);
  STRATA_TRY(removed_.Add(store_.fd(), trash));
  return true;
}

void Collector::EmptyTrash() {
  // After the locks are gone, as it may take long.
  for (const std::string& trash : trash_) static_cast<void>(RemoveTree(store_.fd(), trash));
}

}  // namespace

Result<GcReport> CollectGarbage(const Store& store, const GcOptions& options) {
  return Collector(store, options).Run();
}

Result<std::optional<GcReport>> CollectIfTooLarge(const Store& store, const HeldRoots& held) {
  STRATA_ASSIGN(StoreConfig config, ReadStoreConfig(store));
  if (!config.max_size) return std::nullopt;
  struct stat st;
  if (sys::FstatAt(store.fd(), kStampFile, &st) == 0) {
    int64_t age = ::time(nullptr) - st.st_mtime;
    if (age >= 0 && age < kLookEvery) return std::nullopt;
  }
  STRATA_TRY(ReplaceFile(store.fd(), kStampFile, "", 0600));
  STRATA_ASSIGN(StoreUsage usage, MeasureStore(store));
  if (usage.total() <= *config.max_size) return std::nullopt;
  GcOptions options;
  options.max_size = config.max_size;
  options.held = held;
  STRATA_ASSIGN(GcReport report, CollectGarbage(store, options));
  return report;
}

}  // namespace strata
