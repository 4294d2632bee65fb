// SPDX-License-Identifier: Apache-2.0
#include "stager/effective_layer.h"

#include <algorithm>

namespace strata {

ManifestBuilder::Data DataOf(const Manifest& manifest, const ManifestEntry& e) {
  ManifestBuilder::Data data;
  data.type = e.type;
  data.flags = e.flags;
  data.mode = e.mode;
  data.uid = e.uid;
  data.gid = e.gid;
  data.mtime_sec = e.mtime_sec;
  data.mtime_nsec = e.mtime_nsec;
  data.size = e.size;
  data.digest = e.digest;
  if (e.target_size > 0) data.target = manifest.target(e);
  if (e.xattrs_size > 0) data.xattrs = manifest.xattrs(e);
  return data;
}

void EffectiveLayerBuilder::Fill(Node node, uint32_t entry) {
  const ManifestEntry& e = manifest_.entry(entry);
  builder_.At(node) = DataOf(manifest_, e);
  entries_[node] = entry;
  if (e.hardlink == kNoEntry) return;
  auto [leader, first] = group_leaders_.try_emplace(e.hardlink, node);
  if (!first) builder_.At(node).hardlink_to = leader->second;
}

void EffectiveLayerBuilder::AddChildren(uint32_t entry, Node directory) {
  const ManifestEntry& e = manifest_.entry(entry);
  for (uint32_t i = 0; i < e.child_count; ++i) AddChild(e.first_child + i, directory);
}

void EffectiveLayerBuilder::AddChild(uint32_t entry, Node directory) {
  if (skipped_.contains(entry) || redirected_.contains(entry)) return;
  const ManifestEntry& e = manifest_.entry(entry);
  std::optional<Node> existing = builder_.Find(directory, manifest_.name(e));
  if (!existing) {
    Node node = builder_.Add(directory, manifest_.name(e));
    Fill(node, entry);
    if (e.is_directory()) AddChildren(entry, node);
    return;
  }
  if (e.type == EntryType::kWhiteout) {
    ManifestBuilder::Data& data = builder_.At(*existing);
    if (data.type == EntryType::kDirectory) data.flags |= kOpaque;
    return;
  }
  if (builder_.At(*existing).type == EntryType::kWhiteout) {
    // Nothing links to a whiteout, so it can become something else where it stands.
    Fill(*existing, entry);
    if (e.is_directory()) {
      builder_.At(*existing).flags |= kOpaque;
      AddChildren(entry, *existing);
    }
    return;
  }
  if (!e.is_directory() || builder_.At(*existing).type != EntryType::kDirectory) return;
  ManifestBuilder::Data& data = builder_.At(*existing);
  if ((data.flags & kImplicit) != 0 && !e.implicit()) {
    const uint8_t opaque = data.flags & kOpaque;
    Fill(*existing, entry);
    builder_.At(*existing).flags |= opaque;
  } else if (e.opaque()) {
    data.flags |= kOpaque;
  }
  AddChildren(entry, *existing);
}

void EffectiveLayerBuilder::AddRedirected(uint32_t entry, std::string_view target) {
  Node directory = ManifestBuilder::kRoot;
  while (!target.empty()) {
    size_t slash = std::min(target.find('/'), target.size());
    std::string_view name = target.substr(0, slash);
    target.remove_prefix(std::min(slash + 1, target.size()));
    std::optional<Node> existing = builder_.Find(directory, name);
    if (!existing || builder_.At(*existing).type == EntryType::kWhiteout) {
      Node node = existing ? *existing : builder_.Add(directory, name);
      ManifestBuilder::Data data;
      data.type = EntryType::kDirectory;
      data.flags = static_cast<uint8_t>(kImplicit | (existing ? kOpaque : 0));
      builder_.At(node) = data;
      directory = node;
    } else if (builder_.At(*existing).type != EntryType::kDirectory) {
      return;  // an own entry that is no directory wins
    } else {
      directory = *existing;
    }
  }
  AddChildren(entry, directory);
}

Result<EffectiveLayer> EffectiveLayerBuilder::Finish() && {
  for (const std::string& command : manifest_.integration_commands()) {
    builder_.AddIntegrationCommand(command);
  }
  builder_.At(ManifestBuilder::kRoot).flags = manifest_.entry(0).flags & kOpaque;
  std::vector<Node> order;
  STRATA_ASSIGN(std::vector<uint8_t> bytes, builder_.Finish(&order));
  STRATA_ASSIGN(Manifest manifest, Manifest::FromBytes(std::move(bytes)));
  EffectiveLayer layer{std::move(manifest), {}};
  layer.origins.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    auto entry = entries_.find(order[i]);
    if (entry != entries_.end()) layer.origins[i] = piece_.OriginOf(entry->second);
  }
  return layer;
}

}  // namespace strata
