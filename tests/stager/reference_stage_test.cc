// SPDX-License-Identifier: Apache-2.0
//
// The reference model against trees written out by hand, rule by rule. What the real stagers do is
// compared with the model in staging_property_test.cc.
#include "tests/support/reference_stage.h"

#include <gtest/gtest.h>

#include "tests/support/reference_text.h"

namespace strata::testing {
namespace {

std::string Stage(const std::vector<std::string>& layers,
                  ConflictPolicy policy = ConflictPolicy::kError) {
  std::vector<RefLayer> parsed;
  for (const std::string& layer : layers) parsed.push_back(ParseLayer(layer));
  RefResult result = ReferenceStager::Stage(parsed, policy);
  if (policy == ConflictPolicy::kError && !result.conflicts.empty()) {
    return "conflict: " + ShowConflicts(result.conflicts);
  }
  return ShowTree(result.tree);
}

std::string Replace(const std::vector<std::string>& layers) {
  return Stage(layers, ConflictPolicy::kReplace);
}
std::string Skip(const std::vector<std::string>& layers) {
  return Stage(layers, ConflictPolicy::kSkip);
}

TEST(ReferenceStageTest, DirectoriesMergeAndTheLaterOnesMetadataCounts) {
  EXPECT_EQ(Stage({"a/@0700 a/x=1", "a/@0555 a/y=2"}), "a/@0555 a/x=1 a/y=2");
}

TEST(ReferenceStageTest, AnImplicitDirectoryLeavesTheMetadataAlone) {
  EXPECT_EQ(Stage({"tmp/@1777", "tmp/x=1"}), "tmp/@1777 tmp/x=1");
  EXPECT_EQ(Stage({"tmp/x=1", "tmp/@1777"}), "tmp/@1777 tmp/x=1");
  EXPECT_EQ(Stage({"tmp/x=1"}), "tmp/ tmp/x=1");
}

TEST(ReferenceStageTest, ANonDirectoryReplacesOneAndAnEmptyDirectory) {
  EXPECT_EQ(Stage({"a=1 b=1 c->x d/", "a=2 b->y c=2 d=2"}), "a=2 b->y c=2 d=2");
  EXPECT_EQ(Stage({"d/x=1", "!d/x", "d=2"}), "d=2");
}

TEST(ReferenceStageTest, ADirectoryOverALinkToADirectoryGoesToTheTarget) {
  EXPECT_EQ(Stage({"lib->usr/lib usr/lib/@0700", "lib/@0555 lib/x=1 lib/d/y=2"}),
            "lib->usr/lib usr/ usr/lib/@0700 usr/lib/d/ usr/lib/d/y=2 usr/lib/x=1");
}

TEST(ReferenceStageTest, WhiteoutsGoThroughTheLinkToo) {
  EXPECT_EQ(Stage({"lib->usr/lib usr/lib/x=1 usr/lib/y=1", "!lib/x"}),
            "lib->usr/lib usr/ usr/lib/ usr/lib/y=1");
}

TEST(ReferenceStageTest, ChainsOfLinksAndAbsoluteOnesAreFollowedInsideTheRoot) {
  EXPECT_EQ(Stage({"a->b b->c/d c->/e e/d/", "a/x=1"}), "a->b b->c/d c->/e e/ e/d/ e/d/x=1");
  EXPECT_EQ(Stage({"p/a->../../../../t t/", "p/a/x=1"}), "p/ p/a->../../../../t t/ t/x=1");
  EXPECT_EQ(Stage({"p/a->/", "p/a/x=1"}), "p/ p/a->/ x=1");
  EXPECT_EQ(Stage({"p/a->.//./q/ p/q/", "p/a/x=1"}), "p/ p/a->.//./q/ p/q/ p/q/x=1");
}

TEST(ReferenceStageTest, LinksAreMetAgainBelowTheTarget) {
  EXPECT_EQ(Stage({"lib->usr/lib usr/lib/m->../m usr/m/", "lib/m/x=1"}),
            "lib->usr/lib usr/ usr/lib/ usr/lib/m->../m usr/m/ usr/m/x=1");
  EXPECT_EQ(Stage({"a->.", "a/a/a/x=1"}), "a->. x=1");
}

TEST(ReferenceStageTest, FortyLinksAreFollowedAndNoMore) {
  std::string links = "l0/";
  for (int i = 1; i <= 41; ++i) links += fmt::format(" l{}->l{}", i, i - 1);
  EXPECT_NE(Stage({links, "l40/x=1"}).find("l0/x=1"), std::string::npos);
  EXPECT_NE(Stage({links, "l41/x=1"}).find("l41/x=1"), std::string::npos);
}

TEST(ReferenceStageTest, ADirectoryReplacesAFileAndALinkThatLeadsNowhere) {
  EXPECT_EQ(Stage({"a=1 b->nowhere c->c d->f f=1 g->f/.", "a/x=2 b/x=2 c/x=2 d/x=2 g/x=2"}),
            "a/ a/x=2 b/ b/x=2 c/ c/x=2 d/ d/x=2 f=1 g/ g/x=2");
}

TEST(ReferenceStageTest, LinksAreResolvedInTheTreeBelowTheLayer) {
  // The layer brings the target itself: too late.
  EXPECT_EQ(Stage({"a->t", "a/x=1 t/"}), "a/ a/x=1 t/");
  // It removes the target: the link still led there.
  EXPECT_EQ(Stage({"a->t t/y=1", "a/x=1 !t"}), "a->t t/ t/x=1");
}

TEST(ReferenceStageTest, AnOpaqueDirectoryOverALinkToADirectoryIsAConflict) {
  const std::vector<std::string> layers = {"a->t t/y=1", "a/* a/x=1"};
  EXPECT_EQ(Stage(layers), "conflict: 0<1 a");
  EXPECT_EQ(Replace(layers), "a/ a/x=1 t/ t/y=1");
  EXPECT_EQ(Skip(layers), "a->t t/ t/y=1");
}

TEST(ReferenceStageTest, AnOpaqueDirectoryBelowARedirectedOneIsNone) {
  EXPECT_EQ(Stage({"a->t t/d/y=1", "a/d/* a/d/x=1"}), "a->t t/ t/d/ t/d/x=1");
}

TEST(ReferenceStageTest, ANonDirectoryOverANonEmptyDirectoryIsAConflict) {
  const std::vector<std::string> layers = {"d/x=1", "e=2", "d=2"};
  EXPECT_EQ(Stage(layers), "conflict: 0<2 d");
  EXPECT_EQ(Replace(layers), "d=2 e=2");
  EXPECT_EQ(Skip(layers), "d/ d/x=1 e=2");
  EXPECT_EQ(Stage({"d/x=1", "d/", "d->e"}), "conflict: 1<2 d");
}

TEST(ReferenceStageTest, ANonDirectoryOverALinkThatWasWrittenThroughIsAConflict) {
  const std::vector<std::string> layers = {"a->t t/", "a/x=1", "a/y=1", "a=2"};
  EXPECT_EQ(Stage(layers), "conflict: 1<3 a");
  EXPECT_EQ(Replace(layers), "a=2 t/ t/x=1 t/y=1");
  EXPECT_EQ(Skip(layers), "a->t t/ t/x=1 t/y=1");
  EXPECT_EQ(Stage({"a->t t/", "a=2"}), "a=2 t/");
  // A layer may replace the link that its own directories go through.
  EXPECT_EQ(Stage({"a->b b->t t/", "a/x=1 b->u", "b=2"}), "a->b b=2 t/ t/x=1");
  // Any link on the way, and also once it leads nowhere.
  EXPECT_EQ(Stage({"a->b b->t t/", "a/x=1", "b=2"}), "conflict: 1<2 b");
  EXPECT_EQ(Stage({"a->b/t b->c c/t/", "a/x=1", "b=2"}), "conflict: 1<2 b");
  EXPECT_EQ(Stage({"a->t t/", "a/x=1", "!t", "a=2"}), "conflict: 1<3 a");
  EXPECT_EQ(Stage({"a->t t/", "a/x=1", "!a", "a=2"}), "a=2 t/ t/x=1");
}

TEST(ReferenceStageTest, IdenticalEntriesNeverConflict) {
  EXPECT_EQ(Stage({"a->t t/", "a/x=1", "a->t"}), "a->t t/ t/x=1");
  EXPECT_EQ(Stage({"a->t t/", "a/x=1", "a->t", "a->u"}), "conflict: 1<3 a");
  EXPECT_EQ(Stage({"a->t t/", "a/x=1", "a->./t"}), "conflict: 1<2 a");
}

TEST(ReferenceStageTest, AWhiteoutNeverConflicts) {
  EXPECT_EQ(Stage({"d/x=1 a->t t/", "a/y=1", "!d !a"}), "t/ t/y=1");
}

TEST(ReferenceStageTest, AWhiteoutRemovesWhatIsBelow) {
  EXPECT_EQ(Stage({"a=1 b/c/d=1 e->b", "!a !b/c !e !none/at/all"}), "b/ none/ none/at/");
}

TEST(ReferenceStageTest, AnOpaqueDirectoryHidesWhatIsBelow) {
  EXPECT_EQ(Stage({"d/@0700 d/x=1 d/e/y=1", "d/* d/e/z=2"}), "d/ d/e/ d/e/z=2");
  // The link that it hides redirects nothing.
  EXPECT_EQ(Stage({"d/l->/t t/", "d/* d/l/z=2"}), "d/ d/l/ d/l/z=2 t/");
}

TEST(ReferenceStageTest, AnOpaqueRootHidesEverything) {
  EXPECT_EQ(Stage({"a=1 b->c c/", "/* b/x=2"}), "b/ b/x=2");
  EXPECT_EQ(Stage({"a/x=1", "a=2", "/* b=3"}), "b=3");  // conflicts too
}

TEST(ReferenceStageTest, TheSameLayerTwiceCountsOnceAtItsTopmostPlace) {
  EXPECT_EQ(Stage({"a=1", "a=2", "a=1"}), "a=1");
  EXPECT_EQ(Stage({"a=1", "!a", "a=1", "b=1"}), "a=1 b=1");
  EXPECT_EQ(Stage({"a=1", "a/x=1", "a=1"}), "conflict: 1<2 a");
}

TEST(ReferenceStageTest, RedirectedAndOwnDirectoriesMergeWithTheOwnMetadata) {
  EXPECT_EQ(Stage({"lib->usr/lib usr/lib/",
                   "lib/@0700 lib/d/@0700 lib/d/x=1 usr/lib/d/@0555 usr/lib/d/y=2"}),
            "lib->usr/lib usr/ usr/lib/ usr/lib/d/@0555 usr/lib/d/x=1 usr/lib/d/y=2");
  EXPECT_EQ(Stage({"lib->usr/lib usr/lib/", "lib/d/@0700 lib/d/x=1 usr/lib/d/y=2"}),
            "lib->usr/lib usr/ usr/lib/ usr/lib/d/@0700 usr/lib/d/x=1 usr/lib/d/y=2");
}

TEST(ReferenceStageTest, OwnEntriesWinOverRedirectedOnesAndAnythingOverAWhiteout) {
  const std::string base = "a->t t/f=0 t/d/z=0";
  EXPECT_EQ(Stage({base, "a/f=1 t/f=2"}), "a->t t/ t/d/ t/d/z=0 t/f=2");
  EXPECT_EQ(Stage({base, "a/f/x=1 t/f=2"}), "a->t t/ t/d/ t/d/z=0 t/f=2");
  EXPECT_EQ(Stage({base, "a/f=1 t/f/x=2"}), "a->t t/ t/d/ t/d/z=0 t/f/ t/f/x=2");
  EXPECT_EQ(Stage({base, "a/f=1 !t/f"}), "a->t t/ t/d/ t/d/z=0 t/f=1");
  EXPECT_EQ(Stage({base, "!a/f t/f=2"}), "a->t t/ t/d/ t/d/z=0 t/f=2");
  EXPECT_EQ(Stage({base, "!a/d t/d/x=2"}), "a->t t/ t/d/ t/d/x=2 t/f=0");
  EXPECT_EQ(Stage({base, "a/d/x=1 !t/d"}), "a->t t/ t/d/ t/d/x=1 t/f=0");
}

TEST(ReferenceStageTest, OfTwoRedirectedDirectoriesTheLaterPathWins) {
  EXPECT_EQ(Stage({"a->t b->t t/", "a/f=1 a/d/@0700 a/d/x=1 b/f=2 b/d/@0555 b/d/y=2"}),
            "a->t b->t t/ t/d/@0555 t/d/x=1 t/d/y=2 t/f=2");
  EXPECT_EQ(Stage({"a->t b->t t/", "a/f/x=1 b/f=2 a/g=1 b/g/x=2"}),
            "a->t b->t t/ t/f=2 t/g/ t/g/x=2");
  // By components: "a" before "a-b", though '-' comes before '/'.
  EXPECT_EQ(Stage({"a->t a-b->t t/", "a/f=1 a-b/f=2"}), "a->t a-b->t t/ t/f=2");
}

TEST(ReferenceStageTest, HardlinkGroupsStayWhereTheyAreSeen) {
  EXPECT_EQ(Stage({"a=1#g b=1#g c=1#g", "!a", "d=1#g"}), "b=1#g c=1#g d=1");
  EXPECT_EQ(Stage({"l->t t/", "l/a=1#g b=1#g"}), "b=1#g l->t t/ t/a=1#g");
}

}  // namespace
}  // namespace strata::testing
