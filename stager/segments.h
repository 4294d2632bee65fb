// SPDX-License-Identifier: Apache-2.0
//
// How a long chain is cut into segments, so that chains which share runs of layers cut them alike; and which
// chain another one is closest to. Plain functions on ids and weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"

namespace strata {

struct ChainLink {
  Digest id;           // of the effective layer
  uint64_t weight = 0;  // entries
  bool alone = false;   // never flattened together with others
};

struct ChainRange {
  size_t begin = 0;
  size_t end = 0;  // one behind the last
  bool operator==(const ChainRange&) const = default;
};

// At most `max_ranges` ranges (more only where links that stand alone force them), bottom first. The
// heaviest one is cut until there are enough: before the link with the smallest id among the places that
// leave at least a quarter of the weight on each side, else at the most even place.
std::vector<ChainRange> CutChain(std::span<const ChainLink> chain, size_t max_ranges);

// What lies at the bottom hides nothing: it needs no marks, and is another tree without them.
enum class RunPlace { kBottom, kAbove };
// The name, in derived/, of a run of effective layers that is flattened.
std::string SegmentName(std::span<const Digest> ids, RunPlace place);

// The longest ordered subsequence that both have: for each element of `chain`, whether it belongs to it. Each
// id occurs at most once in a chain.
std::vector<bool> CommonSubsequence(std::span<const Digest> chain, std::span<const Digest> other);

}  // namespace strata
