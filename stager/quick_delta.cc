// SPDX-License-Identifier: Apache-2.0
#include "stager/quick_delta.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "cache/providers.h"
#include "stager/plan_builder.h"
#include "stager/segments.h"

namespace strata {
namespace {

bool HasMarks(const Manifest& manifest) {
  if (manifest.whiteout_count() > 0) return true;
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    if (manifest.entry(i).opaque()) return true;
  }
  return false;
}

// Layers as they are, of the store.
bool IsOfWholeLayers(const DependencySet& set) {
  return std::all_of(set.items.begin(), set.items.end(), [](const SetItem& item) {
    return item.view.empty() && item.directory.empty();
  });
}

// The layers of a cached root and those of the new set, side by side.
class Change {
 public:
  Change(const DependencySet& there, const DependencySet& here, const std::vector<bool>& common) {
    for (size_t i = 0; i < here.items.size(); ++i) {
      if (!common[i]) {
        added_.push_back(i);
        below_added_.push_back(place_.size());
        continue;
      }
      while (place_here_.size() < there.items.size() &&
             there.items[place_here_.size()].id != here.items[i].id) {
        AddThere(kRemoved);
      }
      AddThere(i);
    }
    while (place_here_.size() < there.items.size()) AddThere(kRemoved);
  }

  static constexpr size_t kRemoved = SIZE_MAX;
  // Places in the new set, of those that the root lacks.
  const std::vector<size_t>& added() const { return added_; }
  // By their place in the root: the place in the new set, or kRemoved.
  size_t place_here(size_t there) const { return place_here_[there]; }
  bool removed(size_t there) const { return place_here_[there] == kRemoved; }
  // Whether added layer `k` lies above all the layers that both have, and that are not above
  // `there`.
  bool IsAbove(size_t k, size_t there) const {
    return below_added_[k] >= below_there_[there] + (removed(there) ? 0 : 1);
  }

 private:
  void AddThere(size_t here) {
    below_there_.push_back(place_.size());
    place_here_.push_back(here);
    if (here != kRemoved) place_.push_back(here);
  }

  std::vector<size_t> added_;
  std::vector<size_t> below_added_;  // how many that both have lie below each
  std::vector<size_t> place_here_;
  std::vector<size_t> below_there_;
  std::vector<size_t> place_;  // of those that both have
};

// Each path shows the entry of the topmost layer that has one: neither links that are written
// through, nor conflicts, nor marks are about. So an entry of the segment can only change where an
// added layer has one, or where a removed layer provided it.
class QuickPlanner {
 public:
  QuickPlanner(const Change& change, const Manifest& base, const Providers& providers,
               const std::vector<PlanSource>& sources)
      : change_(change),
        base_(base),
        providers_(providers),
        added_(MergedTree::Rules::kStaging),
        plan_(sources),
        is_added_(base.size()),
        is_gone_(base.size()) {
    for (uint32_t k = 0; k < sources.size(); ++k) {
      added_.Merge({.manifest = sources[k].manifest, .source = k});
    }
  }

  // Nothing where that cannot be told from what is known here.
  std::optional<TreePlan> Plan() {
    made_ = {{0, ManifestBuilder::kRoot}};
    if (!added_.pieces().empty()) {
      if (added_.mixed() || !Compare(MergedTree::kRoot, 0)) return std::nullopt;
    }
    if (!RemoveLost()) return std::nullopt;
    Result<TreePlan> plan = plan_.Finish();
    if (!plan) return std::nullopt;
    return std::move(*plan);
  }

 private:
  using NodeId = MergedTree::NodeId;
  using Node = ManifestBuilder::Node;
  enum class Shows { kAdded, kBase, kUnknown };

  Shows WhatShows(NodeId node, uint32_t entry) {
    const MergedTree::Node& n = added_.node(node);
    const Provider& provider = providers_.entries[entry];
    const bool removed = change_.removed(provider.layer);
    if (added_.type(node) == EntryType::kDirectory) {
      // Metadata is what is asked for, and an implicit directory has none to give.
      const bool base_implicit = base_.entry(entry).implicit();
      if (n.implicit) return base_implicit || !removed ? Shows::kBase : Shows::kUnknown;
      if (base_implicit) return Shows::kAdded;
    }
    if (change_.IsAbove(n.piece, provider.layer)) return Shows::kAdded;
    if (!removed) return Shows::kBase;
    return provider.count == 1 ? Shows::kAdded : Shows::kUnknown;
  }

  // What the added layers have below a directory that the segment has too.
  bool Compare(NodeId directory, uint32_t base_directory) {
    bool known = true;
    added_.ForEachChild(
        directory, [&](NodeId child) { known = known && CompareChild(child, base_directory); });
    return known;
  }

