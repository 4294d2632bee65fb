// SPDX-License-Identifier: Apache-2.0
#include "stager/plain_stack.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

#include "stager/composition.h"
#include "tests/support/manifest_lines.h"

namespace strata {
namespace {

using testing::ManifestOf;
using testing::Must;
using Lines = std::vector<std::string>;

class Stack {
 public:
  explicit Stack(const std::vector<Lines>& layers) {
    for (const Lines& lines : layers) manifests_.push_back(ManifestOf(lines));
    for (const Manifest& manifest : manifests_) layers_.push_back(&manifest);
  }
  bool IsPlain() const { return IsPlainStack(layers_); }
  const std::vector<const Manifest*>& layers() const { return layers_; }

 private:
  std::deque<Manifest> manifests_;
  std::vector<const Manifest*> layers_;
};

bool IsPlain(const std::vector<Lines>& layers) {
  return Stack(layers).IsPlain();
}

TEST(PlainStackTest, DirectoriesOverDirectoriesAndFilesOverFiles) {
  EXPECT_TRUE(IsPlain({{"d usr/lib", "f usr/lib/a=1", "l x->y"}, {"f usr/lib/a=2", "f usr/b"}}));
  EXPECT_TRUE(IsPlain({{"f a"}, {"l a->b"}, {"f a"}}));
  EXPECT_TRUE(IsPlain({{"f only"}}));
}

TEST(PlainStackTest, NotWhereADirectoryMeetsSomethingElse) {
  EXPECT_FALSE(IsPlain({{"l lib->usr/lib"}, {"f lib/a"}}));
  EXPECT_FALSE(IsPlain({{"f a"}, {"f b"}, {"d a"}}));
  EXPECT_FALSE(IsPlain({{"d usr/a"}, {"f usr/a"}}));
}

TEST(PlainStackTest, NotWithWhiteoutsOrMarksThatHide) {
  EXPECT_FALSE(IsPlain({{"f a"}, {"w b"}}));
  EXPECT_FALSE(IsPlain({{"f a/b"}, {"o a"}}));
  EXPECT_TRUE(IsPlain({{"o a"}, {"f a/b"}}));
  EXPECT_TRUE(IsPlain({{"f a"}, {"o b", "f b/c"}}));
}

TEST(PlainStackTest, NotWhereAnImplicitDirectoryHidesMetadata) {
  EXPECT_FALSE(IsPlain({{"d a=0700", "f a/b"}, {"i a", "f a/c"}}));
  EXPECT_TRUE(IsPlain({{"i a", "f a/c"}, {"d a=0700", "f a/b"}}));
}

TEST(PlainStackTest, MoreLayersThanItKnowsAreNotPlain) {
  EXPECT_TRUE(IsPlain(std::vector<Lines>(kMaxPlainStack, {"f a"})));
  EXPECT_FALSE(IsPlain(std::vector<Lines>(kMaxPlainStack + 1, {"f a"})));
}

TEST(PlainStackTest, OverlapsOfAStackThatIsNotPlainAreLeftToTheRules) {
  Stack stack({{"f a", "f z/z"}, {"f a", "f z"}});
  std::vector<Overlap> overlaps;
  EXPECT_FALSE(IsPlainStack(stack.layers(), &overlaps));
  EXPECT_TRUE(overlaps.empty());
}

// Few names, so that they meet; mostly what meets well.
Lines RandomLayer(std::mt19937& random) {
  auto pick = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  Lines lines;
  for (const char* directory : {"", "a/", "a/a/", "a.b/", "b/"}) {
    for (const char* name : {"x", "y", "y.z", "z"}) {
      if (pick(3) > 0) continue;
      const std::string path = std::string(directory) + name;
      const int kind = pick(60);
      if (kind == 0) {
        lines.push_back("w " + path);
      } else if (kind == 1) {
        lines.push_back("d " + path);
      } else if (kind == 2) {
        lines.push_back("l " + path + "->a");
      } else {
        lines.push_back("f " + path + "=" + std::to_string(pick(2)));
      }
    }
  }
  for (const char* directory : {"a", "a/a", "b"}) {
    const int kind = pick(20);
    if (kind == 0) lines.push_back(std::string("l ") + directory + "1->" + directory);
    if (kind == 1) lines.push_back(std::string("d ") + directory + "=0700");
    if (kind == 2) lines.push_back(std::string("i ") + directory);
    if (kind == 3 && pick(4) == 0) lines.push_back(std::string("o ") + directory);
  }
  return lines;
}

TEST(PlainStackTest, TheRulesFindNothingElseInAPlainStack) {
  std::mt19937 random(1);
  int plain = 0;
  int other = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<Lines> lines(2 + random() % 4);
    for (Lines& layer : lines) layer = RandomLayer(random);
    Stack stack(lines);
    std::vector<Overlap> overlaps;
    if (!IsPlainStack(stack.layers(), &overlaps)) {
      ++other;
      continue;
    }
    ++plain;
    StagingRules rules(ConflictPolicy::kError, true);
    for (uint32_t i = 0; i < stack.layers().size(); ++i) Must(rules.Add(*stack.layers()[i], i));
    EXPECT_TRUE(rules.conflicts().empty());
    EXPECT_TRUE(rules.overlay_agrees());
    EXPECT_TRUE(UnmergedWhiteouts(stack.layers()).empty());
    const std::vector<Overlap> expected = rules.TakeOverlaps();
    ASSERT_EQ(overlaps.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(overlaps[i].path, expected[i].path);
      EXPECT_EQ(overlaps[i].layers, expected[i].layers);
      EXPECT_EQ(overlaps[i].identical, expected[i].identical);
    }
  }
  EXPECT_GT(plain, 300);
  EXPECT_GT(other, 300);
}

}  // namespace
}  // namespace strata
