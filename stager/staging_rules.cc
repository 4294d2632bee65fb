// SPDX-License-Identifier: Apache-2.0
#include "stager/staging_rules.h"

#include <algorithm>
#include <deque>

#include "base/path.h"
#include "stager/effective_layer.h"

namespace strata {
namespace {

std::string Below(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.empty()) path += '/';
  path += name;
  return path;
}

// Component by component: what is below a directory comes right behind it.
bool ComesLater(const std::string& a, const std::string& b) {
  auto key = [](char c) { return c == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(c)); };
  return std::lexicographical_compare(b.begin(), b.end(), a.begin(), a.end(),
                                      [&](char x, char y) { return key(x) < key(y); });
}

// Layers that each write through a link into the one before go deeper than any of them is: further
// than a path can lead, and with enough of them further than a recursion may.
Result<void> CheckPaths(const Manifest& manifest) {
  constexpr size_t kLongestPath = 4095;
  std::vector<size_t> sizes(manifest.size());
  for (uint32_t i = 1; i < manifest.size(); ++i) {
    const ManifestEntry& e = manifest.entry(i);
    sizes[i] = sizes[e.parent] + (e.parent != 0 ? 1 : 0) + e.name_size;
    if (sizes[i] <= kLongestPath) continue;
    return Fail(Errc::kInvalid, "{}...: links lead to a path of {} bytes; {} is the limit",
                QuotePath("/" + manifest.Path(i).substr(0, 60)), sizes[i], kLongestPath);
  }
  return {};
}

}  // namespace

Result<void> StagingRules::Add(const Manifest& manifest, uint32_t source) {
  layer_ = static_cast<uint32_t>(tree_.pieces().size());
  Piece piece{.manifest = &manifest, .source = source};
  if (layer_ > 0 && !manifest.entry(0).opaque()) {
    redirects_.clear();
    links_.clear();
    skipped_.clear();
    FindRedirects(MergedTree::kRoot, manifest, 0, "");
    if (!redirects_.empty() || !skipped_.empty()) STRATA_TRY(Rewrite(&piece, redirects_));
    skipped_.clear();
    for (NodeId link : links_) {
      const UsedLink now{layer_, tree_.node(link).touched_by};
      auto [used, added] = used_links_.try_emplace(tree_.Path(link), now);
      if (!added && used->second.link != now.link) used->second = now;
    }
    FindConflicts(MergedTree::kRoot, *piece.manifest, 0, "");
    if (!skipped_.empty()) STRATA_TRY(Rewrite(&piece, {}));
    if (piece.origins != nullptr) ++rewritten_;
  }
  tree_.Merge(piece);
  return {};
}

// Nothing but directories that meet directories can lead to a link.
void StagingRules::FindRedirects(NodeId directory, const Manifest& layer, uint32_t entry,
                                 const std::string& path) {
  const ManifestEntry& e = layer.entry(entry);
  for (uint32_t i = 0; i < e.child_count; ++i) {
    const uint32_t child = e.first_child + i;
    const ManifestEntry& c = layer.entry(child);
    if (!c.is_directory()) continue;
    std::optional<NodeId> existing = tree_.Find(directory, layer.name(c));
    if (!existing) continue;
    const EntryType type = tree_.type(*existing);
    if (type == EntryType::kDirectory) {
      if (!c.opaque()) FindRedirects(*existing, layer, child, Below(path, layer.name(c)));
      continue;
    }
    if (type != EntryType::kSymlink) continue;
    std::optional<Resolved> resolved = Resolve(directory, tree_.target(*existing));
    if (!resolved) continue;
    std::string here = Below(path, layer.name(c));
    if (c.opaque()) {
      conflicts_.push_back(
          {Conflict::Kind::kOpaqueOverLink, here, tree_.node(*existing).touched_by, layer_});
      if (policy_ == ConflictPolicy::kSkip) skipped_.insert(child);
      continue;
    }
    links_.push_back(*existing);
    links_.insert(links_.end(), resolved->links.begin(), resolved->links.end());
    redirects_.push_back({child, here, tree_.Path(resolved->directory)});
    FindRedirects(resolved->directory, layer, child, here);
  }
}

std::optional<StagingRules::Resolved> StagingRules::Resolve(NodeId directory,
                                                            std::string_view target) {
  constexpr int kMaxLinks = 40;  // as the kernel
  Resolved resolved{directory, {}};
  std::deque<std::string> rest;
  auto push_front = [&](std::string_view text) {
    std::vector<std::string> parts;
    while (!text.empty()) {
      size_t slash = std::min(text.find('/'), text.size());
      if (slash > 0) parts.emplace_back(text.substr(0, slash));
      text.remove_prefix(std::min(slash + 1, text.size()));
    }
    rest.insert(rest.begin(), parts.begin(), parts.end());
  };
  if (target.starts_with('/')) resolved.directory = MergedTree::kRoot;
  push_front(target);
  while (!rest.empty()) {
    std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      resolved.directory = tree_.node(resolved.directory).parent;  // the root's is the root
      continue;
    }
    std::optional<NodeId> child = tree_.Find(resolved.directory, name);
    if (!child) return std::nullopt;
    switch (tree_.type(*child)) {
      case EntryType::kDirectory:
        resolved.directory = *child;
        break;
      case EntryType::kSymlink: {
        // The first link, whose target we were given, counts too.
        resolved.links.push_back(*child);
        if (resolved.links.size() >= kMaxLinks) return std::nullopt;
        std::string next(tree_.target(*child));
        if (next.starts_with('/')) resolved.directory = MergedTree::kRoot;
        push_front(next);
        break;
      }
      default:
        return std::nullopt;
    }
  }
  return resolved;
}

