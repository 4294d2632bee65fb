// SPDX-License-Identifier: Apache-2.0
#include "cache/view.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

bool Matches(std::string_view glob, std::string_view path) {
  auto parsed = Glob::Parse(glob);
  EXPECT_TRUE(parsed) << glob << ": " << parsed.error().message();
  return parsed && parsed->Matches(path);
}

std::string Canonical(std::string_view text) {
  auto view = ParseView(text);
  EXPECT_TRUE(view) << text << ": " << view.error().message();
  return view ? view->Canonical() : "";
}

std::string Bad(std::string_view text) {
  auto view = ParseView(text);
  EXPECT_FALSE(view) << text;
  if (view) return "";
  EXPECT_EQ(view.error().code(), Errc::kInvalid);
  return view.error().message();
}

TEST(ViewTest, AStarStaysInItsComponent) {
  EXPECT_TRUE(Matches("usr/*", "usr/bin"));
  EXPECT_FALSE(Matches("usr/*", "usr/bin/cc"));
  EXPECT_FALSE(Matches("usr/*", "usr"));
  EXPECT_TRUE(Matches("usr/*/c*", "usr/bin/cc"));
  EXPECT_TRUE(Matches("*.so*", "libc.so.6"));
  EXPECT_FALSE(Matches("*.so*", "lib/libc.so.6"));
  EXPECT_TRUE(Matches("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(Matches("a*b*c", "aXbYbZ"));
}

TEST(ViewTest, TwoStarsCrossComponents) {
  EXPECT_TRUE(Matches("usr/**", "usr/bin/cc"));
  EXPECT_FALSE(Matches("usr/**", "usr"));
  EXPECT_TRUE(Matches("**/*.h", "usr/include/sys/stat.h"));
  EXPECT_TRUE(Matches("**/*.h", "stat.h"));
  EXPECT_TRUE(Matches("a/**/b", "a/b"));
  EXPECT_TRUE(Matches("a/**/b", "a/x/y/b"));
  EXPECT_FALSE(Matches("a/**/b", "a/xb"));
  EXPECT_FALSE(Matches("a/**/b", "ab"));
  EXPECT_TRUE(Matches("a/**/**/b", "a/b"));
  EXPECT_TRUE(Matches("**", "any/thing"));
  EXPECT_TRUE(Matches("u**c", "usr/bin/cc"));
}

TEST(ViewTest, SetsRangesAndEscapes) {
  EXPECT_TRUE(Matches("lib[0-9a]", "lib7"));
  EXPECT_TRUE(Matches("lib[0-9a]", "liba"));
  EXPECT_FALSE(Matches("lib[0-9a]", "libb"));
  EXPECT_TRUE(Matches("[!a]b", "xb"));
  EXPECT_FALSE(Matches("[!a]b", "/b"));
  EXPECT_FALSE(Matches("[^a]b", "ab"));
  EXPECT_TRUE(Matches("[]x]", "]"));
  EXPECT_TRUE(Matches("[a-]", "-"));
  EXPECT_TRUE(Matches("\\*\\[", "*["));
  EXPECT_FALSE(Matches("\\*", "x"));
  EXPECT_TRUE(Matches("?", "\xff"));
  EXPECT_FALSE(Matches("a?b", "a/b"));
}

TEST(ViewTest, AHostileGlobIsNotSlow) {
  std::string glob;
  for (int i = 0; i < 500; ++i) glob += "a*";
  EXPECT_FALSE(Matches(glob + "b", std::string(2000, 'a')));
}

TEST(ViewTest, TheCanonicalFormIsSorted) {
  EXPECT_EQ(Canonical("only=usr/lib:at=/opt//x/:only=/usr/bin/:only=usr/lib"),
            "at=/opt/x:only=usr/bin:only=usr/lib");
  EXPECT_EQ(Canonical(Canonical("at=/a:only=b")), "at=/a:only=b");
  EXPECT_EQ(Canonical("at=/"), "");
  EXPECT_EQ(Canonical("only=a:b"), "only=a:b");
}

TEST(ViewTest, WhatIsNoViewIsRefused) {
  EXPECT_EQ(Bad("at=opt"), "at=opt: not an absolute path");
  EXPECT_EQ(Bad("at="), "at=: not an absolute path");
  EXPECT_NE(Bad("at=/opt/../etc").find("at=/opt/../etc: "), std::string::npos);
  EXPECT_EQ(Bad("at=/a:at=/b"), "two at= in one view");
  EXPECT_EQ(Bad("only="), "only=: an empty pattern");
  EXPECT_EQ(Bad("only=/"), "only=/: an empty pattern");
  EXPECT_EQ(Bad("only=a/../b"), "only=a/../b: an empty, '.' or '..' part matches nothing");
  EXPECT_EQ(Bad("only=a//b"), "only=a//b: an empty, '.' or '..' part matches nothing");
  EXPECT_EQ(Bad("only=a["), "only=a[: a '[' without its ']'");
  EXPECT_EQ(Bad("only=a[x"), "only=a[x: a '[' without its ']'");
  EXPECT_EQ(Bad("only=[z-a]"), "only=[z-a]: a range in '[]' that runs backwards");
  EXPECT_EQ(Bad("only=a\\"), "only=a\\x5c: it ends with a '\\'");
  EXPECT_EQ(Bad(""), "'' is neither at=/prefix nor only=GLOB");
  EXPECT_EQ(Bad("of=x"), "'of=x' is neither at=/prefix nor only=GLOB");
}

TEST(ViewTest, AViewIsFoundBehindALayer) {
  EXPECT_EQ(FindView("gcc:12:at=/opt"), 6U);
  EXPECT_EQ(FindView("gcc:12:only=a:at=/opt"), 6U);
  EXPECT_EQ(FindView("gcc:12"), std::string_view::npos);
}

}  // namespace
}  // namespace strata
