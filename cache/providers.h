// SPDX-License-Identifier: Apache-2.0
//
// What a segment remembers of the layers that it was made of (format.md, "Providers"): for each
// entry, whose it is and how many have it. So the root of a set that differs in a few layers is
// found without opening the manifests of all the others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cache/store.h"

namespace strata {

struct Provider {
  uint32_t layer = 0;  // whose entry shows, counted from the bottom: the topmost one that has it
  uint32_t count = 0;  // layers that have an entry at this path
};

struct Providers {
  struct Layer {
    uint32_t entries = 0;   // of its manifest
    uint32_t commands = 0;  // integration commands that it declares
  };
  std::vector<Layer> layers;      // bottom first
  std::vector<Provider> entries;  // one for each of the segment's manifest
};

std::string EncodeProviders(const Providers& providers);
// Nothing where these bytes are not what EncodeProviders writes.
std::optional<Providers> DecodeProviders(std::string_view bytes);

inline constexpr char kProvidersFile[] = "providers";
// Of "derived/NAME"; nothing where it has none, or a damaged one.
std::optional<Providers> ReadProviders(const Store& store, const std::string& path);
// What is wrong with it; empty where it has none, or a good one for a manifest of so many entries.
std::string CheckProviders(const Store& store, const std::string& path, size_t entries);

}  // namespace strata
