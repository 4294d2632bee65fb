// SPDX-License-Identifier: Apache-2.0
#include "stager/lower_chain.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/overlay_view.h"
#include "tests/support/random_layer.h"
#include "tests/support/store_fixture.h"

namespace strata::testing {
namespace {

class LowerChainTest : public StoreFixture {
 protected:
  LayerMaker Layer() { return LayerMaker(store()); }
};

TEST_F(LowerChainTest, TopmostEntryWins) {
  Chain chain(store(), {Layer().File("a", "old").Publish(), Layer().File("a", "newer").Publish()});
  std::optional<LowerChain::Merged> found = chain.lower().Lookup("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->top().layer, 1U);
  EXPECT_EQ(found->places.size(), 1U);
  EXPECT_EQ(chain.lower().entry(found->top()).size, 5U);
}

TEST_F(LowerChainTest, DirectoriesMerge) {
  Chain chain(store(), {Layer().File("d/a", "").Publish(), Layer().File("d/b", "").Publish()});
  std::optional<LowerChain::Merged> found = chain.lower().Lookup("d");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->places.size(), 2U);
  EXPECT_EQ(found->top().layer, 1U);
  EXPECT_TRUE(chain.lower().Lookup("d/a"));
  EXPECT_TRUE(chain.lower().Lookup("d/b"));
}

TEST_F(LowerChainTest, WhiteoutHides) {
  Chain chain(store(), {Layer().File("d/a", "").Publish(), Layer().Whiteout("d/a").Publish()});
  EXPECT_FALSE(chain.lower().Lookup("d/a"));
  EXPECT_TRUE(chain.lower().Lookup("d"));
}

TEST_F(LowerChainTest, NothingIsMergedFromBelowAWhiteout) {
  Chain chain(store(), {Layer().File("d/a", "").Publish(), Layer().Whiteout("d").Publish(),
                        Layer().File("d/b", "").Publish()});
  EXPECT_FALSE(chain.lower().Lookup("d/a"));
  EXPECT_TRUE(chain.lower().Lookup("d/b"));
}

TEST_F(LowerChainTest, OpaqueDirectoryHidesWhatIsBelow) {
  Chain chain(store(),
              {Layer().File("d/a", "").Publish(), Layer().Opaque("d").File("d/b", "").Publish(),
               Layer().File("d/c", "").Publish()});
  EXPECT_FALSE(chain.lower().Lookup("d/a"));
  EXPECT_TRUE(chain.lower().Lookup("d/b"));
  EXPECT_TRUE(chain.lower().Lookup("d/c"));
}

TEST_F(LowerChainTest, FileEndsAMergeInBothDirections) {
  Chain chain(store(),
              {Layer().File("d/a", "").File("e", "").Publish(),
               Layer().File("d", "").File("e/x", "").Publish(), Layer().File("d/b", "").Publish()});
  EXPECT_FALSE(chain.lower().Lookup("d/a"));
  EXPECT_TRUE(chain.lower().Lookup("d/b"));
  ASSERT_TRUE(chain.lower().Lookup("e"));
  EXPECT_EQ(chain.lower().Lookup("e")->places.size(), 1U);
  EXPECT_TRUE(chain.lower().Lookup("e/x"));
}

TEST_F(LowerChainTest, LinksAreNotFollowed) {
  Chain chain(store(), {Layer().File("usr/lib/a", "").Symlink("lib", "usr/lib").Publish()});
  EXPECT_TRUE(chain.lower().Lookup("lib"));
  EXPECT_FALSE(chain.lower().Lookup("lib/a"));
}

TEST_F(LowerChainTest, DirectoryWhoseEntriesAreAllWhitedOutHasNoVisibleChildren) {
  Chain chain(store(), {Layer().File("d/a", "").File("d/b/c", "").Dir("e").Publish(),
                        Layer().Whiteout("d/a").Publish(), Layer().Whiteout("d/b").Publish()});
  LowerChain lower = chain.lower();
  EXPECT_FALSE(lower.HasVisibleChildren(*lower.Lookup("d")));
  EXPECT_FALSE(lower.HasVisibleChildren(*lower.Lookup("e")));
  EXPECT_TRUE(lower.HasVisibleChildren(lower.Root()));
}

TEST_F(LowerChainTest, EmptyChainShowsNothing) {
  LowerChain lower({});
  EXPECT_TRUE(lower.Root().places.empty());
  EXPECT_FALSE(lower.Lookup("a"));
  EXPECT_FALSE(lower.HasVisibleChildren(lower.Root()));
}

// The names and metadata that the chain shows, as TreeEntry::facts begins: mode and mtime.
void List(const LowerChain& lower, const LowerChain::Merged& directory, const std::string& prefix,
          std::map<std::string, std::string>& out) {
  for (const LowerChain::Place& place : directory.places) {
    const ManifestEntry& d = lower.entry(place);
    for (uint32_t i = 0; i < d.child_count; ++i) {
      const LowerChain::Place child{place.layer, d.first_child + i};
      const std::string name(lower.manifest(child).name(lower.entry(child)));
      std::optional<LowerChain::Merged> found = lower.Child(directory, name);
      if (!found) continue;
      const ManifestEntry& e = lower.entry(found->top());
      out[prefix + name] =
          fmt::format("{:04o} {}.{:09}", e.mode & 01777, e.mtime_sec, e.mtime_nsec);
      if (e.is_directory()) List(lower, *found, prefix + name + "/", out);
    }
  }
}

TEST_F(LowerChainTest, ShowsWhatARealOverlayShows) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    std::vector<LayerId> ids;
    for (unsigned i = 0; i < 2 + seed % 3; ++i) ids.push_back(RandomLayer(store(), random));
    Chain chain(store(), ids);
    Result<Tree> tree = ReadOverlay({chain.dirs, "", ""});
    ASSERT_TRUE(tree) << tree.error().message();
    std::map<std::string, std::string> expected;
    for (const auto& [path, entry] : *tree) {
      expected[path] = entry.facts.substr(2, entry.facts.find(' ', 7) - 2);
    }
    std::map<std::string, std::string> shown;
    List(chain.lower(), chain.lower().Root(), "", shown);
    EXPECT_EQ(shown, expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace strata::testing
