// SPDX-License-Identifier: Apache-2.0
//
// Which way a dependency set becomes a root, and what is shared between sets. That all ways show
// the same tree is the property test's business, but a few hand-made cases are mounted here.
#include "stager/compose.h"

#include <gtest/gtest.h>

#include "stager/composition.h"
#include "tests/support/layer_maker.h"
#include "tests/support/overlay_view.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;
using testing::StoreFixture;

class ComposeTest : public StoreFixture {
 protected:
  DependencySet Set(const std::vector<LayerId>& ids) {
    DependencySet set;
    for (const LayerId& id : ids) set.items.push_back({id, ""});
    return set;
  }
  RootDraft Draft(const std::vector<LayerId>& ids) { return Draft(Set(ids)); }
  RootDraft Draft(const DependencySet& set) { return Must(DraftRoot(store(), set, options_)); }
  std::string ErrorOf(const DependencySet& set) {
    auto draft = DraftRoot(store(), set, options_);
    return draft ? "" : draft.error().message();
  }
  CachedRoot Publish(const RootDraft& draft) {
    return Must(PublishRoot(store(), draft.set.Encode(), draft.content));
  }
  // A layer with one file of its own and one that all share.
  LayerId Small(int number) {
    return LayerMaker(store())
        .File(fmt::format("own/{:03}", number), fmt::format("{}", number))
        .File("usr/include/shared.h", fmt::format("{}", number))
        .Publish();
  }
  std::vector<LayerId> SmallLayers(int count) {
    std::vector<LayerId> ids;
    for (int i = 0; i < count; ++i) ids.push_back(Small(i));
    return ids;
  }
  // What the mounted root shows, names that readdir lists and lookup does not find included.
  testing::Tree Shown(const RootContent& content) {
    testing::OverlayDirs dirs;
    dirs.lower.push_back(NewDir("empty"));  // one layer alone cannot be mounted
    for (const std::string& lower : content.lowers)
      dirs.lower.push_back(store().path() + "/" + lower);
    return Must(testing::ReadTreeAsRoot([&]() -> Result<UniqueFd> {
      STRATA_ASSIGN(UniqueFd mount, testing::MountOverlay(dirs));
      return OpenAt(mount.get(), ".", O_RDONLY | O_DIRECTORY);
    }));
  }

  ComposeOptions options_;
};

bool IsKind(const std::string& lower, std::string_view kind) {
  return lower.starts_with("derived/" + std::string(kind) + "-");
}

TEST_F(ComposeTest, AShortChainIsMountedAsItIs) {
  std::vector<LayerId> ids = SmallLayers(8);
  RootDraft draft = Draft(ids);
  EXPECT_EQ(draft.content.method, RootMethod::kDirect);
  ASSERT_EQ(draft.content.lowers.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(draft.content.lowers[i], "layers/" + ids[i].Hex() + "/tree");
  }
  EXPECT_TRUE(Must(store().ListLayers()).size() == 8);
}

TEST_F(ComposeTest, ALongChainBecomesOneSegment) {
  RootDraft draft = Draft(SmallLayers(60));
  EXPECT_EQ(draft.content.method, RootMethod::kSegments);
  EXPECT_EQ(draft.content.lowers.size(), 1u);
  EXPECT_EQ(draft.content.base_count, 1u);
  EXPECT_EQ(draft.content.layer_count, 60u);
  testing::Tree tree = Shown(draft.content);
  EXPECT_EQ(tree.count("own/000"), 1u);
  EXPECT_EQ(tree.count("own/059"), 1u);
  EXPECT_EQ(tree.size(), 60u + 4u);
}

TEST_F(ComposeTest, SetsThatShareRunsShareSegments) {
  options_.delta_part = 0;
  options_.max_segments = 2;
  std::vector<LayerId> ids = SmallLayers(60);
  RootDraft first = Draft(ids);
  ids.back() = Small(1000);
  RootDraft second = Draft(ids);
  size_t shared = 0;
  for (const std::string& lower : second.content.lowers) {
    if (std::find(first.content.lowers.begin(), first.content.lowers.end(), lower) !=
        first.content.lowers.end()) {
      ++shared;
    }
  }
  EXPECT_EQ(shared, 1u);
}

TEST_F(ComposeTest, ASetCloseToACachedOneIsADeltaOnItsSegments) {
  std::vector<LayerId> ids = SmallLayers(60);
  RootDraft first = Draft(ids);
  CachedRoot root = Publish(first);
  ids[30] = Small(1000);
  RootDraft second = Draft(ids);
  EXPECT_EQ(second.content.method, RootMethod::kDelta);
  ASSERT_EQ(second.content.lowers.size(), 2u);
  EXPECT_EQ(second.content.base_count, 1u);
  EXPECT_TRUE(IsKind(second.content.lowers.back(), "delta"));
  // The changed layer's own files, the whiteout of the old one's, and their directories.
  Manifest delta = Must(OpenTreeManifest(store(), second.content.lowers.back()));
  EXPECT_LE(delta.size(), 6u);
  testing::Tree tree = Shown(second.content);
  EXPECT_EQ(tree.count("own/1000"), 1u);
  EXPECT_EQ(tree.count("own/030"), 0u);
}

TEST_F(ComposeTest, ADeltaIsNeverMadeOnADelta) {
  std::vector<LayerId> ids = SmallLayers(60);
  CachedRoot first = Publish(Draft(ids));
  ids[30] = Small(1000);
  CachedRoot second = Publish(Draft(ids));
  ids[31] = Small(1001);
  RootDraft third = Draft(ids);
  EXPECT_EQ(third.content.method, RootMethod::kDelta);
  ASSERT_EQ(third.content.lowers.size(), 2u);
  EXPECT_EQ(third.content.lowers[0], first.content.lowers[0]);
}

