// SPDX-License-Identifier: Apache-2.0
//
// LowerChain: what a stack of layers shows, worked out from their manifests alone, by overlayfs's own
// rules: the topmost entry wins, directories merge, a whiteout or a non-directory hides what is below
// it, an opaque directory merges with nothing below it. Links are not followed.
//
// Does not own the manifests. Immutable, safe to use from several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/manifest.h"

namespace strata {

class LowerChain {
 public:
  explicit LowerChain(std::vector<const Manifest*> bottom_first) : layers_(std::move(bottom_first)) {}

  struct Place {
    size_t layer;    // index into the chain, bottom first
    uint32_t entry;  // in that layer's manifest
  };
  // An entry of the merged tree: its places, the topmost (whose metadata shows) first. More than one
  // only for a directory that merges several.
  struct Merged {
    std::vector<Place> places;
    const Place& top() const { return places.front(); }
  };

  Merged Root() const;  // of an empty chain: no places
  // `directory` may be anything: what is no directory has no children.
  std::optional<Merged> Child(const Merged& directory, std::string_view name) const;
  std::optional<Merged> Lookup(std::string_view path) const;  // "usr/bin/cc"; "" is the root
  // Whether the merged directory shows any entry at all.
  bool HasVisibleChildren(const Merged& directory) const;

  const Manifest& manifest(const Place& place) const { return *layers_[place.layer]; }
  const ManifestEntry& entry(const Place& place) const {
    return layers_[place.layer]->entry(place.entry);
  }
  size_t size() const { return layers_.size(); }

 private:
  std::vector<const Manifest*> layers_;
};

}  // namespace strata
