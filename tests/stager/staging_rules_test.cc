// SPDX-License-Identifier: Apache-2.0
//
// The rules of staging, one at a time, on manifests alone. What random sets show is the property
// test's business.
#include "stager/staging_rules.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tests/support/layer_maker.h"
#include "tests/support/manifest_lines.h"

namespace strata {
namespace {

using testing::ManifestOf;
using testing::Must;

class StagingRulesTest : public ::testing::Test {
 protected:
  void Stage(const std::vector<std::vector<std::string>>& layers,
             ConflictPolicy policy = ConflictPolicy::kError) {
    rules_.emplace(policy, true);
    for (const auto& lines : layers) {
      manifests_.push_back(ManifestOf(lines));
      Must(rules_->Add(manifests_.back(), static_cast<uint32_t>(manifests_.size()) - 1));
    }
  }
  // Sorted; "d 755 usr", "f 1 usr/x" (the layer it comes from), "l lib->usr/lib".
  std::vector<std::string> Shown() {
    std::vector<std::string> lines;
    Collect(MergedTree::kRoot, "", lines);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  std::vector<std::string> Conflicts() {
    std::vector<std::string> lines;
    for (const Conflict& c : rules_->conflicts()) {
      lines.push_back(fmt::format("{} {}<{}", c.path, c.lower, c.upper));
    }
    return lines;
  }

  std::optional<StagingRules> rules_;

 private:
  void Collect(MergedTree::NodeId id, const std::string& prefix, std::vector<std::string>& lines) {
    MergedTree& tree = rules_->tree();
    tree.ForEachChild(id, [&](MergedTree::NodeId child) {
      std::string path = prefix + std::string(tree.name(child));
      const MergedTree::Node n = tree.node(child);
      switch (tree.type(child)) {
        case EntryType::kDirectory:
          lines.push_back(fmt::format("d {:o} {}", tree.entry(child).mode, path));
          Collect(child, path + "/", lines);
          break;
        case EntryType::kSymlink:
          lines.push_back(fmt::format("l {}->{}", path, tree.target(child)));
          break;
        default:
          lines.push_back(fmt::format("f {} {}", tree.piece(n).OriginOf(n.entry).source, path));
      }
    });
  }
  std::deque<Manifest> manifests_;
};

using Lines = std::vector<std::string>;

TEST_F(StagingRulesTest, LinksThatLeadDeeperThanAPathAreAnError) {
  std::string deep = "a";
  while (deep.size() < 2500) deep += "/a";
  const Manifest bottom = ManifestOf({"d " + deep, "l x->" + deep});
  const Manifest within = ManifestOf({"d x/" + deep.substr(0, 1501)});
  const Manifest beyond = ManifestOf({"d x/" + deep});
  StagingRules good(ConflictPolicy::kError);
  ASSERT_TRUE(good.Add(bottom, 0));
  EXPECT_TRUE(good.Add(within, 1));
  StagingRules bad(ConflictPolicy::kError);
  ASSERT_TRUE(bad.Add(bottom, 0));
  auto added = bad.Add(beyond, 1);
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message().find("links lead to a path of"), std::string::npos)
      << added.error().message();
}

TEST_F(StagingRulesTest, DirectoriesMergeAndTheLaterFileWins) {
  Stage({{"f a/x=1", "f a/y=1"}, {"f a/y=2", "f a/z=2"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 a", "f 0 a/x", "f 1 a/y", "f 1 a/z"}));
  EXPECT_TRUE(rules_->overlay_agrees());
}

TEST_F(StagingRulesTest, AnImplicitDirectoryLeavesMetadataAlone) {
  Stage({{"d tmp=1777"}, {"i tmp", "f tmp/x"}});
  EXPECT_EQ(Shown(), (Lines{"d 1777 tmp", "f 1 tmp/x"}));
  EXPECT_FALSE(rules_->overlay_agrees());
}

TEST_F(StagingRulesTest, ADirectoryOverALinkGoesToItsTarget) {
  Stage({{"d usr/lib=700", "l lib->usr/lib"}, {"f lib/x", "w lib/gone", "d lib=777"}});
  EXPECT_EQ(Shown(), (Lines{"d 700 usr/lib", "d 755 usr", "f 1 usr/lib/x", "l lib->usr/lib"}));
  EXPECT_FALSE(rules_->overlay_agrees());
}

TEST_F(StagingRulesTest, AWhiteoutThroughALinkRemovesAtItsTarget) {
  Stage({{"f usr/lib/gone", "l lib->usr/lib"}, {"w lib/gone"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 usr", "d 755 usr/lib", "l lib->usr/lib"}));
}

TEST_F(StagingRulesTest, ChainsOfLinksAndAbsoluteOnesAreFollowedInsideTheRoot) {
  Stage({{"d a/b", "l one->two", "l two->/three", "l three->../../../a/./b/../b"}, {"f one/x"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 a", "d 755 a/b", "f 1 a/b/x", "l one->two",
                            "l three->../../../a/./b/../b", "l two->/three"}));
}

TEST_F(StagingRulesTest, ALinkBelowARedirectedDirectoryIsFollowedToo) {
  Stage({{"l lib->usr/lib", "l usr/lib/gcc->/opt/gcc", "d opt/gcc"}, {"f lib/gcc/cc1"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 opt", "d 755 opt/gcc", "d 755 usr", "d 755 usr/lib",
                            "f 1 opt/gcc/cc1", "l lib->usr/lib", "l usr/lib/gcc->/opt/gcc"}));
}

TEST_F(StagingRulesTest, ADirectoryReplacesADanglingOrLoopingLink) {
  Stage({{"l a->nowhere", "l b->c", "l c->b", "f f"}, {"f a/x", "f b/x", "f f/x"}});
  EXPECT_EQ(Shown(),
            (Lines{"d 755 a", "d 755 b", "d 755 f", "f 1 a/x", "f 1 b/x", "f 1 f/x", "l c->b"}));
  EXPECT_TRUE(Conflicts().empty());
}

TEST_F(StagingRulesTest, AnOwnEntryWinsOverARedirectedOne) {
  Stage({{"d usr/lib", "l lib->usr/lib"}, {"f lib/x=redirected", "f usr/lib/x=own"}});
  MergedTree& tree = rules_->tree();
  const MergedTree::Node& n = tree.node(*tree.Lookup("usr/lib/x"));
  EXPECT_EQ(tree.entry(n).digest, Sha256::Of("own", 3));
}

TEST_F(StagingRulesTest, ALinkOnlyInTheSameLayerIsNotFollowed) {
  Stage({{"d usr/lib"}, {"l lib->usr/lib"}, {"f lib/x"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 usr", "d 755 usr/lib", "f 2 usr/lib/x", "l lib->usr/lib"}));
}

TEST_F(StagingRulesTest, AFileOverADirectoryThatShowsSomethingIsAConflict) {
  Stage({{"f a/x"}, {"d b"}, {"f a", "f b"}});
  EXPECT_EQ(Conflicts(), Lines{"a 0<2"});
  EXPECT_EQ(Shown(), (Lines{"f 2 a", "f 2 b"}));
}

TEST_F(StagingRulesTest, SkippedEntriesAreLeftOutAndTheRestIsNot) {
  Stage({{"f a/x"}, {"f a", "f b"}}, ConflictPolicy::kSkip);
  EXPECT_EQ(Conflicts(), Lines{"a 0<1"});
  EXPECT_EQ(Shown(), (Lines{"d 755 a", "f 0 a/x", "f 1 b"}));
}

TEST_F(StagingRulesTest, ReplacingALinkThatOthersWriteThroughIsAConflict) {
  Stage({{"d usr/lib", "l lib->usr/lib"}, {"f lib/x"}, {"l lib->usr/lib"}, {"f lib"}});
  EXPECT_EQ(Conflicts(), Lines{"lib 1<3"});
}

TEST_F(StagingRulesTest, ReplacingALinkThatNobodyUsesIsNot) {
  Stage({{"d usr/lib", "l lib->usr/lib"}, {"f lib"}});
  EXPECT_TRUE(Conflicts().empty());
}

TEST_F(StagingRulesTest, AnOpaqueMarkOnARedirectedDirectoryIsAConflict) {
  Stage({{"f usr/lib/a", "l lib->usr/lib"}, {"f lib/x", "o lib"}});
  EXPECT_EQ(Conflicts(), Lines{"lib 0<1"});
  EXPECT_EQ(Shown(),
            (Lines{"d 755 lib", "d 755 usr", "d 755 usr/lib", "f 0 usr/lib/a", "f 1 lib/x"}));
  Stage({{"f usr/lib/a", "l lib->usr/lib"}, {"f lib/x", "o lib", "f y"}}, ConflictPolicy::kSkip);
  EXPECT_EQ(Shown().back(), "l lib->usr/lib");
}

TEST_F(StagingRulesTest, OpaqueDirectoriesAndWhiteoutsHideWhatLiesBelow) {
  Stage({{"f a/x", "f b/x", "f c"}, {"o a", "f a/y", "w b/x", "w c"}});
  EXPECT_EQ(Shown(), (Lines{"d 755 a", "d 755 b", "f 1 a/y"}));
}

TEST_F(StagingRulesTest, AnOpaqueRootHidesEveryLayerBelow) {
  Stage({{"f a"}, {"f b", "o /"}, {"f c"}});
  EXPECT_EQ(Shown(), (Lines{"f 1 b", "f 2 c"}));
}

TEST_F(StagingRulesTest, OverlapsNameEveryLayerBottomFirst) {
  Stage({{"f a=1", "f b=1"}, {"f a=1"}, {"f a=2", "d d"}});
  std::vector<Overlap> overlaps = rules_->TakeOverlaps();
  ASSERT_EQ(overlaps.size(), 1u);
  EXPECT_EQ(overlaps[0].path, "a");
  EXPECT_EQ(overlaps[0].layers, (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_FALSE(overlaps[0].identical);
}

TEST_F(StagingRulesTest, ADirectoryInThePlaceOfAFileIsAnOverlapAndThroughALinkItIsNot) {
  Stage({{"f a", "l b->nowhere", "d usr/lib", "l lib->usr/lib"}, {"f a/x", "f b/x", "f lib/x"}});
  std::vector<Overlap> overlaps = rules_->TakeOverlaps();
  ASSERT_EQ(overlaps.size(), 2u);
  EXPECT_EQ(overlaps[0].path, "a");
  EXPECT_EQ(overlaps[1].path, "b");
  EXPECT_EQ(overlaps[1].layers, (std::vector<uint32_t>{0, 1}));
  EXPECT_FALSE(overlaps[1].identical);
}

}  // namespace
}  // namespace strata
