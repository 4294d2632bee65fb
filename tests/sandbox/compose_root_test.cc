// SPDX-License-Identifier: Apache-2.0
#include "sandbox/compose_root.h"

#include <filesystem>

#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;
using testing::StoreFixture;

class ComposeRootTest : public StoreFixture {
 protected:
  LayerMaker Layer() { return LayerMaker(store()); }
  LayerId Simple(const std::string& name) { return Layer().File(name, name).Publish(); }
  static DependencySet SetOf(const std::vector<LayerId>& layers) {
    DependencySet set;
    for (const LayerId& id : layers) set.items.push_back({id, {}});
    return set;
  }
  size_t Roots() { return Must(ListRoots(store())).size(); }
};

TEST_F(ComposeRootTest, AMissIsPublishedAndTheNextOneIsAHit) {
  DependencySet set = SetOf({Simple("one"), Simple("two")});
  int misses = 0;
  ComposeRootOptions options;
  options.on_miss = [&] { ++misses; };
  CachedRoot made = Must(ComposeRoot(store(), set, options));
  EXPECT_FALSE(made.hit);
  EXPECT_EQ(made.Leases().size(), 1U);
  CachedRoot found = Must(ComposeRoot(store(), set, options));
  EXPECT_TRUE(found.hit);
  EXPECT_EQ(found.key, made.key);
  EXPECT_EQ(found.content.lowers, made.content.lowers);
  EXPECT_EQ(misses, 1);
}

TEST_F(ComposeRootTest, AHitLooksAtNoLayer) {
  LayerId one = Simple("one");
  static_cast<void>(Must(ComposeRoot(store(), SetOf({one}), {})));
  std::filesystem::remove_all(store().path() + "/layers/" + one.Hex());
  CachedRoot root = Must(ComposeRoot(store(), SetOf({one}), {}));
  EXPECT_TRUE(root.hit);
  EXPECT_EQ(Must(FindLostLower(store(), root)), "layers/" + one.Hex() + "/tree");
}

TEST_F(ComposeRootTest, ALayerCannotBeRemovedWhileARootOfItIsHeld) {
  LayerId one = Simple("one");
  {
    CachedRoot root = Must(ComposeRoot(store(), SetOf({one}), {}));
    EXPECT_EQ(store().RemoveLayer(one).error().code(), Errc::kBusy);
  }
  EXPECT_TRUE(store().RemoveLayer(one));
  EXPECT_EQ(Roots(), 0U);
}

TEST_F(ComposeRootTest, NoLayersAreRefused) {
  EXPECT_EQ(ComposeRoot(store(), {}, {}).error().code(), Errc::kInvalid);
}

TEST_F(ComposeRootTest, AMissingLayerIsNotFound) {
  auto root = ComposeRoot(store(), SetOf({Sha256::Of("x", 1)}), {});
  ASSERT_FALSE(root);
  EXPECT_EQ(root.error().code(), Errc::kNotFound);
  EXPECT_EQ(Roots(), 0U);
}

TEST_F(ComposeRootTest, ADirectoryWithoutAKeyIsComposedEachTimeAndNotKept) {
  DependencySet set = SetOf({Simple("one")});
  SetItem directory;
  directory.directory = NewDir("plain");
  set.items.push_back(directory);
  for (int i = 0; i < 2; ++i) {
    CachedRoot root = Must(ComposeRoot(store(), set, {}));
    EXPECT_FALSE(root.hit);
    EXPECT_FALSE(root.lease.held());
    EXPECT_EQ(root.content.lowers.back(), directory.directory);
    EXPECT_GE(root.Leases().size(), 1U);  // the layer's
  }
  EXPECT_EQ(Roots(), 0U);
  set.integration = {"ldconfig"};
  auto refused = ComposeRoot(store(), set, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kInvalid);
  EXPECT_NE(refused.error().hint().find("dir:PATH@KEY"), std::string::npos);
}

TEST_F(ComposeRootTest, ALostLayerCannotBeMadeAgainAndALostDerivedOneCan) {
  LayerId one = Simple("one");
  std::string layer = "layers/" + one.Hex() + "/tree";
  auto refused = DropLostRoot(store(), Must(ComposeRoot(store(), SetOf({one}), {})), layer);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find(layer), std::string::npos);
  EXPECT_NE(refused.error().hint().find("strata fsck"), std::string::npos);
  EXPECT_EQ(Roots(), 1U);

  const std::string derived = NewDir("store/derived/segment-x");
  CachedRoot root = Must(ComposeRoot(store(), SetOf({one}), {}));
  Must(DropLostRoot(store(), std::move(root), "derived/segment-x/tree"));
  EXPECT_FALSE(std::filesystem::exists(derived));
  EXPECT_EQ(Roots(), 0U);
}

}  // namespace
}  // namespace strata
