// SPDX-License-Identifier: Apache-2.0
#include "base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/parallel.h"
#include "base/sys.h"

namespace strata {
namespace {

Process Spawn(void (*body)()) {
  int pid_fd = -1;
  int64_t pid = sys::Clone(0, &pid_fd);
  EXPECT_GE(pid, 0);
  if (pid == 0) {
    body();
    sys::ExitNow(0);
  }
  return Process(static_cast<pid_t>(pid), UniqueFd(pid_fd));
}

TEST(ProcessTest, WaitTellsTheExitCode) {
  Process process = Spawn([] { sys::ExitNow(7); });
  auto status = process.Wait();
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->signaled);
  EXPECT_EQ(status->ShellCode(), 7);
  EXPECT_FALSE(process.running());
}

TEST(ProcessTest, WaitTellsTheSignalAndTheUsage) {
  Process process = Spawn([] { ::pause(); });
  ASSERT_TRUE(process.Signal(SIGTERM));
  struct rusage usage {};
  auto status = process.Wait(&usage);
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->signaled);
  EXPECT_EQ(status->ShellCode(), 128 + SIGTERM);
  EXPECT_GT(usage.ru_maxrss, 0);
}

TEST(ProcessTest, GoesWithItsOwner) {
  pid_t pid;
  {
    Process process = Spawn([] { ::pause(); });
    pid = process.pid();
    Process moved = std::move(process);
    EXPECT_TRUE(moved.running());
    EXPECT_FALSE(process.running());  // NOLINT: moved-from on purpose
  }
  EXPECT_EQ(::kill(pid, 0), -1) << "it still runs";
}

TEST(ParallelForTest, VisitsEachIndexOnce) {
  for (size_t count : {0U, 1U, 15U, 16U, 17U, 1000U}) {
    std::vector<std::atomic<int>> visits(count);
    ParallelFor(count, 4, [&](size_t i) { ++visits[i]; });
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(visits[i], 1) << i << " of " << count;
  }
}

}  // namespace
}  // namespace strata