void StagingRules::FindConflicts(NodeId directory, const Manifest& layer, uint32_t entry,
                                 const std::string& path) {
  const ManifestEntry& e = layer.entry(entry);
  for (uint32_t i = 0; i < e.child_count; ++i) {
    const uint32_t child = e.first_child + i;
    const ManifestEntry& c = layer.entry(child);
    if (c.type == EntryType::kWhiteout) continue;
    std::optional<NodeId> existing = tree_.Find(directory, layer.name(c));
    if (!existing) continue;
    if (!c.is_directory()) {
      CheckNonDirectory(*existing, layer, child, path);
    } else if (tree_.type(*existing) == EntryType::kDirectory) {
      if (!c.opaque()) FindConflicts(*existing, layer, child, Below(path, layer.name(c)));
    } else if (collect_overlaps_) {
      NoteOverlap(*existing, layer, child, Below(path, layer.name(c)));
    }
  }
}

void StagingRules::CheckNonDirectory(NodeId existing, const Manifest& layer, uint32_t entry,
                                     const std::string& path) {
  const MergedTree::Node& n = tree_.node(existing);
  const EntryType type = tree_.type(existing);
  if (type == EntryType::kDirectory) {
    if (!tree_.HasChildren(existing)) return;
    conflicts_.push_back({Conflict::Kind::kOverDirectory,
                          Below(path, layer.name(layer.entry(entry))), n.touched_by, layer_});
    if (policy_ == ConflictPolicy::kSkip) skipped_.insert(entry);
    return;
  }
  if (type == EntryType::kSymlink && !used_links_.empty()) {
    std::string here = Below(path, layer.name(layer.entry(entry)));
    auto used = used_links_.find(here);
    if (used == used_links_.end() || used->second.link != n.touched_by) {
      // Never used, or another link that is gone.
    } else if (SameEntry(tree_.manifest(n), n.entry, layer, entry)) {
      used->second.link = layer_;
    } else if (used->second.layer < layer_) {
      conflicts_.push_back({Conflict::Kind::kOverUsedLink, here, used->second.layer, layer_});
      if (policy_ == ConflictPolicy::kSkip) {
        skipped_.insert(entry);
        return;
      }
    }
  }
  if (collect_overlaps_) {
    NoteOverlap(existing, layer, entry, Below(path, layer.name(layer.entry(entry))));
  }
}

void StagingRules::NoteOverlap(NodeId existing, const Manifest& layer, uint32_t entry,
                               const std::string& path) {
  const MergedTree::Node& n = tree_.node(existing);
  Overlap& overlap = overlaps_[path];
  if (overlap.layers.empty() || overlap.layers.back() != n.touched_by) {
    // Anew, or something in between took away what there was.
    overlap = {.path = path, .layers = {n.touched_by}};
  }
  overlap.layers.push_back(layer_);
  overlap.identical &= SameEntry(tree_.manifest(n), n.entry, layer, entry);
}

std::vector<Overlap> StagingRules::TakeOverlaps() {
  std::vector<Overlap> overlaps;
  for (auto& [path, overlap] : overlaps_) overlaps.push_back(std::move(overlap));
  overlaps_.clear();
  std::sort(overlaps.begin(), overlaps.end(),
            [](const Overlap& a, const Overlap& b) { return a.path < b.path; });
  return overlaps;
}

Result<void> StagingRules::Rewrite(Piece* piece, const std::vector<Redirect>& redirects) {
  EffectiveLayerBuilder builder(*piece, skipped_);
  // The later path wins: it comes first, and what is there stays.
  std::vector<Redirect> ordered = redirects;
  std::sort(ordered.begin(), ordered.end(),
            [](const Redirect& a, const Redirect& b) { return ComesLater(a.path, b.path); });
  for (const Redirect& redirect : ordered) builder.MarkRedirected(redirect.entry);
  builder.AddOwn();
  for (const Redirect& redirect : ordered) builder.AddRedirected(redirect.entry, redirect.target);
  STRATA_ASSIGN(EffectiveLayer layer, std::move(builder).Finish());
  STRATA_TRY(CheckPaths(layer.manifest));
  owned_.push_back(std::make_unique<EffectiveLayer>(std::move(layer)));
  piece->manifest = &owned_.back()->manifest;
  piece->origins = &owned_.back()->origins;
  return {};
}

std::string Describe(const Conflict& conflict, const std::string& lower, const std::string& upper) {
  std::string path = QuotePath("/" + conflict.path);
  switch (conflict.kind) {
    case Conflict::Kind::kOverDirectory:
      return fmt::format("{}: {} has something else where {} has a directory that is not empty",
                         path, upper, lower);
    case Conflict::Kind::kOverUsedLink:
      return fmt::format("{}: {} has something else where {} writes through a link", path, upper,
                         lower);
    case Conflict::Kind::kOpaqueOverLink:
      return fmt::format("{}: {} hides (opaque) what the link of {} leads to", path, upper, lower);
  }
  return path;
}

}  // namespace strata
