// SPDX-License-Identifier: Apache-2.0
//
// Private to staging_rules.cc: writes the tree of a layer anew, with some entries left out and the children of
// some directories elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "cache/manifest.h"
#include "stager/staging_rules.h"

namespace strata {

class EffectiveLayerBuilder {
 public:
  // `skipped`: entries of the piece's manifest that are left out, with all below.
  EffectiveLayerBuilder(const Piece& piece, const std::unordered_set<uint32_t>& skipped)
      : piece_(piece), manifest_(*piece.manifest), skipped_(skipped) {}

  // Neither AddOwn nor AddRedirected goes into a redirected directory from above.
  void MarkRedirected(uint32_t entry) { redirected_.insert(entry); }
  // Everything that stays where it is.
  void AddOwn() { AddChildren(0, ManifestBuilder::kRoot); }
  // What is below the directory `entry` goes to `target`, where it yields to what is there.
  void AddRedirected(uint32_t entry, std::string_view target);
  Result<EffectiveLayer> Finish() &&;

 private:
  using Node = ManifestBuilder::Node;
  // Where two meet, a whiteout yields to anything, and of two others the one that comes later does.
  void AddChildren(uint32_t entry, Node directory);
  void AddChild(uint32_t entry, Node directory);
  void Fill(Node node, uint32_t entry);

  const Piece& piece_;
  const Manifest& manifest_;
  const std::unordered_set<uint32_t>& skipped_;
  std::unordered_set<uint32_t> redirected_;
  ManifestBuilder builder_;
  std::unordered_map<Node, uint32_t> entries_;        // of nodes that have one
  std::unordered_map<uint32_t, Node> group_leaders_;  // by the leader's entry
};

// What a manifest says about one entry, for another manifest; without its hardlink group.
ManifestBuilder::Data DataOf(const Manifest& manifest, const ManifestEntry& entry);

}  // namespace strata
