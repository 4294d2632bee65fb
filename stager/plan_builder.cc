// SPDX-License-Identifier: Apache-2.0
#include "stager/plan_builder.h"

#include <algorithm>
#include <bitset>

#include "stager/effective_layer.h"

namespace strata {

PlanBuilder::FileId PlanBuilder::IdOf(const Piece& piece, uint32_t entry) const {
  const TreePlan::Origin origin = piece.OriginOf(entry);
  const uint32_t leader = sources_[origin.source].manifest->entry(origin.entry).hardlink;
  return {origin.source, leader == kNoEntry ? origin.entry : leader};
}

void PlanBuilder::Note(Node node, const Piece& piece, uint32_t count) {
  providers_.resize(std::max<size_t>(providers_.size(), node + 1), {0, 1});
  providers_[node] = {piece.source, count};
}

void PlanBuilder::AddFile(Node directory, const Piece& piece, uint32_t entry, uint32_t count) {
  const Manifest& manifest = *piece.manifest;
  const ManifestEntry& e = manifest.entry(entry);
  Node node = builder_.Add(directory, manifest.name(e));
  builder_.At(node) = DataOf(manifest, e);
  Note(node, piece, count);
  if (e.type == EntryType::kWhiteout) return;
  origins_.resize(std::max<size_t>(origins_.size(), node + 1));
  origins_[node] = piece.OriginOf(entry);
  if (e.hardlink == kNoEntry) return;
  auto [first, is_first] = files_.try_emplace(IdOf(piece, entry), node);
  if (!is_first) builder_.At(node).hardlink_to = first->second;
}

std::set<uint32_t> PlanBuilder::SourcesOfGroups() const {
  std::set<uint32_t> sources;
  for (const auto& [id, node] : files_) sources.insert(id.first);
  return sources;
}

std::set<Digest> PlanBuilder::Contents() const {
  std::set<Digest> contents;
  for (Node node = 0; node < origins_.size(); ++node) {
    if (origins_[node].source != TreePlan::kNone) contents.insert(builder_.At(node).digest);
  }
  return contents;
}

PlanBuilder::Node PlanBuilder::AddDirectory(Node directory, const Piece& piece, uint32_t entry,
                                            bool opaque, bool implicit, uint32_t count) {
  const Manifest& manifest = *piece.manifest;
  const ManifestEntry& e = manifest.entry(entry);
  Node node = builder_.Add(directory, manifest.name(e));
  ManifestBuilder::Data data = DataOf(manifest, e);
  data.flags = static_cast<uint8_t>((opaque ? kOpaque : 0) | (implicit ? kImplicit : 0));
  builder_.At(node) = std::move(data);
  Note(node, piece, count);
  return node;
}

void PlanBuilder::AddWhiteout(Node directory, std::string_view name) {
  builder_.At(builder_.Add(directory, name)).type = EntryType::kWhiteout;
}

void PlanBuilder::AddBelow(Node directory, const Piece& piece, uint32_t entry, bool marks) {
  const Manifest& manifest = *piece.manifest;
  const ManifestEntry& e = manifest.entry(entry);
  for (uint32_t i = 0; i < e.child_count; ++i) {
    const uint32_t child = e.first_child + i;
    const ManifestEntry& c = manifest.entry(child);
    if (c.type == EntryType::kWhiteout && !marks) continue;
    if (c.is_directory()) {
      Node node = AddDirectory(directory, piece, child, c.opaque() && marks, c.implicit());
      AddBelow(node, piece, child, marks);
    } else {
      AddFile(directory, piece, child);
    }
  }
}

void PlanBuilder::AddBelow(Node directory, MergedTree& tree, MergedTree::NodeId id) {
  const bool marks = tree.rules() == MergedTree::Rules::kRun;
  if (!tree.node(id).expanded) {
    const MergedTree::Node& n = tree.node(id);
    AddBelow(directory, tree.pieces()[n.children_piece], n.children_entry, marks);
    return;
  }
  tree.ForEachChild(id, [&](MergedTree::NodeId child) {
    const MergedTree::Node& n = tree.node(child);
    if (tree.type(child) != EntryType::kDirectory) {
      AddFile(directory, tree.piece(n), n.entry, n.count);
      return;
    }
    AddBelow(AddDirectory(directory, tree.piece(n), n.entry, n.opaque, n.implicit, n.count), tree,
             child);
  });
}

Result<TreePlan> PlanBuilder::Finish() {
  std::vector<Node> order;
  STRATA_ASSIGN(std::vector<uint8_t> bytes, builder_.Finish(&order));
  STRATA_ASSIGN(Manifest manifest, Manifest::FromBytes(std::move(bytes)));
  TreePlan plan{std::move(manifest), sources_, {}, {}};
  plan.origins.resize(order.size());
  plan.providers.resize(order.size(), {0, 1});
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] < origins_.size()) plan.origins[i] = origins_[order[i]];
    if (order[i] < providers_.size()) plan.providers[i] = providers_[order[i]];
  }
  return plan;
}

