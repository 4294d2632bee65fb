// SPDX-License-Identifier: Apache-2.0
//
// What staging means, once more and as plainly as possible: layers are applied one after the other
// to a map from path to entry. Slow, and knows nothing of overlays, manifests or derived layers, so
// that it can say what those must come to.
//
// A layer is first rewritten for the tree below it (its directories that stand where that tree has
// a link to a directory go to where the link leads), then applied entry by entry, parents first.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache/manifest.h"
#include "cache/roots.h"

namespace strata::testing {

using RefPath = std::vector<std::string>;  // components; they compare one by one, as bytes

struct RefEntry {
  EntryType type = EntryType::kDirectory;
  bool opaque = false;
  bool implicit = false;  // then the metadata is that of the default below
  unsigned mode = 0755;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t sec = kRootMtime;
  uint32_t nsec = 0;
  std::string content;  // of a file
  std::string target;   // of a symlink
  std::vector<Xattr> xattrs;
  std::string group;  // hardlink group within the layer; empty: none
  auto operator<=>(const RefEntry&) const = default;

  bool is(EntryType what) const { return type == what; }
  bool SameAs(const RefEntry& other) const {  // but for hardlinks
    RefEntry mine = *this;
    mine.group = other.group;
    return mine == other;
  }
};

// Every directory on the way to an entry has an entry itself (perhaps an implicit one).
struct RefLayer {
  std::map<RefPath, RefEntry> entries;
  bool opaque_root = false;
  auto operator<=>(const RefLayer&) const = default;
};

struct RefStaged {
  RefEntry entry;
  size_t layer = 0;     // that the entry itself is of
  size_t provider = 0;  // topmost one that has an entry here; differs for directories only
};
using RefTree = std::map<RefPath, RefStaged>;

struct RefConflict {
  size_t lower;  // indices into the list of layers
  size_t upper;
  RefPath path;
  RefPath source;  // in the upper layer; differs from `path` where that was redirected
};

struct RefResult {
  RefTree tree;
  // With kError: all of the first layer that has any, and the tree is of no meaning.
  std::vector<RefConflict> conflicts;
};

class ReferenceStager {
 public:
  // `layers` bottom first.
  static RefResult Stage(const std::vector<RefLayer>& layers, ConflictPolicy policy) {
    ReferenceStager stager(policy);
    size_t first = 0;  // what an opaque root hides does not count at all
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].opaque_root) first = i;
    }
    for (size_t i = first; i < layers.size(); ++i) {
      // The same layer twice counts once, at its topmost place.
      if (std::find(layers.begin() + static_cast<long>(i) + 1, layers.end(), layers[i]) !=
          layers.end()) {
        continue;
      }
      stager.Apply(layers[i], i);
      if (policy == ConflictPolicy::kError && !stager.conflicts_.empty()) break;
    }
    return {std::move(stager.tree_), std::move(stager.conflicts_)};
  }

  // Where a link leads if that is a directory of the tree; and all the links on the way.
  static std::optional<RefPath> LeadsToDirectory(const RefTree& tree, const RefPath& link,
                                                 std::set<RefPath>* followed = nullptr) {
    RefPath at(link.begin(), link.end() - 1);  // always a directory that is there
    std::deque<std::string> todo{link.back()};
    for (int links = 0; !todo.empty();) {
      const std::string name = todo.front();
      todo.pop_front();
      if (name.empty() || name == ".") continue;
      if (name == "..") {
        if (!at.empty()) at.pop_back();
        continue;
      }
      RefPath next = at;
      next.push_back(name);
      auto found = tree.find(next);
      if (found == tree.end()) return std::nullopt;
      const RefEntry& entry = found->second.entry;
      if (entry.is(EntryType::kDirectory)) {
        at = next;
      } else if (entry.is(EntryType::kSymlink)) {
        if (++links > 40) return std::nullopt;
        if (followed != nullptr) followed->insert(next);
        if (entry.target[0] == '/') at.clear();
        std::vector<std::string> parts = Split(entry.target);
        todo.insert(todo.begin(), parts.begin(), parts.end());
      } else {
        return std::nullopt;
      }
    }
    return at;
  }

 private:
  // An entry of a layer, and where it belongs; also each directory that a redirected one needs to
  // exist.
  struct Placement {
    RefPath real;
    RefPath source;   // in the layer
    RefPath order;    // of two redirected ones the greater wins: the directory that it is in
    bool own = true;  // not redirected: `real` is `source`
    int parent = -1;  // placement of its directory; -1: the root
    bool wins = false;
    RefEntry entry;
  };
  using Effective = std::map<RefPath, RefEntry>;

  explicit ReferenceStager(ConflictPolicy policy) : policy_(policy) {}

  static std::vector<std::string> Split(const std::string& path) {
    std::vector<std::string> parts(1);
    for (char c : path) {
      if (c == '/') {
        parts.emplace_back();
      } else {
        parts.back() += c;
      }
    }
    return parts;
  }

  static bool IsBelow(const RefPath& path, const RefPath& directory) {
    return path.size() > directory.size() &&
           std::equal(directory.begin(), directory.end(), path.begin());
  }

  template <typename Map>
  static void EraseBelow(Map& map, const RefPath& directory) {
    std::erase_if(map, [&](const auto& item) { return IsBelow(item.first, directory); });
  }

  bool IsLinkToDirectory(const RefTree& tree, const RefPath& path) const {
    auto found = tree.find(path);
    return found != tree.end() && found->second.entry.is(EntryType::kSymlink) &&
           LeadsToDirectory(tree, path).has_value();
  }

  // The children of a directory of the layer, which stands at `real` in the tree. `hidden`: an
  // opaque directory of the layer hides what the tree has there.
  void Place(const RefLayer& layer, const RefPath& source, const RefPath& real, bool own,
             bool hidden, int parent) {
    for (const auto& [path, entry] : layer.entries) {
      if (path.size() != source.size() + 1 || !IsBelow(path, source)) continue;
      RefPath there = real;
      there.push_back(path.back());
      const bool directory = entry.is(EntryType::kDirectory);
      if (directory && !hidden && IsLinkToDirectory(tree_, there)) {
        if (!entry.opaque) {
          const RefPath target = *LeadsToDirectory(tree_, there, &redirected_);
          Place(layer, path, target, false, false, PlaceImplicit(target, path));
          continue;
        }
        conflicts_.push_back({tree_.at(there).provider, index_, there, path});
        if (policy_ == ConflictPolicy::kSkip) continue;
      }
      placements_.push_back({there, path, source, own, parent, false, entry});
      if (directory) {
        Place(layer, path, there, own, hidden || entry.opaque,
              static_cast<int>(placements_.size()) - 1);
      }
    }
  }

  // The target of a redirected directory, and its parents.
  int PlaceImplicit(const RefPath& target, const RefPath& source) {
    RefEntry entry;
    entry.implicit = true;
    int parent = -1;
    for (size_t depth = 1; depth <= target.size(); ++depth) {
      placements_.push_back({RefPath(target.begin(), target.begin() + static_cast<long>(depth)),
                             source, source, false, parent, false, entry});
      parent = static_cast<int>(placements_.size()) - 1;
    }
    return parent;
  }

  // What of the entries that meet at one place counts. The redirected ones come first, the own one
  // last.
  RefEntry Meet(std::vector<Placement*> candidates) {
    std::stable_sort(candidates.begin(), candidates.end(), [](Placement* a, Placement* b) {
      return a->own != b->own ? b->own : a->order < b->order;
    });
    bool whiteout = false;
    std::vector<Placement*> winners;  // more than one: directories that merge
    for (Placement* candidate : candidates) {
      if (candidate->entry.is(EntryType::kWhiteout)) {
        whiteout = true;
        continue;
      }
      if (!candidate->entry.is(EntryType::kDirectory) ||
          (!winners.empty() && !winners.back()->entry.is(EntryType::kDirectory))) {
        winners.clear();
      }
      winners.push_back(candidate);
    }
    if (winners.empty()) return candidates.back()->entry;  // whiteouts alone

    Placement* metadata = winners.back();
    bool opaque = false;
    for (Placement* winner : winners) {
      winner->wins = true;
      opaque = opaque || winner->entry.opaque;
      if (winner->entry.implicit) continue;
      if (metadata->entry.implicit || (!metadata->own && winner->source > metadata->source)) {
        metadata = winner;
      }
    }
    sources_[metadata->real] = metadata->source;
    RefEntry entry = metadata->entry;
    if (entry.is(EntryType::kDirectory)) entry.opaque = opaque || whiteout;
    return entry;
  }

  Effective MakeEffective(const RefLayer& layer) {
    placements_.clear();
    redirected_.clear();
    sources_.clear();
    Place(layer, {}, {}, true, false, -1);
    std::map<RefPath, std::vector<Placement*>> places;
    for (Placement& placement : placements_) places[placement.real].push_back(&placement);
    Effective effective;
    for (auto& [path, candidates] : places) {  // parents first
      std::erase_if(candidates, [&](Placement* placement) {
        return placement->parent >= 0 && !placements_[static_cast<size_t>(placement->parent)].wins;
      });
      if (!candidates.empty()) effective[path] = Meet(candidates);
    }
    return effective;
  }

  void Apply(const RefLayer& layer, size_t index) {
    index_ = index;
    const Effective effective = MakeEffective(layer);
    for (const RefPath& link : redirected_) written_through_.try_emplace(link, index);
    std::optional<RefPath> skipped;
    for (const auto& [path, entry] : effective) {
      if (skipped && IsBelow(path, *skipped)) continue;
      if (entry.is(EntryType::kWhiteout)) {
        Remove(path);
      } else if (entry.is(EntryType::kDirectory)) {
        ApplyDirectory(path, entry);
      } else if (!ApplyOther(path, entry)) {
        skipped = path;
      }
    }
  }

  void ApplyDirectory(const RefPath& path, const RefEntry& entry) {
    auto found = tree_.find(path);
    if (found != tree_.end() && found->second.entry.is(EntryType::kDirectory)) {
      if (entry.opaque) {
        EraseBelow(tree_, path);
        EraseBelow(written_through_, path);
      }
      found->second.provider = index_;
      if (entry.implicit) return;
    } else {
      Remove(path);
    }
    tree_[path] = {entry, index_, index_};
    tree_[path].entry.opaque = false;
  }

  // False: it is left out because of a conflict.
  bool ApplyOther(const RefPath& path, const RefEntry& entry) {
    auto found = tree_.find(path);
    if (found != tree_.end() && !found->second.entry.SameAs(entry)) {
      std::optional<size_t> lower;
      if (found->second.entry.is(EntryType::kDirectory)) {
        auto next = std::next(found);
        if (next != tree_.end() && IsBelow(next->first, path)) lower = found->second.provider;
      } else if (auto used = written_through_.find(path);
                 used != written_through_.end() && used->second < index_) {
        lower = used->second;
      }
      if (lower) {
        conflicts_.push_back({*lower, index_, path, sources_.at(path)});
        if (policy_ == ConflictPolicy::kSkip) return false;
      }
      Remove(path);
    }
    tree_[path] = {entry, index_, index_};
    return true;
  }

  void Remove(const RefPath& path) {
    EraseBelow(tree_, path);
    EraseBelow(written_through_, path);
    tree_.erase(path);
    written_through_.erase(path);
  }

  ConflictPolicy policy_;
  RefTree tree_;
  std::map<RefPath, size_t> written_through_;  // link: the first layer that was redirected there
  std::vector<RefConflict> conflicts_;
  // Of the layer that is being applied.
  size_t index_ = 0;
  std::vector<Placement> placements_;
  std::set<RefPath> redirected_;  // links that its directories were redirected through
  std::map<RefPath, RefPath> sources_;
};

}  // namespace strata::testing
