// SPDX-License-Identifier: Apache-2.0
//
// MergedTree: what several trees show together, worked out from their manifests alone.
//
// Trees ("pieces") are merged bottom first, one at a time. A directory that only one piece has is kept as
// a reference into that piece's manifest and never looked into, so that the cost follows the
// directories that several pieces share, not the number of files.
//
// The manifests must outlive the tree. Not thread-safe. Node numbers stay valid; a node that something
// replaced is dead and is reached no more.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/manifest.h"
#include "stager/tree_plan.h"

namespace strata {

// One tree that is merged. Its files are in `source` (an index into the composition's list of PlanSources)
// under the paths of `manifest`; or, for a tree that exists in memory only, where `origins` says.
struct Piece {
  const Manifest* manifest = nullptr;
  uint32_t source = 0;
  const std::vector<TreePlan::Origin>* origins = nullptr;  // one for each entry; null: its own

  TreePlan::Origin OriginOf(uint32_t entry) const {
    return origins != nullptr ? (*origins)[entry] : TreePlan::Origin{source, entry};
  }
};

// Whether two entries are the same but for their names and places: type, metadata, content, target. A file
// whose content was never read (its digest is zero) is the same as nothing.
bool SameEntry(const Manifest& a, uint32_t a_entry, const Manifest& b, uint32_t b_entry);

class MergedTree {
 public:
  enum class Rules {
    // What staging shows (design section 3, of layers made effective): whiteouts and opaque marks have
    // done their work, an implicit directory leaves the metadata of an existing one alone.
    kStaging,
    // What a mounted overlay shows: the same, but a directory's metadata is always the topmost one's.
    kOverlay,
    // A run of pieces that lies on others: whiteouts and opaque marks are kept for them.
    kRun,
  };
  using NodeId = uint32_t;
  static constexpr NodeId kRoot = 0;

  explicit MergedTree(Rules rules);

  // Puts one more piece on top, and returns its index.
  uint32_t Merge(const Piece& piece);

  struct Node {
    uint32_t piece = 0;  // whose entry it is: type, metadata, content, name
    uint32_t entry = 0;
    NodeId parent = 0;
    uint32_t touched_by = 0;  // the topmost piece that has an entry here
    uint32_t hash = 0;        // of parent and name
    uint32_t count = 1;       // pieces that have an entry here
    bool dead = false;
    bool opaque = false;    // kRun only
    bool implicit = false;  // of a directory: nobody gave it metadata
    // A directory: its children are nodes; else they are the children of one manifest entry.
    bool expanded = false;
    uint32_t children_piece = 0;
    uint32_t children_entry = 0;
    NodeId first_child = 0;  // a list that may hold dead nodes; 0 ends it
    NodeId next_sibling = 0;
  };

  const Node& node(NodeId id) const { return nodes_[id]; }
  const ManifestEntry& entry(const Node& n) const {
    return pieces_[n.piece].manifest->entry(n.entry);
  }
  const ManifestEntry& entry(NodeId id) const { return entry(nodes_[id]); }
  EntryType type(NodeId id) const { return entry(id).type; }
  const Manifest& manifest(const Node& n) const { return *pieces_[n.piece].manifest; }
  std::string_view name(NodeId id) const {
    return manifest(nodes_[id]).name(entry(id));
  }
  std::string_view target(NodeId id) const { return manifest(nodes_[id]).target(entry(id)); }
  const std::vector<Piece>& pieces() const { return pieces_; }
  const Piece& piece(const Node& n) const { return pieces_[n.piece]; }
  Rules rules() const { return rules_; }
  std::string Path(NodeId id) const;

  // Expands `directory` where the name is in it.
  std::optional<NodeId> Find(NodeId directory, std::string_view name);
  std::optional<NodeId> Lookup(std::string_view path);  // "usr/bin"; follows no link; "" is the root
  bool HasChildren(NodeId directory) const;             // any that show; whiteouts do not
  // Makes nodes of its children. Idempotent.
  void Expand(NodeId directory);
  template <typename Visit>
  void ForEachChild(NodeId directory, const Visit& visit) {
    Expand(directory);
    for (NodeId child = nodes_[directory].first_child; child != 0;) {
      NodeId next = nodes_[child].next_sibling;
      if (!nodes_[child].dead) visit(child);
      child = next;
    }
  }
  size_t node_count() const { return nodes_.size(); }

  // Whether an overlay would take the metadata of some directory from an implicit one.
  bool implicit_hides_metadata() const { return implicit_hides_metadata_; }
  // Whether a directory met something else at its path. Where none did, and without whiteouts and opaque
  // marks, each path shows the entry of the topmost piece that has one, and Node::count is right.
  bool mixed() const { return mixed_; }

 private:
  NodeId Add(NodeId parent, uint32_t piece, uint32_t entry, bool opaque);
  std::optional<NodeId> FindExpanded(NodeId directory, std::string_view name) const;
  void MergeDirectory(NodeId id, uint32_t piece, uint32_t entry);
  void MergeChild(NodeId directory, uint32_t piece, uint32_t entry);
  static uint32_t HashOf(NodeId parent, std::string_view name);
  void Insert(NodeId id);

  const Rules rules_;
  std::vector<Piece> pieces_;
  std::vector<Node> nodes_;
  // Open addressing over (parent, name), with the hash at hand: most slots that are looked at are of
  // other names, whose manifests would have to be fetched to see it.
  struct Slot {
    NodeId id = 0;  // 0: empty
    uint32_t hash = 0;
  };
  std::vector<Slot> table_;
  bool implicit_hides_metadata_ = false;
  bool mixed_ = false;
};

}  // namespace strata
