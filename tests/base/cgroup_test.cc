// SPDX-License-Identifier: Apache-2.0
//
// Where cgroups are looked for and what is read from them. Making them is tested on real ones:
// tests/cli/test_limits.py, test_cgroup2.py.
#include "base/cgroup.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/io.h"
#include "base/temp_dir.h"

namespace strata {
namespace {

constexpr char kHybridMounts[] =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(FindCgroupsTest, FindsEachControllerOfAHybridMachine) {
  auto places = FindCgroups(
      "12:cpuset:/\n4:memory:/a/b\n3:cpu,cpuacct:/c\n1:name=systemd:/x\n0::/d\n", kHybridMounts);
  ASSERT_EQ(places.size(), 3U);
  EXPECT_EQ(places[0].version, 1);
  EXPECT_EQ(places[0].own, "/sys/fs/cgroup/memory/a/b");
  EXPECT_TRUE(places[0].controllers[static_cast<size_t>(Controller::kMemory)]);
  EXPECT_FALSE(places[0].controllers[static_cast<size_t>(Controller::kCpu)]);
  EXPECT_EQ(places[1].own, "/sys/fs/cgroup/cpu,cpuacct/c");
  EXPECT_TRUE(places[1].controllers[static_cast<size_t>(Controller::kCpu)]);
  EXPECT_EQ(places[2].version, 2);
  EXPECT_EQ(places[2].own, "/sys/fs/cgroup/unified/d");
  EXPECT_EQ(places[2].top, "/sys/fs/cgroup/unified");
}

TEST(FindCgroupsTest, APartOfAHierarchyThatIsMountedIsSeenFromItsTop) {
  auto places =
      FindCgroups("0::/docker/abc/job\n",
                  "9 1 0:3 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n");
  ASSERT_EQ(places.size(), 1U);
  EXPECT_EQ(places[0].own, "/sys/fs/cgroup/job");
}

TEST(FindCgroupsTest, AGroupThatNoMountShowsIsLeftOut) {
  EXPECT_TRUE(
      FindCgroups("0::/docker/abcd\n", "9 1 0:3 /docker/abc /c rw - cgroup2 c rw\n").empty());
  EXPECT_TRUE(FindCgroups("0::/../other\n", "9 1 0:3 / /c rw - cgroup2 c rw\n").empty());
  EXPECT_TRUE(FindCgroups("4:memory:/\n", "9 1 0:3 / /c rw - cgroup2 c rw\n").empty());
}

TEST(FindCgroupsTest, NonsenseIsNoPlace) {
  EXPECT_TRUE(FindCgroups("", "").empty());
  EXPECT_TRUE(FindCgroups("::\n:\n\n4:memory\n0::/", "1\n\n2 - \n3 4 5 6 7 8 - cgroup2").empty());
}

class UsageTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TempDir::Create(AT_FDCWD, "/tmp/cgroup-test-");
    ASSERT_TRUE(made.has_value());
    directory_ = std::move(*made);
  }
  void File(const char* name, const char* text) {
    ASSERT_TRUE(ReplaceFile(directory_.fd(), name, text).has_value());
  }
  CgroupUsage Read(int version) {
    CgroupUsage usage;
    ReadCgroupUsage(directory_.fd(), version, &usage);
    return usage;
  }
  TempDir directory_;
};

TEST_F(UsageTest, OfVersion2) {
  File("memory.peak", "67108864\n");
  File("memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 0\n");
  File("pids.events", "max 3\n");
  File("pids.peak", "7\n");
  CgroupUsage usage = Read(2);
  EXPECT_EQ(usage.memory_peak, 67108864U);
  EXPECT_EQ(usage.oom_kills, 2U);
  EXPECT_TRUE(usage.memory_limit_hit);
  EXPECT_EQ(usage.pids_refused, 3U);
  EXPECT_EQ(usage.pids_peak, 7U);
}

TEST_F(UsageTest, AKillWithoutOomInTheGroupIsNotOfItsLimit) {
  File("memory.events", "max 0\noom 0\noom_kill 1\n");
  EXPECT_EQ(Read(2).oom_kills, 1U);
  EXPECT_FALSE(Read(2).memory_limit_hit);
}

TEST_F(UsageTest, OfVersion1) {
  File("memory.limit_in_bytes", "67108864\n");
  File("memory.max_usage_in_bytes", "67104768\n");
  File("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  EXPECT_EQ(Read(1).oom_kills, 1U);
  EXPECT_TRUE(Read(1).memory_limit_hit);
  File("memory.max_usage_in_bytes", "1048576\n");
  EXPECT_FALSE(Read(1).memory_limit_hit);
}

TEST_F(UsageTest, WhatAKernelDoesNotTellIsNothing) {
  CgroupUsage usage = Read(2);
  EXPECT_FALSE(usage.memory_peak || usage.oom_kills || usage.pids_peak || usage.pids_refused);
  EXPECT_FALSE(usage.memory_limit_hit);
}

TEST(CgroupTest, WithoutAnyPlaceThereIsAReasonForEach) {
  Cgroup cgroup = Cgroup::Make({.memory = 1 << 26, .pids = 5, .cpu_milli = 500}, {});
  EXPECT_TRUE(cgroup.empty());
  EXPECT_EQ(cgroup.v2_fd(), -1);
  for (auto controller : {Controller::kMemory, Controller::kPids, Controller::kCpu}) {
    EXPECT_EQ(cgroup.version(controller), 0);
    EXPECT_FALSE(cgroup.reason(controller).empty());
  }
}

TEST(CgroupTest, ADirectoryThatIsNoCgroupIsRefusedAndLeftAsItWas) {
  auto made = TempDir::Create(AT_FDCWD, "/tmp/cgroup-test-");
  ASSERT_TRUE(made.has_value());
  CgroupPlace place{
      .version = 1, .controllers = {true, true, true}, .top = made->name(), .own = made->name()};
  EXPECT_TRUE(Cgroup::Make({.memory = 1 << 26}, {place}).empty());
  EXPECT_EQ(::rmdir(made->name().c_str()), 0);  // it is empty
  static_cast<void>(made->Release());
}

}  // namespace
}  // namespace strata
