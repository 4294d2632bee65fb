// SPDX-License-Identifier: Apache-2.0
#include "cache/list_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/sys.h"
#include "base/temp_dir.h"

namespace strata {
namespace {

TEST(ListDirectory, OneThatIsRemovedMeanwhileIsEmpty) {
  auto dir = TempDir::Create(AT_FDCWD, "/var/tmp/");
  ASSERT_TRUE(dir);
  ASSERT_EQ(sys::MkdirAt(dir->fd(), "gone", 0700), 0);
  UniqueFd gone(sys::OpenAt(dir->fd(), "gone", O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(gone.valid());
  ASSERT_EQ(sys::UnlinkAt(dir->fd(), "gone", AT_REMOVEDIR), 0);
  auto names = ListDirectory(gone.get(), ".");
  ASSERT_TRUE(names);
  EXPECT_TRUE(names->empty());
}

}  // namespace
}  // namespace strata