Result<TreePlan> PlanTree(MergedTree& tree, const std::vector<PlanSource>& sources) {
  PlanBuilder builder(sources);
  if (tree.node(MergedTree::kRoot).opaque) {
    builder.builder().At(ManifestBuilder::kRoot).flags = kOpaque;
  }
  builder.AddBelow(ManifestBuilder::kRoot, tree, MergedTree::kRoot);
  return builder.Finish();
}

namespace {

class DeltaPlanner {
 public:
  DeltaPlanner(MergedTree& wanted, MergedTree& shown, const std::vector<PlanSource>& sources)
      : wanted_(wanted), shown_(shown), plan_(sources) {
    for (const Piece& piece : shown.pieces()) shown_manifests_.insert(piece.manifest);
    for (const Piece& piece : wanted.pieces()) wanted_manifests_.insert(piece.manifest);
  }

  void Compare() {
    made_ = {{MergedTree::kRoot, ManifestBuilder::kRoot}};
    CompareDirectories(MergedTree::kRoot, MergedTree::kRoot);
    AddDoubtful();
    AddLone();
    CompleteGroups();
  }
  void Repeat(const std::string& path) {
    std::optional<NodeId> id = wanted_.Lookup(path);
    if (id && wanted_.type(*id) == EntryType::kDirectory) Made(*id);
  }
  Result<TreePlan> Finish() { return plan_.Finish(); }

 private:
  using NodeId = MergedTree::NodeId;
  using Node = ManifestBuilder::Node;
  using FileId = PlanBuilder::FileId;

  // Names that show the right entry, but perhaps not of the right file where hard links matter.
  struct Doubtful {
    NodeId wanted;
    FileId wanted_file;
    FileId shown_file;  // counts pieces of shown_, not sources
  };

  // A name in a directory of wanted_ that shows the right entry, of a file without hard links.
  struct Lone {
    NodeId directory;
    std::string_view name;
    Digest digest;
  };

  // The delta's directory for one of the wanted tree, with those above it.
  Node Made(NodeId id) {
    auto made = made_.find(id);
    if (made != made_.end()) return made->second;
    const MergedTree::Node n = wanted_.node(id);
    Node parent = Made(n.parent);
    // It may have come with a directory above it.
    std::optional<Node> there = plan_.builder().Find(parent, wanted_.name(id));
    Node node =
        there ? *there : plan_.AddDirectory(parent, wanted_.piece(n), n.entry, false, false);
    made_.emplace(id, node);
    return node;
  }

  void AddWhole(NodeId id, bool opaque) {
    const MergedTree::Node n = wanted_.node(id);
    Node parent = Made(n.parent);
    if (wanted_.type(id) != EntryType::kDirectory) {
      plan_.AddFile(parent, wanted_.piece(n), n.entry);
      return;
    }
    Node node = plan_.AddDirectory(parent, wanted_.piece(n), n.entry, opaque, false);
    made_.emplace(id, node);
    plan_.AddBelow(node, wanted_, id);
  }