TEST_F(ComposeTest, ADeltaThatWouldBeTooLargeIsNotMade) {
  std::vector<LayerId> ids = SmallLayers(60);
  CachedRoot root = Publish(Draft(ids));
  for (int i = 10; i < 30; ++i) ids[static_cast<size_t>(i)] = Small(2000 + i);
  EXPECT_EQ(Draft(ids).content.method, RootMethod::kSegments);
}

TEST_F(ComposeTest, MergedUsrIsWrittenThroughByADeltaOnTop) {
  LayerId base = LayerMaker(store()).Dir("usr/lib", 0711).Symlink("lib", "usr/lib").Publish();
  LayerId more = LayerMaker(store()).File("lib/libx.so", "x").File("bin/x", "x").Publish();
  RootDraft draft = Draft({base, more});
  ASSERT_EQ(draft.content.lowers.size(), 3u);
  EXPECT_TRUE(IsKind(draft.content.lowers[2], "delta"));
  EXPECT_EQ(draft.content.base_count, 2u);
  testing::Tree tree = Shown(draft.content);
  EXPECT_TRUE(tree.at("lib").facts.ends_with("-> usr/lib"));
  EXPECT_EQ(tree.count("usr/lib/libx.so"), 1u);
  EXPECT_TRUE(tree.at("usr/lib").facts.starts_with("040711"));
  EXPECT_EQ(tree.count("bin/x"), 1u);
}

TEST_F(ComposeTest, AWhiteoutThatWouldBeListedIsCovered) {
  LayerId base = LayerMaker(store()).File("a", "a").Publish();
  LayerId ghost = LayerMaker(store()).Whiteout("d/gone").File("d/file", "x").Publish();
  RootDraft draft = Draft({base, ghost});
  ASSERT_EQ(draft.content.lowers.size(), 3u);
  Manifest delta = Must(OpenTreeManifest(store(), draft.content.lowers[2]));
  EXPECT_TRUE(delta.Find("d"));
  EXPECT_EQ(delta.size(), 2u);
}

TEST_F(ComposeTest, LayersBelowAnOpaqueRootAreNotMounted) {
  LayerId below = LayerMaker(store()).File("below", "x").Publish();
  LayerMaker maker(store());
  maker.File("own", "x");
  LayerId opaque = maker.OpaqueRoot().Publish();
  RootDraft draft = Draft({below, opaque});
  EXPECT_EQ(draft.content.lowers, std::vector<std::string>{"layers/" + opaque.Hex() + "/tree"});
}

TEST_F(ComposeTest, ALayerThatOccursTwiceCountsAtItsTopmostPlace) {
  LayerId a = LayerMaker(store()).File("f", "a").Publish();
  LayerId b = LayerMaker(store()).File("f", "b").Publish();
  RootDraft draft = Draft({a, b, a});
  EXPECT_EQ(draft.content.lowers.size(), 2u);
  EXPECT_EQ(draft.content.lowers[1], "layers/" + a.Hex() + "/tree");
}

TEST_F(ComposeTest, AConflictNamesBothLayersAndThePath) {
  LayerId a = LayerMaker(store()).File("opt/x/file", "a").Publish();
  LayerId b = LayerMaker(store()).File("opt/x", "b").Publish();
  options_.name_of = [&](const SetItem& item) { return item.id == a ? "gcc" : "app"; };
  EXPECT_EQ(ErrorOf(Set({a, b})),
            "conflict: /opt/x: app has something else where gcc has a directory that is not empty");
  DependencySet set = Set({a, b});
  set.on_conflict = ConflictPolicy::kSkip;
  RootDraft draft = Draft(set);
  EXPECT_EQ(draft.warnings.size(), 1u);
  EXPECT_EQ(Shown(draft.content).count("opt/x/file"), 1u);
}

TEST_F(ComposeTest, DevAndProcMustBeDirectories) {
  LayerId a = LayerMaker(store()).Symlink("proc", "elsewhere").Publish();
  EXPECT_EQ(ErrorOf(Set({a})),
            "layer " + a.Hex().substr(0, 12) + ": /proc is a link, not a directory");
}

TEST_F(ComposeTest, AMissingLayerIsNamed) {
  LayerId gone = Sha256::Of("x", 1);
  EXPECT_EQ(ErrorOf(Set({gone})), "no layer " + gone.Hex());
}

TEST_F(ComposeTest, ADamagedManifestIsAnErrorThatNamesTheLayer) {
  LayerId a = Small(1);
  const std::string manifest = store().path() + "/layers/" + a.Hex() + "/manifest";
  UniqueFd fd = Must(OpenAt(AT_FDCWD, manifest, O_WRONLY));
  ASSERT_EQ(::pwrite(fd.get(), "\xff\xff\xff\xff", 4, 64 + 112 + 4), 4);
  std::string error = ErrorOf(Set({a}));
  EXPECT_NE(error.find("layers/" + a.Hex()), std::string::npos) << error;
}

TEST_F(ComposeTest, IntegrationCommandsOfLayersComeBeforeThoseOfTheSet) {
  LayerMaker maker(store());
  maker.File("a", "a");
  LayerId a = maker.Integrate("first").Publish();
  DependencySet set = Set({a});
  set.integration = {"second"};
  EXPECT_EQ(Draft(set).commands, (std::vector<std::string>{"first", "second"}));
}

}  // namespace
}  // namespace strata
