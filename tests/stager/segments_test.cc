// SPDX-License-Identifier: Apache-2.0
#include "stager/segments.h"

#include <gtest/gtest.h>

#include <random>

namespace strata {
namespace {

Digest Id(unsigned n) {
  Digest id = Sha256::Of(&n, sizeof n);
  return id;
}

std::vector<ChainLink> Links(unsigned count, uint64_t weight = 50) {
  std::vector<ChainLink> links;
  for (unsigned i = 0; i < count; ++i) links.push_back({Id(i), weight, false});
  return links;
}

void ExpectPartition(const std::vector<ChainRange>& ranges, size_t size) {
  size_t at = 0;
  for (const ChainRange& range : ranges) {
    EXPECT_EQ(range.begin, at);
    EXPECT_LT(range.begin, range.end);
    at = range.end;
  }
  EXPECT_EQ(at, size);
}

TEST(CutChainTest, RangesFollowEachOtherAndCoverTheChain) {
  for (unsigned count : {1u, 2u, 3u, 9u, 480u}) {
    std::vector<ChainRange> ranges = CutChain(Links(count), 4);
    ExpectPartition(ranges, count);
    EXPECT_EQ(ranges.size(), std::min<size_t>(count, 4));
  }
}

TEST(CutChainTest, NoRangeOfEqualLinksIsHeavierThanNineSixteenths) {
  const std::vector<ChainLink> links = Links(480);
  for (const ChainRange& range : CutChain(links, 4)) {
    EXPECT_LE(range.end - range.begin, 480 * 9 / 16 + 1);
  }
}

TEST(CutChainTest, OneHeavyLinkStandsAlone) {
  std::vector<ChainLink> links = Links(20);
  links[0].weight = 1000000;
  std::vector<ChainRange> ranges = CutChain(links, 4);
  EXPECT_EQ(ranges[0], (ChainRange{0, 1}));
}

TEST(CutChainTest, AChangeInsideOneRangeLeavesTheOthersAlone) {
  std::vector<ChainLink> links = Links(480);
  std::vector<ChainRange> before = CutChain(links, 4);
  // Not the one that begins a range: that is where it was cut.
  links[before[1].begin + 1].id = Id(100000);
  std::vector<ChainRange> after = CutChain(links, 4);
  size_t same = 0;
  for (const ChainRange& range : after) {
    if (std::find(before.begin(), before.end(), range) != before.end()) ++same;
  }
  EXPECT_GE(same, 2u);
}

TEST(CutChainTest, LinksThatStandAloneAreNeverJoined) {
  std::vector<ChainLink> links = Links(12);
  links[3].alone = links[7].alone = true;
  std::vector<ChainRange> ranges = CutChain(links, 2);
  ExpectPartition(ranges, 12);
  EXPECT_EQ(ranges.size(), 5u);
  EXPECT_EQ(ranges[1], (ChainRange{3, 4}));
  EXPECT_EQ(ranges[3], (ChainRange{7, 8}));
}

// The textbook way, quadratic.
size_t LengthOfCommon(const std::vector<Digest>& a, const std::vector<Digest>& b) {
  std::vector<std::vector<size_t>> best(a.size() + 1, std::vector<size_t>(b.size() + 1, 0));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      best[i][j] = a[i - 1] == b[j - 1] ? best[i - 1][j - 1] + 1
                                        : std::max(best[i - 1][j], best[i][j - 1]);
    }
  }
  return best[a.size()][b.size()];
}

TEST(CommonSubsequenceTest, IsInBothInOrderAndTheLongest) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<Digest> a, b;
    for (unsigned i = 0; i < 30; ++i) {
      if (random() % 4 != 0) a.push_back(Id(i));
      if (random() % 4 != 0) b.push_back(Id(i));
    }
    if (round % 2 == 1) std::shuffle(a.begin(), a.end(), random);
    std::vector<bool> common = CommonSubsequence(a, b);
    size_t length = 0;
    auto at = b.begin();
    for (size_t i = 0; i < a.size(); ++i) {
      if (!common[i]) continue;
      ++length;
      at = std::find(at, b.end(), a[i]);
      ASSERT_NE(at, b.end());
      ++at;
    }
    EXPECT_EQ(length, LengthOfCommon(a, b));
  }
}

}  // namespace
}  // namespace strata