  bool SameSubtree(NodeId wanted, NodeId shown) const {
    const MergedTree::Node& w = wanted_.node(wanted);
    const MergedTree::Node& s = shown_.node(shown);
    return !w.expanded && !s.expanded && w.children_entry == s.children_entry &&
           wanted_.pieces()[w.children_piece].manifest ==
               shown_.pieces()[s.children_piece].manifest;
  }

  bool SameNode(NodeId wanted, NodeId shown) const {
    const MergedTree::Node& w = wanted_.node(wanted);
    const MergedTree::Node& s = shown_.node(shown);
    return SameEntry(wanted_.manifest(w), w.entry, shown_.manifest(s), s.entry);
  }

  // Directories with nothing but files in them that neither tree had to look into: their lists are
  // compared as they stand, without making nodes. False where anything else has to be done about
  // them.
  bool SameFiles(NodeId wanted, NodeId shown) {
    const MergedTree::Node& w = wanted_.node(wanted);
    const MergedTree::Node& s = shown_.node(shown);
    if (w.expanded || s.expanded) return false;
    const Manifest& a = *wanted_.pieces()[w.children_piece].manifest;
    const Manifest& b = *shown_.pieces()[s.children_piece].manifest;
    const ManifestEntry& x = a.entry(w.children_entry);
    const ManifestEntry& y = b.entry(s.children_entry);
    if (x.child_count != y.child_count) return false;
    const size_t lone = lone_.size();
    for (uint32_t i = 0; i < x.child_count; ++i) {
      const ManifestEntry& e = a.entry(x.first_child + i);
      const ManifestEntry& f = b.entry(y.first_child + i);
      if (e.is_directory() || e.type == EntryType::kWhiteout || e.hardlink != kNoEntry ||
          f.hardlink != kNoEntry || a.name(e) != b.name(f) ||
          !SameEntry(a, x.first_child + i, b, y.first_child + i)) {
        lone_.resize(lone);
        return false;
      }
      if (e.type == EntryType::kFile) lone_.push_back({wanted, a.name(e), e.digest});
    }
    return true;
  }

  void CompareDirectories(NodeId wanted, NodeId shown) {
    if (wanted != MergedTree::kRoot && !SameNode(wanted, shown)) Made(wanted);
    if (SameSubtree(wanted, shown) || SameFiles(wanted, shown)) return;
    size_t missing = 0;
    shown_.ForEachChild(shown, [&](NodeId) { ++missing; });
    wanted_.ForEachChild(wanted, [&](NodeId child) {
      std::optional<NodeId> other = shown_.Find(shown, wanted_.name(child));
      const bool directory = wanted_.type(child) == EntryType::kDirectory;
      if (other) --missing;
      if (!other) {
        AddWhole(child, false);
      } else if (directory != (shown_.type(*other) == EntryType::kDirectory)) {
        AddWhole(child, directory);
      } else if (directory) {
        CompareDirectories(child, *other);
      } else {
        CompareFiles(child, *other);
      }
    });
    if (missing == 0) return;
    shown_.ForEachChild(shown, [&](NodeId child) {
      if (!wanted_.Find(wanted, shown_.name(child))) {
        plan_.AddWhiteout(Made(wanted), shown_.name(child));
      }
    });
  }

  void CompareFiles(NodeId wanted, NodeId shown) {
    if (!SameNode(wanted, shown)) {
      AddWhole(wanted, false);
      return;
    }
    const MergedTree::Node& w = wanted_.node(wanted);
    const MergedTree::Node& s = shown_.node(shown);
    const bool same = w.entry == s.entry && &wanted_.manifest(w) == &shown_.manifest(s);
    const uint32_t leader = shown_.entry(s).hardlink;
    if (same) return;
    if (wanted_.entry(w).hardlink == kNoEntry && leader == kNoEntry) {
      if (wanted_.type(wanted) == EntryType::kFile) {
        lone_.push_back({w.parent, wanted_.name(wanted), wanted_.entry(w).digest});
      }
      return;
    }
    if (shown_manifests_.contains(&wanted_.manifest(w)) ||
        (leader != kNoEntry && wanted_manifests_.contains(&shown_.manifest(s)))) {
      // Other names of the one group or of the other may show from the layer itself, where nothing
      // was compared.
      AddWhole(wanted, false);
      return;
    }
    doubtful_.push_back({wanted,
                         plan_.IdOf(wanted_.piece(w), w.entry),
                         {s.piece, leader == kNoEntry ? s.entry : leader}});
  }

