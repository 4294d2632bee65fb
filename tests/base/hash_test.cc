// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(HashTest, Sha256OfKnownTexts) {
  EXPECT_EQ(Sha256::Of("", 0).Hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256::Of("abc", 3).Hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(HashTest, PiecesGiveTheDigestOfTheWhole) {
  Sha256 hash;
  hash.Update("a", 1);
  hash.Update("bc", 2);
  EXPECT_EQ(hash.Finish(), Sha256::Of("abc", 3));
  EXPECT_EQ(hash.Finish(), Sha256::Of("", 0)) << "Finish starts anew";
}

TEST(HashTest, ADigestReadsItsOwnHexAndNothingElse) {
  Digest digest = Sha256::Of("abc", 3);
  std::string hex = digest.Hex();
  EXPECT_EQ(Digest::FromHex(hex), digest);
  EXPECT_FALSE(Digest::FromHex(hex.substr(1)));
  EXPECT_FALSE(Digest::FromHex(hex + "0"));
  hex[5] = 'G';
  EXPECT_FALSE(Digest::FromHex(hex));
  hex[5] = 'A';
  EXPECT_FALSE(Digest::FromHex(hex)) << "upper case is another name";
}

TEST(HashTest, ADigestIsReadFromSixteenKindsOfDigitsAndNothingElse) {
  const Digest digest = Sha256::Of("abc", 3);
  const std::string hex = digest.Hex();
  for (size_t place = 0; place < hex.size(); ++place) {
    for (int value = 0; value < 256; ++value) {
      const char digit = static_cast<char>(value);
      std::string changed = hex;
      changed[place] = digit;
      const bool good = (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
      const auto read = Digest::FromHex(changed);
      ASSERT_EQ(read.has_value(), good) << place << " " << value;
      if (read) {
        EXPECT_EQ(read->Hex(), changed);
      }
    }
  }
}

TEST(HashTest, KeysDependOnEveryByte) {
  EXPECT_EQ(Xxh3("abc").Hex().size(), 32U);
  EXPECT_NE(Xxh3("abc"), Xxh3("abd"));
  EXPECT_NE(Xxh3Short("abc", 1), Xxh3Short("abc", 2));
}

}  // namespace
}  // namespace strata
