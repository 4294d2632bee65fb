// SPDX-License-Identifier: Apache-2.0
#include "base/id_map.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "base/remove_tree.h"
#include "base/subordinate_ids.h"

namespace strata {

static bool operator==(const IdRange& a, const IdRange& b) {
  return a.inside == b.inside && a.outside == b.outside && a.count == b.count;
}
static std::ostream& operator<<(std::ostream& out, const IdRange& range) {
  return out << range.inside << ':' << range.outside << ':' << range.count;
}

namespace {

using Ranges = std::vector<IdRange>;
const Ranges kEverything = {{0, 0, 4294967295U}};

TEST(SubordinateRangesTest, BelongToANameOrANumber) {
  const char* text =
      "root:100:5\nann:100000:65536\n1000:300000:10\n# ann:1:1\nanna:7:7\nann:200000:3";
  EXPECT_EQ(ParseSubordinateRanges(text, "ann", 1000),
            (Ranges{{0, 100000, 65536}, {0, 300000, 10}, {0, 200000, 3}}));
  EXPECT_EQ(ParseSubordinateRanges(text, "bob", 1001), Ranges{});
  EXPECT_EQ(ParseSubordinateRanges(":5:5\n", "", 1), Ranges{}) << "nobody is called nothing";
}

TEST(SubordinateRangesTest, SenselessLinesAreSkipped) {
  for (std::string_view line :
       {"a", "a:", "a:1", "a:1:", "a::1", "a:-1:5", "a:+1:5", "a:1:-5", "a: 1:5", "a:1:5:6",
        "a:0x10:5", "a:1:0", "a:4294967295:1", "a:4294967290:6", "a:1:18446744073709551616",
        "a:99999999999:1", ":::", "a:1:5\r"}) {
    EXPECT_EQ(ParseSubordinateRanges(line, "a", 1), Ranges{}) << line;
  }
  const std::string_view nul("a:1:5\0\nb:2:5\n", 13);
  EXPECT_EQ(ParseSubordinateRanges(nul, "a", 1), Ranges{});
  EXPECT_EQ(ParseSubordinateRanges(nul, "b", 1), (Ranges{{0, 2, 5}}));
  EXPECT_EQ(ParseSubordinateRanges("a:4294967290:5", "a", 1), (Ranges{{0, 4294967290U, 5}}));
}

TEST(SubordinateRangesTest, AreJoinedBehindTheOwnId) {
  EXPECT_EQ(JoinSubordinateRanges(1000, {{0, 100000, 10}, {0, 500, 3}}, kEverything),
            (Ranges{{0, 1000, 1}, {1, 100000, 10}, {11, 500, 3}}));
}

TEST(SubordinateRangesTest, AnIdIsMappedOnce) {
  EXPECT_EQ(JoinSubordinateRanges(5, {{0, 0, 10}}, kEverything),
            (Ranges{{0, 5, 1}, {1, 0, 5}, {6, 6, 4}}))
      << "the own id in a range";
  EXPECT_EQ(JoinSubordinateRanges(1, {{0, 100, 10}, {0, 105, 10}, {0, 90, 40}, {0, 100, 30}},
                                  kEverything),
            (Ranges{{0, 1, 1}, {1, 100, 10}, {11, 110, 5}, {16, 90, 10}, {26, 115, 15}}));
}

TEST(SubordinateRangesTest, WhatTheNamespaceDoesNotHaveIsLeftOut) {
  const Ranges container = {{0, 7000, 1000}, {2000, 9000, 10}};
  EXPECT_EQ(JoinSubordinateRanges(5, {{0, 100000, 65536}}, container), (Ranges{{0, 5, 1}}));
  EXPECT_EQ(JoinSubordinateRanges(5, {{0, 990, 1015}}, container),
            (Ranges{{0, 5, 1}, {1, 990, 10}, {11, 2000, 5}}));
  EXPECT_EQ(IdentityRanges(container), (Ranges{{0, 0, 1000}, {2000, 2000, 10}}));
  EXPECT_EQ(IdentityRanges(kEverything), (Ranges{{0, 0, 65536}}));
}

TEST(SubordinateRangesTest, TheWholeMapFitsOneWrite) {
  Ranges many;
  for (uint32_t i = 0; i < 1000; ++i) many.push_back({0, 4000000000U + 10 * i, 5});
  size_t bytes = 0;
  for (const IdRange& range : JoinSubordinateRanges(1, many, kEverything)) {
    bytes += fmt::format("{} {} {}\n", range.inside, range.outside, range.count).size();
  }
  EXPECT_LT(bytes, 4096U);
  EXPECT_EQ(JoinSubordinateRanges(0, {{0, 1, 4294967294U}}, kEverything).back().count, 4294967294U);
}

TEST(SubordinateRangesTest, MapsAndNamesAreRead) {
  EXPECT_EQ(ParseIdMap("         0          0 4294967295\n"), kEverything);
  EXPECT_EQ(ParseIdMap("0 1000 1\n1 100000 65536\n"), (Ranges{{0, 1000, 1}, {1, 100000, 65536}}));
  EXPECT_EQ(ParseIdMap("nonsense\n1 2\n"), Ranges{});
  EXPECT_EQ(FindUserName("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/:\nann2:x:1000:5", 1000),
            "ann");
  EXPECT_EQ(FindUserName("ann:x\n\nx", 1000), "");
}

TEST(IdMappingTest, KnowsWhatItHas) {
  EXPECT_TRUE(SingleId(5, 6).IsSingle());
  EXPECT_TRUE(SingleId(5, 6).HasUid(5));
  EXPECT_FALSE(SingleId(5, 6).HasUid(6));
  EXPECT_TRUE(SingleId(5, 6).HasGid(6));
  IdMapping range{{{0, 1000, 1}, {1, 100000, 10}}, {{0, 1000, 1}}};
  EXPECT_FALSE(range.IsSingle());
  EXPECT_TRUE(range.HasUid(10));
  EXPECT_FALSE(range.HasUid(11));
}

TEST(RunInMappingTest, IsRootWithOneId) {
  auto done = RunInMapping(SingleId(), []() -> Result<void> {
    if (::geteuid() == 0 && ::getegid() == 0) return {};
    return Fail(Errc::kInvalid, "uid {}", ::geteuid());
  });
  EXPECT_TRUE(done) << done.error().message();
}

TEST(RunInMappingTest, ErrorsComeBackWhole) {
  auto done = RunInMapping(SingleId(), []() -> Result<void> {
    return Unexpected(Error::Sys(EXDEV, "rename", "here").Wrap("move").Hint("do not"));
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().sys_errno(), EXDEV);
  EXPECT_EQ(done.error().message(), Error::Sys(EXDEV, "rename", "here").Wrap("move").message());
  EXPECT_EQ(done.error().hint(), "do not");
}

// With the range of whoever runs the tests: root's own ids, or by newuidmap those of /etc/subuid.
class RangeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto mapping = SubordinateIds();
    if (!mapping) GTEST_SKIP() << mapping.error().message() << ": " << mapping.error().hint();
    mapping_ = *mapping;
    const char* tmp = std::getenv("TMPDIR");
    path_ = fmt::format("{}/strata-ids-XXXXXX", tmp != nullptr ? tmp : "/tmp");
    ASSERT_NE(::mkdtemp(path_.data()), nullptr) << path_;
  }
  void TearDown() override {
    if (path_.empty()) return;
    EXPECT_TRUE(RemoveTree(AT_FDCWD, path_));
  }
  std::string Path(const char* name) const { return path_ + "/" + name; }

