// SPDX-License-Identifier: Apache-2.0
#include "base/path.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(PathTest, CleansDotsAndSlashes) {
  EXPECT_EQ(*CleanPath("./usr//bin/./cc/"), "usr/bin/cc");
  EXPECT_EQ(*CleanPath("/etc"), "etc");
  EXPECT_EQ(*CleanPath("/"), "");
  EXPECT_EQ(*CleanPath(""), "");
  EXPECT_EQ(*CleanPath("..."), "...");
}

TEST(PathTest, RefusesDotDotAnywhere) {
  for (const char* path : {"..", "../a", "a/..", "a/../b"}) {
    EXPECT_EQ(CleanPath(path).error().code(), Errc::kHostile) << path;
  }
}

TEST(PathTest, RefusesNulBytesAndWhatIsTooLong) {
  EXPECT_FALSE(CleanPath(std::string_view("a\0b", 3)));
  EXPECT_TRUE(CleanPath(std::string(255, 'n')));
  EXPECT_FALSE(CleanPath(std::string(256, 'n')));
  std::string deep;
  while (deep.size() < 4094) deep += "a/";
  EXPECT_TRUE(CleanPath(deep + "b"));
  EXPECT_FALSE(CleanPath(deep + "bc"));
}

TEST(PathTest, QuotesWhatATerminalShouldNotSee) {
  EXPECT_EQ(QuotePath("plain \xc3\xa9 \xf0\x9f\x98\x80"), "plain \xc3\xa9 \xf0\x9f\x98\x80");
  EXPECT_EQ(QuotePath("a\nb\x1b\x7f\\"), "a\\x0ab\\x1b\\x7f\\x5c");
  EXPECT_EQ(QuotePath("\xff\xc0\xaf\xed\xa0\x80"), "\\xff\\xc0\\xaf\\xed\\xa0\\x80");
  EXPECT_EQ(QuotePath("\xc3"), "\\xc3");
  EXPECT_EQ(QuotePath("\xc2\x9b" "1m\xc2\xa0"), "\\xc2\\x9b" "1m\xc2\xa0");  // CSI, and a space
}

}  // namespace
}  // namespace strata
