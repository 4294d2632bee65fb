// SPDX-License-Identifier: Apache-2.0
#include "cache/diff.h"

#include <gtest/gtest.h>

#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;

class DiffTest : public testing::StoreFixture {
 protected:
  // "A path", "M path 10" (the fields), "D path", in the order of the visits.
  std::vector<std::string> Lines(LayerMaker& old_layer, LayerMaker& new_layer) {
    Manifest a = Must(store().OpenManifest(old_layer.Publish()));
    Manifest b = Must(store().OpenManifest(new_layer.Publish()));
    std::vector<std::string> lines;
    Diff(a, b, [&](const Difference& d) {
      switch (d.kind) {
        case Difference::Kind::kAdded:
          lines.push_back("A " + d.path);
          break;
        case Difference::Kind::kDeleted:
          lines.push_back("D " + d.path);
          break;
        case Difference::Kind::kModified:
          lines.push_back(fmt::format("M {} {}", d.path, d.fields));
      }
    });
    return lines;
  }
  using StringList = std::vector<std::string>;
  LayerMaker old_{store()};
  LayerMaker new_{store()};
};

TEST_F(DiffTest, SaysNothingOfEqualLayers) {
  old_.File("usr/bin/cc", "x").Symlink("bin", "usr/bin");
  new_.Symlink("bin", "usr/bin").File("usr/bin/cc", "x");
  EXPECT_EQ(Lines(old_, new_), StringList{});
}

TEST_F(DiffTest, ListsEverythingBelowAnAddedOrDeletedDirectory) {
  old_.File("gone/a/b", "1").File("kept", "");
  new_.File("kept", "").File("made/c", "2");
  EXPECT_EQ(Lines(old_, new_),
            (StringList{"D gone", "D gone/a", "D gone/a/b", "A made", "A made/c"}));
}

TEST_F(DiffTest, NamesTheFieldsThatDiffer) {
  old_.File("content", "1").File("mode", "", 0644).File("owner", "").Symlink("target", "a");
  old_.File("mtime", "").File("xattr", "").Dir("flags");
  new_.File("content", "2").File("mode", "", 04755).Symlink("target", "b").Opaque("flags");
  new_.File("xattr", "", 0644, {{"user.a", "b"}}).Owner(1, 2).File("owner", "").Owner(0, 0);
  new_.Mtime(1600000000, 5).File("mtime", "");
  EXPECT_EQ(Lines(old_, new_),
            (StringList{
                fmt::format("M content {}", +kDiffContent), fmt::format("M flags {}", +kDiffFlags),
                fmt::format("M mode {}", +kDiffMode), fmt::format("M mtime {}", +kDiffMtime),
                fmt::format("M owner {}", +kDiffOwner), fmt::format("M target {}", +kDiffTarget),
                fmt::format("M xattr {}", +kDiffXattrs)}));
}

TEST_F(DiffTest, ComparesHardlinksByThePathOfTheirFirstEntry) {
  // A new entry in front moves every index, but no link changes.
  old_.File("b", "1").Link("b", "c").File("d", "1");
  new_.File("a", "").File("b", "1").Link("b", "c").Link("b", "d");
  EXPECT_EQ(Lines(old_, new_), (StringList{"A a", fmt::format("M d {}", +kDiffHardlink)}));
}

TEST_F(DiffTest, TreatsADirectoryThatBecameAFileAsModifiedAndItsChildrenAsDeleted) {
  old_.File("x/y", "1");
  new_.File("x", "1");
  StringList lines = Lines(old_, new_);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].substr(0, 4), "M x ");
  EXPECT_EQ(lines[1], "D x/y");
}

TEST_F(DiffTest, SortsByBytesAsTheManifestDoes) {
  old_.File("a", "");
  new_.File("a-b", "").File("a/b\xff", "");
  // "a" became a directory; "a-b" sorts after it and its children, though '-' sorts before '/'.
  StringList lines = Lines(old_, new_);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1], "A a/b\xff");
  EXPECT_EQ(lines[2], "A a-b");
}

}  // namespace
}  // namespace strata
