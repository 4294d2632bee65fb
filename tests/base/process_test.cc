// SPDX-License-Identifier: Apache-2.0
#include "base/process.h"

#include <gtest/gtest.h>
#include <linux/sched.h>
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

TEST(ProcessTest, OneWithoutAnExitSignalIsWaitedForLikeAnyOther) {
  int pid_fd = -1;
  const int64_t pid = sys::Clone(0, &pid_fd, 0);
  ASSERT_GE(pid, 0);
  if (pid == 0) sys::ExitNow(9);
  Process process(static_cast<pid_t>(pid), UniqueFd(pid_fd));
  auto status = process.Wait();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->ShellCode(), 9);
}

TEST(ProcessTest, CloneClearsHandlersAndLeavesWhatIsIgnored) {
  struct sigaction before[2];
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &action, &before[0]);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR2, &action, &before[1]);
  int pid_fd = -1;
  const int64_t pid = sys::Clone(CLONE_CLEAR_SIGHAND, &pid_fd);
  if (pid == 0) {
    struct sigaction found[2];
    ::sigaction(SIGUSR1, nullptr, &found[0]);
    ::sigaction(SIGUSR2, nullptr, &found[1]);
    sys::ExitNow(found[0].sa_handler == SIG_DFL && found[1].sa_handler == SIG_IGN ? 0 : 1);
  }
  ::sigaction(SIGUSR1, &before[0], nullptr);
  ::sigaction(SIGUSR2, &before[1], nullptr);
  ASSERT_GT(pid, 0);
  auto status = Process(static_cast<pid_t>(pid), UniqueFd(pid_fd)).Wait();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->ShellCode(), 0);
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