  bool CompareChild(NodeId child, uint32_t base_directory) {
    const std::optional<uint32_t> entry = base_.Child(base_directory, added_.name(child));
    const bool directory = added_.type(child) == EntryType::kDirectory;
    if (!entry) {
      // A sandbox mounts over these: whether it can, is looked at with all the rest.
      const std::string_view name = added_.name(child);
      if (base_directory == 0 && !directory && (name == "proc" || name == "dev")) return false;
      AddWhole(base_directory, child);
      return true;
    }
    is_added_[*entry] = true;
    if (directory != base_.entry(*entry).is_directory()) return false;
    const Shows shows = WhatShows(child, *entry);
    if (shows == Shows::kUnknown) return false;
    const MergedTree::Node n = added_.node(child);
    const bool other =
        shows == Shows::kAdded && !SameEntry(added_.manifest(n), n.entry, base_, *entry);
    if (directory) {
      if (shows == Shows::kAdded) from_added_.emplace(*entry, child);
      if (other) Made(*entry);
      return Compare(child, *entry);
    }
    // A file with several names is never left in the segment: all of them are made, or none.
    const bool linked =
        added_.entry(n).hardlink != kNoEntry || base_.entry(*entry).hardlink != kNoEntry;
    if (other || (shows == Shows::kAdded && linked)) {
      plan_.AddFile(Made(base_directory), added_.piece(n), n.entry);
    }
    return true;
  }

  void AddWhole(uint32_t base_directory, NodeId child) {
    const MergedTree::Node n = added_.node(child);
    const Node parent = Made(base_directory);
    if (added_.type(child) != EntryType::kDirectory) {
      plan_.AddFile(parent, added_.piece(n), n.entry);
      return;
    }
    plan_.AddBelow(plan_.AddDirectory(parent, added_.piece(n), n.entry, false, false), added_,
                   child);
  }

  // What nobody has any more. Entries come after the directories that they are in.
  bool RemoveLost() {
    for (uint32_t i = 1; i < base_.size(); ++i) {
      const ManifestEntry& e = base_.entry(i);
      if (is_gone_[e.parent]) {
        is_gone_[i] = true;
        continue;
      }
      const Provider& provider = providers_.entries[i];
      if (is_added_[i] || !change_.removed(provider.layer)) continue;
      if (provider.count > 1) return false;  // another one shows
      is_gone_[i] = true;
      plan_.AddWhiteout(Made(e.parent), base_.name(e));
    }
    return true;
  }

  // The delta's directory for one of the segment, with those above it.
  Node Made(uint32_t entry) {
    auto made = made_.find(entry);
    if (made != made_.end()) return made->second;
    const Node parent = Made(base_.entry(entry).parent);
    Piece piece{.manifest = &base_};
    uint32_t shown = entry;
    auto added = from_added_.find(entry);
    if (added != from_added_.end()) {
      const MergedTree::Node& n = added_.node(added->second);
      piece = added_.piece(n);
      shown = n.entry;
    }
    const Node node = plan_.AddDirectory(parent, piece, shown, false, false);
    made_.emplace(entry, node);
    return node;
  }

