// SPDX-License-Identifier: Apache-2.0
#include "stager/merged_tree.h"

#include <algorithm>

#include "base/hash.h"

namespace strata {

bool SameEntry(const Manifest& a, uint32_t a_entry, const Manifest& b, uint32_t b_entry) {
  if (&a == &b && a_entry == b_entry) return true;
  const ManifestEntry& x = a.entry(a_entry);
  const ManifestEntry& y = b.entry(b_entry);
  return x.type == y.type && x.mode == y.mode && x.uid == y.uid && x.gid == y.gid &&
         x.mtime_sec == y.mtime_sec && x.mtime_nsec == y.mtime_nsec && x.size == y.size &&
         x.digest == y.digest && (x.type != EntryType::kFile || x.digest != Digest{}) &&
         a.target(x) == b.target(y) && a.raw_xattrs(x) == b.raw_xattrs(y);
}

MergedTree::MergedTree(Rules rules) : rules_(rules), table_(1024) {}

uint32_t MergedTree::Merge(const Piece& piece) {
  uint32_t index = static_cast<uint32_t>(pieces_.size());
  pieces_.push_back(piece);
  const bool opaque = piece.manifest->entry(0).opaque();
  if (index == 0 || opaque) {
    // An opaque root hides all that was merged before: its children are just not reached any more.
    if (nodes_.empty()) nodes_.emplace_back();
    nodes_[kRoot] = Node{.piece = index,
                         .touched_by = index,
                         .opaque = opaque && rules_ == Rules::kRun,
                         .children_piece = index};
    if (index > 0) {
      table_.assign(table_.size(), Slot{});
      nodes_.resize(1);
    }
    return index;
  }
  MergeDirectory(kRoot, index, 0);
  return index;
}

std::string MergedTree::Path(NodeId id) const {
  std::string path;
  for (NodeId at = id; at != kRoot; at = nodes_[at].parent) {
    if (!path.empty()) path.insert(0, "/");
    path.insert(0, name(at));
  }
  return path;
}

uint32_t MergedTree::HashOf(NodeId parent, std::string_view name) {
  return static_cast<uint32_t>(Xxh3Short(name, parent));
}

void MergedTree::Insert(NodeId id) {
  size_t slot = nodes_[id].hash & (table_.size() - 1);
  while (table_[slot].id != 0) slot = (slot + 1) & (table_.size() - 1);
  table_[slot] = {id, nodes_[id].hash};
}

MergedTree::NodeId MergedTree::Add(NodeId parent, uint32_t piece, uint32_t entry, bool opaque) {
  NodeId id = static_cast<NodeId>(nodes_.size());
  const ManifestEntry& e = pieces_[piece].manifest->entry(entry);
  nodes_.push_back({.piece = piece,
                    .entry = entry,
                    .parent = parent,
                    .touched_by = piece,
                    .hash = HashOf(parent, pieces_[piece].manifest->name(e)),
                    .opaque = opaque && rules_ == Rules::kRun,
                    .implicit = e.implicit(),
                    .children_piece = piece,
                    .children_entry = entry,
                    .next_sibling = nodes_[parent].first_child});
  nodes_[parent].first_child = id;
  if (nodes_.size() * 2 > table_.size()) {
    table_.assign(table_.size() * 2, Slot{});
    for (NodeId other = 1; other < nodes_.size(); ++other) {
      if (!nodes_[other].dead) Insert(other);
    }
  } else {
    Insert(id);
  }
  return id;
}

void MergedTree::Expand(NodeId directory) {
  if (nodes_[directory].expanded) return;
  nodes_[directory].expanded = true;
  const uint32_t piece = nodes_[directory].children_piece;
  const Manifest& manifest = *pieces_[piece].manifest;
  const ManifestEntry& e = manifest.entry(nodes_[directory].children_entry);
  // Backwards: each goes to the front of the list.
  for (uint32_t i = e.child_count; i-- > 0;) {
    const ManifestEntry& child = manifest.entry(e.first_child + i);
    if (child.type == EntryType::kWhiteout && rules_ != Rules::kRun) continue;
    Add(directory, piece, e.first_child + i, child.opaque());
  }
}

std::optional<MergedTree::NodeId> MergedTree::FindExpanded(NodeId directory,
                                                           std::string_view wanted) const {
  const uint32_t hash = HashOf(directory, wanted);
  for (size_t slot = hash & (table_.size() - 1);; slot = (slot + 1) & (table_.size() - 1)) {
    NodeId id = table_[slot].id;
    if (id == 0) return std::nullopt;
    if (table_[slot].hash != hash) continue;
    if (!nodes_[id].dead && nodes_[id].parent == directory && name(id) == wanted) return id;
  }
}

std::optional<MergedTree::NodeId> MergedTree::Find(NodeId directory, std::string_view wanted) {
  const Node& n = nodes_[directory];
  if (!n.expanded) {
    if (!pieces_[n.children_piece].manifest->Child(n.children_entry, wanted)) return std::nullopt;
    Expand(directory);
  }
  return FindExpanded(directory, wanted);
}

std::optional<MergedTree::NodeId> MergedTree::Lookup(std::string_view path) {
  NodeId at = kRoot;
  while (!path.empty()) {
    size_t slash = std::min(path.find('/'), path.size());
    if (type(at) != EntryType::kDirectory) return std::nullopt;
    auto child = Find(at, path.substr(0, slash));
    if (!child) return std::nullopt;
    at = *child;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return at;
}

bool MergedTree::HasChildren(NodeId directory) const {
  const Node& n = nodes_[directory];
  if (n.expanded) {
    for (NodeId child = n.first_child; child != 0; child = nodes_[child].next_sibling) {
      if (!nodes_[child].dead && type(child) != EntryType::kWhiteout) return true;
    }
    return false;
  }
  const Manifest& manifest = *pieces_[n.children_piece].manifest;
  const ManifestEntry& e = manifest.entry(n.children_entry);
  for (uint32_t i = 0; i < e.child_count; ++i) {
    if (manifest.entry(e.first_child + i).type != EntryType::kWhiteout) return true;
  }
  return false;
}

void MergedTree::MergeDirectory(NodeId id, uint32_t piece, uint32_t entry) {
  const ManifestEntry& e = pieces_[piece].manifest->entry(entry);
  Node& n = nodes_[id];
  n.touched_by = piece;
  ++n.count;
  if (!e.implicit() || rules_ == Rules::kOverlay || n.implicit) {
    n.piece = piece;
    n.entry = entry;
    n.implicit = e.implicit();
  } else if (!SameEntry(manifest(n), n.entry, *pieces_[piece].manifest, entry)) {
    implicit_hides_metadata_ = true;
  }
  if (e.child_count == 0) return;
  if (!n.expanded && pieces_[n.children_piece].manifest->entry(n.children_entry).child_count == 0) {
    n.children_piece = piece;
    n.children_entry = entry;
    return;
  }
  Expand(id);
  for (uint32_t i = 0; i < e.child_count; ++i) MergeChild(id, piece, e.first_child + i);
}

void MergedTree::MergeChild(NodeId directory, uint32_t piece, uint32_t entry) {
  const Manifest& manifest = *pieces_[piece].manifest;
  const ManifestEntry& e = manifest.entry(entry);
  std::optional<NodeId> existing = FindExpanded(directory, manifest.name(e));
  if (!existing) {
    if (e.type == EntryType::kWhiteout && rules_ != Rules::kRun) return;
    Add(directory, piece, entry, e.opaque());
    return;
  }
  const bool over_directory = type(*existing) == EntryType::kDirectory;
  if (e.is_directory() && over_directory && !e.opaque()) {
    MergeDirectory(*existing, piece, entry);
    return;
  }
  nodes_[*existing].dead = true;
  if (e.is_directory() != over_directory) mixed_ = true;
  if (e.type == EntryType::kWhiteout && rules_ != Rules::kRun) return;
  const Node replaced = nodes_[*existing];
  // A directory over anything but a directory shows nothing of what is further down either.
  NodeId id = Add(directory, piece, entry, e.is_directory());
  nodes_[id].count = replaced.count + 1;
  if (over_directory && e.implicit() && rules_ != Rules::kOverlay && !replaced.implicit) {
    // An opaque directory that nobody gave metadata: it hides the content of the other one only.
    Node& n = nodes_[id];
    n.piece = replaced.piece;
    n.entry = replaced.entry;
    n.implicit = false;
    implicit_hides_metadata_ = true;
  }
}

}  // namespace strata
