// SPDX-License-Identifier: Apache-2.0
#include "stager/lower_chain.h"

#include <algorithm>

namespace strata {

LowerChain::Merged LowerChain::Root() const {
  Merged root;
  for (size_t layer = layers_.size(); layer-- > 0;) {
    root.places.push_back({layer, 0});
    if (layers_[layer]->entry(0).opaque()) break;
  }
  return root;
}

std::optional<LowerChain::Merged> LowerChain::Child(const Merged& directory,
                                                    std::string_view name) const {
  Merged merged;
  for (const Place& place : directory.places) {
    std::optional<uint32_t> child = manifest(place).Child(place.entry, name);
    if (!child) continue;
    const Place found{place.layer, *child};
    const ManifestEntry& e = entry(found);
    if (e.type == EntryType::kWhiteout) break;
    if (!e.is_directory() && !merged.places.empty()) break;  // a directory above hides it
    merged.places.push_back(found);
    if (!e.is_directory() || e.opaque()) break;
  }
  if (merged.places.empty()) return std::nullopt;
  return merged;
}

std::optional<LowerChain::Merged> LowerChain::Lookup(std::string_view path) const {
  std::optional<Merged> at = Root();
  while (at && !path.empty()) {
    size_t slash = path.find('/');
    at = Child(*at, path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return at;
}

bool LowerChain::HasVisibleChildren(const Merged& directory) const {
  for (auto place = directory.places.begin(); place != directory.places.end(); ++place) {
    const ManifestEntry& d = entry(*place);
    if (uint64_t{d.first_child} + d.child_count > manifest(*place).size()) continue;  // damaged
    for (uint32_t i = 0; i < d.child_count; ++i) {
      const Place child{place->layer, d.first_child + i};
      if (entry(child).type == EntryType::kWhiteout) continue;
      // Only whiteouts can stand above it: anything else would have been visible itself.
      std::string_view name = manifest(child).name(entry(child));
      if (std::none_of(directory.places.begin(), place, [&](const Place& above) {
            return manifest(above).Child(above.entry, name).has_value();
          })) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace strata