  const Change& change_;
  const Manifest& base_;
  const Providers& providers_;
  MergedTree added_;
  PlanBuilder plan_;
  std::vector<bool> is_added_;  // of the segment's entries: an added layer has one there, too
  std::vector<bool> is_gone_;
  std::map<uint32_t, NodeId> from_added_;  // directories that have their metadata from there
  std::map<uint32_t, Node> made_;
};

// The one that differs in the fewest layers, where that is one segment of whole layers.
const NearRoot* Nearest(const std::vector<NearRoot>& roots) {
  const NearRoot* nearest = nullptr;
  auto different = [](const NearRoot& root) {
    return root.common.size() - root.shared + root.only_there;
  };
  for (const NearRoot& root : roots) {
    if (root.lowers.size() != 1 || !root.lowers[0].starts_with("derived/segment-")) continue;
    if (nearest == nullptr || different(root) < different(*nearest)) nearest = &root;
  }
  return nearest;
}

// The entries of each item's manifest.
std::vector<uint32_t> EntriesOf(const DependencySet& set, const Change& change,
                                const Providers& providers, const std::vector<Member>& added) {
  std::vector<uint32_t> entries(set.items.size());
  for (size_t there = 0; there < providers.layers.size(); ++there) {
    if (!change.removed(there)) {
      entries[change.place_here(there)] = providers.layers[there].entries;
    }
  }
  for (size_t k = 0; k < added.size(); ++k) {
    entries[change.added()[k]] = added[k].manifest.size();
  }
  return entries;
}

// Of the set's layers, in their order. Those that both have are opened if they declare any.
Result<std::vector<std::string>> CommandsOf(const Store& store, const DependencySet& set,
                                            const Change& change, const Providers& providers,
                                            const std::vector<Member>& added) {
  std::map<size_t, std::vector<std::string>> by_place;
  for (size_t there = 0; there < providers.layers.size(); ++there) {
    if (change.removed(there) || providers.layers[there].commands == 0) continue;
    const size_t place = change.place_here(there);
    const std::string path = "layers/" + set.items[place].id.Hex() + "/tree";
    STRATA_ASSIGN(Manifest manifest, OpenTreeManifest(store, path));
    by_place[place] = manifest.integration_commands();
  }
  for (size_t k = 0; k < added.size(); ++k) {
    by_place[change.added()[k]] = added[k].manifest.integration_commands();
  }
  std::vector<std::string> commands;
  for (auto& [place, some] : by_place) {
    commands.insert(commands.end(), std::make_move_iterator(some.begin()),
                    std::make_move_iterator(some.end()));
  }
  return commands;
}

// Whether a layer has another place than there. Its files are in the segment already, and a name
// that is linked to one of them would have to be, too.
bool MovesOne(const DependencySet& there, const DependencySet& here, const Change& change) {
  return std::any_of(change.added().begin(), change.added().end(), [&](size_t place) {
    return std::any_of(there.items.begin(), there.items.end(),
                       [&](const SetItem& item) { return item.id == here.items[place].id; });
  });
}

// An error: there is no quick way.
Result<std::optional<QuickDelta>> Plan(const Store& store, const DependencySet& set,
                                       const NearRoot& near, size_t part) {
  STRATA_ASSIGN(CachedRoot root, OpenRoot(store, near.key));
  STRATA_ASSIGN(DependencySet there, DependencySet::Decode(root.encoded_set));
  if (!IsOfWholeLayers(there)) return std::nullopt;

  std::vector<Digest> ids;
  for (const SetItem& item : there.items) ids.push_back(item.id);
  const std::string& tree = near.lowers[0];
  const std::string base = tree.substr(0, tree.rfind('/'));
  if (base != "derived/" + SegmentName(ids, RunPlace::kBottom)) return std::nullopt;
  STRATA_ASSIGN(FileLock base_lease, LeaseTree(store, tree));
  const std::optional<Providers> providers = ReadProviders(store, base);
  if (!providers || providers->layers.size() != there.items.size()) return std::nullopt;
  STRATA_ASSIGN(Manifest opened, OpenTreeManifest(store, tree));
  auto manifest = std::make_unique<Manifest>(std::move(opened));
  if (providers->entries.size() != manifest->size()) return std::nullopt;

  const Change change(there, set, near.common);
  if (MovesOne(there, set, change)) return std::nullopt;
  DependencySet missing;
  for (size_t place : change.added()) missing.items.push_back(set.items[place]);
  STRATA_ASSIGN(std::vector<Member> added, OpenMembers(store, missing));
  std::vector<PlanSource> sources;
  for (const Member& member : added) {
    if (HasMarks(member.manifest)) return std::nullopt;
    sources.push_back({member.path, &member.manifest});
  }
  const std::vector<uint32_t> entries = EntriesOf(set, change, *providers, added);
  const uint64_t total = std::accumulate(entries.begin(), entries.end(), uint64_t{0});
  if (EntriesOutside(near, entries) * part > total) return std::nullopt;

  std::optional<TreePlan> plan = QuickPlanner(change, *manifest, *providers, sources).Plan();
  if (!plan || plan->manifest.size() * part > total) return std::nullopt;
  STRATA_ASSIGN(std::vector<std::string> commands,
                CommandsOf(store, set, change, *providers, added));
  return QuickDelta{std::move(root.lease), tree,
                    std::move(base_lease), std::move(manifest),
                    std::move(added),      std::move(sources),
                    std::move(*plan),      std::move(commands)};
}

}  // namespace

std::optional<QuickDelta> PlanQuickDelta(const Store& store, const DependencySet& set,
                                         const std::vector<NearRoot>& roots, size_t part) {
  const NearRoot* near = Nearest(roots);
  if (near == nullptr || store.marked_only() || !IsOfWholeLayers(set)) return std::nullopt;
  auto quick = Plan(store, set, *near, part);
  if (!quick) return std::nullopt;
  return std::move(*quick);
}

std::optional<Providers> ProvidersOf(const TreePlan& segment, const DependencySet& set,
                                     const std::vector<Member>& members, bool mixed) {
  if (mixed || !IsOfWholeLayers(set)) return std::nullopt;
  Providers providers;
  for (const Member& member : members) {
    if (HasMarks(member.manifest)) return std::nullopt;
    const size_t commands = member.manifest.integration_commands().size();
    providers.layers.push_back({member.manifest.size(), static_cast<uint32_t>(commands)});
  }
  providers.entries = segment.providers;
  return providers;
}

}  // namespace strata
