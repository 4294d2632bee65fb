// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/values.h"

#include <gtest/gtest.h>

#include "tools/strata/json.h"
#include "tools/strata/progress.h"

namespace strata {
namespace {

using std::chrono::milliseconds;

TEST(ValuesTest, ReadsSizesWithUnitsOf1024) {
  EXPECT_EQ(*ParseSize("0"), 0U);
  EXPECT_EQ(*ParseSize("4096"), 4096U);
  EXPECT_EQ(*ParseSize("64K"), 65536U);
  EXPECT_EQ(*ParseSize("10m"), 10U << 20);
  EXPECT_EQ(*ParseSize("1.5G"), 1536ULL << 20);
  EXPECT_EQ(*ParseSize("2T"), 2ULL << 40);
}

TEST(ValuesTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", "K", "-1", "+1", " 1", "1 ", "1KB", "0x10", "1.", ".5", "1.5", "1e3",
                           "1.2345K", "99999999999999999999", "9999999T"}) {
    auto size = ParseSize(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().message(),
              fmt::format("'{}' is not a size (bytes, or a number with K, M, G or T)", text));
    EXPECT_EQ(size.error().code(), Errc::kInvalid);
  }
}

TEST(ValuesTest, ReadsDurationsInSecondsUnlessAUnitSaysOtherwise) {
  EXPECT_EQ(*ParseDuration("90"), milliseconds(90000));
  EXPECT_EQ(*ParseDuration("0.25s"), milliseconds(250));
  EXPECT_EQ(*ParseDuration("1.5m"), milliseconds(90000));
  EXPECT_EQ(*ParseDuration("2h"), milliseconds(7200000));
}

TEST(ValuesTest, RefusesWhatIsNoDuration) {
  for (const char* text : {"", "s", "-1", "1d", "1ms", "1:30", "99999999999h"}) {
    EXPECT_FALSE(ParseDuration(text)) << text;
  }
}

TEST(ValuesTest, ReadsAnEpochUpToTheYear9999) {
  EXPECT_EQ(*ParseEpoch("0"), 0);
  EXPECT_EQ(*ParseEpoch("253402300799"), 253402300799);
  for (const char* text : {"", "-1", "1.5", "now", "253402300800", "99999999999999999999"}) {
    EXPECT_FALSE(ParseEpoch(text)) << text;
  }
}

TEST(ValuesTest, RefusesTheIdThatMeansNone) {
  EXPECT_EQ(*ParseId("4294967294"), 4294967294U);
  EXPECT_FALSE(ParseId("4294967295"));
  EXPECT_FALSE(ParseId("root"));
}

TEST(ValuesTest, SplitsAtTheFirstEqualsSign) {
  auto pair = ParseKeyValue("A=b=c");
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->first, "A");
  EXPECT_EQ(pair->second, "b=c");
  EXPECT_EQ(ParseKeyValue("A=")->second, "");
  EXPECT_FALSE(ParseKeyValue("A"));
  EXPECT_FALSE(ParseKeyValue("=b"));
}

TEST(ValuesTest, WritesSizesInThreeDigits) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KB");
  EXPECT_EQ(FormatSize(10240), "10 KB");
  EXPECT_EQ(FormatSize((1ULL << 30) - 1), "1.0 GB");
  EXPECT_EQ(FormatSize(UINT64_MAX), "16 EB");
}

TEST(ProgressTest, TellsRateAndTimeLeftWhereTheTotalIsKnown) {
  EXPECT_EQ(ProgressText("import x", 10 << 20, 40 << 20, 12345, 2),
            "import x: 10 MB of 40 MB, 12,345 entries, 5.0 MB/s, 7 s left");
  EXPECT_EQ(ProgressText("import -", 10 << 20, 0, 0, 2), "import -: 10 MB, 5.0 MB/s");
  EXPECT_EQ(ProgressText("x", 0, 100, 0, 1), "x: 0 B of 100 B");
  EXPECT_EQ(ProgressText("x", 1024, 1024 * 1000, 0, 1),
            "x: 1.0 KB of 1.0 MB, 1.0 KB/s, 16:40 min left");
}

TEST(JsonTest, KeepsTheBytesOfTextThatIsNotUtf8) {
  Json json;
  SetText(json, "good", "a\n\xc3\xa4");
  SetText(json, "bad", "a\xff");
  EXPECT_EQ(json["good"], "a\n\xc3\xa4");
  EXPECT_FALSE(json.contains("good_hex"));
  EXPECT_EQ(json["bad_hex"], "61ff");
}

}  // namespace
}  // namespace strata
