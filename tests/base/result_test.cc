// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace strata {
namespace {

Result<int> Inner(bool good) {
  if (!good) return FailSys(ENOENT, "open", "a.tar");
  return 7;
}

Result<int> Outer(bool good) {
  STRATA_ASSIGN_WITH(int value, Inner(good), "import a.tar");
  return value + 1;
}

Result<void> Plain(bool good) {
  STRATA_TRY(Inner(good));
  return {};
}

TEST(ResultTest, AnErrorNamesTheCallItsArgumentAndTheReason) {
  Error error = Inner(false).error();
  EXPECT_EQ(error.message(), "open a.tar: No such file or directory");
  EXPECT_EQ(error.sys_errno(), ENOENT);
  EXPECT_EQ(error.code(), Errc::kSystem);
  EXPECT_EQ(Error::Sys(EBADF, "close").message(), "close: Bad file descriptor");
}

TEST(ResultTest, EachLayerAddsOneClause) {
  EXPECT_EQ(Outer(false).error().message(), "import a.tar: open a.tar: No such file or directory");
  EXPECT_EQ(Outer(false).error().sys_errno(), ENOENT);
  EXPECT_EQ(*Outer(true), 8);
  EXPECT_TRUE(Plain(true));
  EXPECT_FALSE(Plain(false));
}

TEST(ResultTest, AFullDiskHasAHint) {
  EXPECT_NE(Error::Sys(ENOSPC, "write").hint().find("df -i"), std::string::npos);
  EXPECT_NE(Error::Sys(EMFILE, "open").hint().find("ulimit -n"), std::string::npos);
}

}  // namespace
}  // namespace strata