  IdMapping mapping_;
  std::string path_;
};

TEST_F(RangeTest, FilesGetTheOwnersThatItGives) {
  EXPECT_FALSE(mapping_.IsSingle());
  std::ofstream(Path("file")) << "text";
  auto done = RunInMapping(mapping_, [&]() -> Result<void> {
    if (::chown(Path("file").c_str(), 42, 43) != 0) return FailSys(errno, "chown", "file");
    struct stat st;
    if (::stat(Path("file").c_str(), &st) != 0) return FailSys(errno, "stat", "file");
    if (st.st_uid != 42 || st.st_gid != 43)
      return Fail(Errc::kInvalid, "{}:{}", st.st_uid, st.st_gid);
    const gid_t groups[] = {7};
    if (::setgroups(1, groups) != 0) return FailSys(errno, "setgroups");
    return {};
  });
  EXPECT_TRUE(done) << done.error().message();
  struct stat st;
  ASSERT_EQ(::stat(Path("file").c_str(), &st), 0);
  EXPECT_NE(st.st_uid, ::geteuid());
  EXPECT_TRUE(RunInMapping(mapping_, [&]() -> Result<void> {
    return ::chown(Path("file").c_str(), 0, 0) == 0 ? Result<void>() : FailSys(errno, "chown");
  }));
  ASSERT_EQ(::stat(Path("file").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, ::geteuid()) << "0 is the caller";
}

TEST_F(RangeTest, AHelperThatFailsIsQuoted) {
  for (const char* name : {"newuidmap", "newgidmap"}) {
    std::ofstream(Path(name)) << "#!/bin/sh\necho \"" << name
                              << ": write to map failed\" >&2\nexit 1\n";
    ASSERT_EQ(::chmod(Path(name).c_str(), 0755), 0);
  }
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (path_ + ":/usr/bin:/bin").c_str(), 1);
  auto done = RunInMapping(mapping_, [&]() -> Result<void> {
    static_cast<void>(::unlink(Path("newuidmap").c_str()) == 0);
    return {};
  });
  ::setenv("PATH", path_.c_str(), 1);
  ASSERT_EQ(::unlink(Path("newgidmap").c_str()), 0);
  auto none = SubordinateIds();
  ::setenv("PATH", path.c_str(), 1);
  if (::geteuid() == 0) {
    EXPECT_TRUE(done && none) << "root needs no helper";
    return;
  }
  ASSERT_FALSE(done);
  EXPECT_EQ(::access(Path("newuidmap").c_str(), F_OK), 0) << "the work was done all the same";
  EXPECT_EQ(done.error().code(), Errc::kUnsupported);
  EXPECT_EQ(done.error().message(), "set up user namespace: newuidmap: write to map failed");
  EXPECT_NE(done.error().hint().find("/etc/subuid"), std::string::npos);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Errc::kUnsupported);
  EXPECT_EQ(none.error().message(), "newgidmap: not found in PATH");
  EXPECT_NE(none.error().hint().find("uidmap"), std::string::npos);
}

}  // namespace
}  // namespace strata
