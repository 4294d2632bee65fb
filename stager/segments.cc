// SPDX-License-Identifier: Apache-2.0
#include "stager/segments.h"

#include <algorithm>
#include <unordered_map>

namespace strata {
namespace {

uint64_t Weight(std::span<const ChainLink> chain, const ChainRange& range) {
  uint64_t weight = 0;
  for (size_t i = range.begin; i < range.end; ++i) weight += chain[i].weight;
  return weight;
}

// Where to cut a range of two or more links.
size_t PlaceToCut(std::span<const ChainLink> chain, const ChainRange& range) {
  const uint64_t total = Weight(chain, range);
  uint64_t left = 0;
  size_t smallest = range.end;
  size_t most_even = range.begin + 1;
  uint64_t lightest = UINT64_MAX;  // of the heavier sides
  for (size_t at = range.begin + 1; at < range.end; ++at) {
    left += chain[at - 1].weight;
    const uint64_t right = total - left;
    if (std::max(left, right) < lightest) {
      lightest = std::max(left, right);
      most_even = at;
    }
    if (std::min(left, right) * 4 < total) continue;
    if (smallest == range.end || chain[at].id < chain[smallest].id) smallest = at;
  }
  return smallest == range.end ? most_even : smallest;
}

}  // namespace

std::vector<ChainRange> CutChain(std::span<const ChainLink> chain, size_t max_ranges) {
  std::vector<ChainRange> ranges;
  for (size_t i = 0; i < chain.size(); ++i) {
    const bool joins = !ranges.empty() && !chain[i].alone && !chain[i - 1].alone;
    if (joins) {
      ranges.back().end = i + 1;
    } else {
      ranges.push_back({i, i + 1});
    }
  }
  while (ranges.size() < max_ranges) {
    size_t heaviest = ranges.size();
    uint64_t weight = 0;
    for (size_t i = 0; i < ranges.size(); ++i) {
      if (ranges[i].end - ranges[i].begin < 2) continue;
      const uint64_t w = Weight(chain, ranges[i]);
      if (heaviest == ranges.size() || w > weight) {
        heaviest = i;
        weight = w;
      }
    }
    if (heaviest == ranges.size()) break;
    const size_t at = PlaceToCut(chain, ranges[heaviest]);
    const ChainRange right{at, ranges[heaviest].end};
    ranges[heaviest].end = at;
    ranges.insert(ranges.begin() + static_cast<ptrdiff_t>(heaviest) + 1, right);
  }
  return ranges;
}

std::string SegmentName(std::span<const Digest> ids, RunPlace place) {
  Sha256 hash;
  constexpr std::string_view kKind = "strata segment 1";
  hash.Update(kKind.data(), kKind.size());
  hash.Update(place == RunPlace::kBottom ? "b" : "r", 1);
  for (const Digest& id : ids) hash.Update(id.bytes.data(), id.bytes.size());
  return "segment-" + hash.Finish().Hex();
}

std::vector<bool> CommonSubsequence(std::span<const Digest> chain, std::span<const Digest> other) {
  // As no id occurs twice, this is the longest increasing subsequence of the places in `other`.
  std::unordered_map<Digest, size_t> place;
  for (size_t i = 0; i < other.size(); ++i) place.emplace(other[i], i);
  constexpr size_t kNone = SIZE_MAX;
  std::vector<size_t> tails;  // index into chain of the smallest end of a run of each length
  std::vector<size_t> previous(chain.size(), kNone);
  std::vector<size_t> at(chain.size(), kNone);
  for (size_t i = 0; i < chain.size(); ++i) {
    auto found = place.find(chain[i]);
    if (found == place.end()) continue;
    at[i] = found->second;
    auto tail = std::lower_bound(tails.begin(), tails.end(), at[i],
                                 [&](size_t link, size_t value) { return at[link] < value; });
    if (tail != tails.begin()) previous[i] = *(tail - 1);
    if (tail == tails.end()) {
      tails.push_back(i);
    } else {
      *tail = i;
    }
  }
  std::vector<bool> common(chain.size(), false);
  for (size_t i = tails.empty() ? kNone : tails.back(); i != kNone; i = previous[i]) {
    common[i] = true;
  }
  return common;
}

}  // namespace strata
