// SPDX-License-Identifier: Apache-2.0
#include "base/mount_table.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(MountTableTest, ReadsDirectoriesAndTypesAfterAnyNumberOfTags) {
  auto mounts = ParseMountTable(
      "28 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
      "31 28 0:44 / /a\\040b\\134c rw - overlay overlay rw,lowerdir=x\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].id, 28u);
  EXPECT_EQ(mounts[0].directory, "/");
  EXPECT_EQ(mounts[0].type, "ext4");
  EXPECT_EQ(mounts[0].device, "8:1");
  EXPECT_EQ(mounts[0].root, "/");
  EXPECT_EQ(mounts[1].directory, "/a b\\c");
  EXPECT_EQ(mounts[1].type, "overlay");
  EXPECT_EQ(mounts[1].options, "rw,lowerdir=x");
}

TEST(MountTableTest, LeavesOutWhatIsNoMount) {
  EXPECT_TRUE(ParseMountTable("\n \nx 1 8:1 / / rw - ext4 x rw\n12\n12 1 8:1 / / rw").empty());
}

TEST(MountTableTest, ADirectoryThatIsMountedOnceHasOnePath) {
  auto paths = PathsOfDirectory("/usr/bin");
  ASSERT_TRUE(paths);
  EXPECT_EQ(*paths, std::vector<std::string>{"/usr/bin"});
}

TEST(MountTableTest, TheKernelHasOne) {
  auto mounts = ReadMountTable();
  ASSERT_TRUE(mounts);
  EXPECT_FALSE(mounts->empty());
}

}  // namespace
}  // namespace strata