  // A group of hard links is right as it is only if it shows one file, which no other group shows,
  // and none of its names had to be added.
  void AddDoubtful() {
    std::map<FileId, std::set<FileId>> shown_of, wanted_of;
    for (const Doubtful& d : doubtful_) {
      shown_of[d.wanted_file].insert(d.shown_file);
      wanted_of[d.shown_file].insert(d.wanted_file);
    }
    std::set<FileId> wrong;
    for (const Doubtful& d : doubtful_) {
      if (plan_.Has(d.wanted_file) || shown_of[d.wanted_file].size() > 1 ||
          wanted_of[d.shown_file].size() > 1) {
        wrong.insert(d.wanted_file);
      }
    }
    for (const Doubtful& d : doubtful_) {
      if (wrong.contains(d.wanted_file)) AddWhole(d.wanted, false);
    }
  }

  // What shows there is as it should be, but a file of another layer; which may be the very one
  // that the delta has elsewhere.
  void AddLone() {
    if (lone_.empty()) return;
    const std::set<Digest> contents = plan_.Contents();
    // Most are not among them, and a few bits tell.
    auto bits = [](const Digest& digest) { return digest.bytes[0] << 8 | digest.bytes[1]; };
    std::bitset<1 << 16> some;
    for (const Digest& digest : contents) some.set(bits(digest));
    for (const Lone& lone : lone_) {
      if (!some.test(bits(lone.digest)) || !contents.contains(lone.digest)) continue;
      AddWhole(wanted_.Find(lone.directory, lone.name).value(), false);
    }
  }

  // All the names of a file, or none: what reads the manifests alone (a copy of the root, a
  // capture) could not tell that one in the delta and one below it are the same.
  void CompleteGroups() {
    const std::set<uint32_t> sources = plan_.SourcesOfGroups();
    for (uint32_t i = 0; i < wanted_.pieces().size(); ++i) {
      const Piece& piece = wanted_.pieces()[i];
      if (!sources.contains(piece.source)) continue;
      for (uint32_t entry = 1; entry < piece.manifest->size(); ++entry) {
        if (piece.manifest->entry(entry).hardlink == kNoEntry ||
            !plan_.Has(plan_.IdOf(piece, entry))) {
          continue;
        }
        std::optional<NodeId> id = wanted_.Lookup(piece.manifest->Path(entry));
        if (!id || wanted_.node(*id).piece != i || wanted_.node(*id).entry != entry) continue;
        Node parent = Made(wanted_.node(*id).parent);
        if (!plan_.builder().Find(parent, wanted_.name(*id))) AddWhole(*id, false);
      }
    }
  }

  MergedTree& wanted_;
  MergedTree& shown_;
  PlanBuilder plan_;
  std::map<NodeId, Node> made_;
  std::set<const Manifest*> shown_manifests_;
  std::set<const Manifest*> wanted_manifests_;
  std::vector<Doubtful> doubtful_;
  std::vector<Lone> lone_;
};

}  // namespace

Result<TreePlan> PlanDelta(MergedTree& wanted, MergedTree& shown,
                           const std::vector<std::string>& also,
                           const std::vector<PlanSource>& sources) {
  DeltaPlanner planner(wanted, shown, sources);
  planner.Compare();
  for (const std::string& path : also) planner.Repeat(path);
  return planner.Finish();
}

}  // namespace strata
