// SPDX-License-Identifier: Apache-2.0
//
// Private to compose.cc and quick_delta.cc: the cached roots that a new one could be a small difference of.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "stager/composition.h"

namespace strata {

// A root made of segments, by the same policy, and what its set has in common with ours.
struct NearRoot {
  RootKey key;
  std::vector<std::string> lowers;  // its segments, bottom first
  std::vector<bool> common;         // of our items: the longest ordered subsequence of both
  size_t shared = 0;                // items in it
  size_t only_there = 0;            // items that only the other one has
};

// Among the roots used last, that one first. None is leased any more.
Result<std::vector<NearRoot>> FindNearRoots(const Store& store, const DependencySet& set);

struct DeltaBase {
  std::vector<std::string> lowers;  // its segments, bottom first
  uint64_t entries = 0;             // of the new set's layers
};

// The few best, best first: those whose layers leave at most 1/`part` of the set's entries outside what is
// common.
std::vector<DeltaBase> FindDeltaBases(const std::vector<NearRoot>& roots,
                                      const std::vector<Member>& members, size_t part);

// Entries outside what is common. Layers that only the other one has must be undone; they weigh what ours do
// on average.
uint64_t EntriesOutside(const NearRoot& root, const std::vector<uint32_t>& entries_of_items);

}  // namespace strata
