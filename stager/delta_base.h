// SPDX-License-Identifier: Apache-2.0
//
// Private to compose.cc: the cached roots that a new one could be a small difference of.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "stager/composition.h"

namespace strata {

struct DeltaBase {
  std::vector<std::string> lowers;  // its segments, bottom first
  uint64_t entries = 0;             // of the new set's layers
};

// The few best, best first: roots made of segments, whose layers leave at most 1/`part` of the
// set's entries outside the longest common ordered subsequence. Looks at the roots used last.
Result<std::vector<DeltaBase>> FindDeltaBases(const Store& store, const DependencySet& set,
                                              const std::vector<Member>& members, size_t part);

}  // namespace strata
