// SPDX-License-Identifier: Apache-2.0
//
// What base/ does in a process that is somebody else's: with handlers, with SIGCHLD ignored, with
// its own working directory.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "base/copy_tree.h"
#include "base/helper_program.h"
#include "base/id_map.h"
#include "base/own_thread.h"
#include "base/parallel.h"

namespace strata {
namespace {

// For the time of a test.
class Disposition {
 public:
  Disposition(int signal, void (*handler)(int)) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(signal_, &action, &before_);
  }
  ~Disposition() { ::sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_ {};
};

std::atomic<int> g_handled{0};
void Handle(int) {
  ++g_handled;
}

TEST(GuestTest, WorkInAMappingIsToldOfWhateverSigchldDoes) {
  Disposition ignored(SIGCHLD, SIG_IGN);
  EXPECT_TRUE(RunInMapping(SingleId(), [] { return Result<void>(); }));
  auto failed =
      RunInMapping(SingleId(), []() -> Result<void> { return Fail(Errc::kBusy, "as it is"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "as it is");
}

TEST(GuestTest, WorkInAMappingThatRunsOutOfMemoryFails) {
  auto done = RunInMapping(SingleId(), []() -> Result<void> { throw std::bad_alloc(); });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "out of memory");
}

TEST(GuestTest, WorkInAMappingThatIsKilledFails) {
  auto done = RunInMapping(SingleId(), []() -> Result<void> {
    ::raise(SIGKILL);
    return {};
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "a child process was killed");
}

TEST(GuestTest, SignalsAreNotHandledInAMapping) {
  g_handled = 0;
  Disposition handled(SIGUSR1, Handle);
  auto done = RunInMapping(SingleId(), []() -> Result<void> {
    ::raise(SIGUSR1);
    if (g_handled == 0) return {};
    return Fail(Errc::kSystem, "handled");
  });
  EXPECT_TRUE(done);
}

TEST(GuestTest, SignalsAreNotHandledOnOwnThreads) {
  g_handled = 0;
  Disposition handled(SIGUSR1, Handle);
  RunOnOwnThread([] {
    ::pthread_kill(::pthread_self(), SIGUSR1);
    EXPECT_EQ(g_handled, 0);
  });
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_EQ(::sigismember(&mask, SIGUSR1), 0);
}

TEST(GuestTest, WhatIsThrownOnAThreadIsThrownToTheCaller) {
  EXPECT_THROW(RunOnOwnThread([] { throw std::bad_alloc(); }), std::bad_alloc);
  EXPECT_THROW(ParallelFor(100, 4,
                           [](size_t i) {
                             if (i == 77) throw std::bad_alloc();
                           }),
               std::bad_alloc);
}

TEST(GuestTest, TheWorkingDirectoryOfTheProcessStays) {
  const std::string before = std::filesystem::current_path();
  auto done = InDirectory("/proc/self", [&]() -> Result<void> {
    EXPECT_NE(std::filesystem::current_path(), before);
    return {};
  });
  EXPECT_TRUE(done);
  EXPECT_EQ(std::filesystem::current_path(), before);
  EXPECT_FALSE(InDirectory("/proc/self/nothing", [] { return Result<void>(); }));
}

TEST(GuestTest, AHelperHasNoDescriptorsButItsOwn) {
  const int open = ::open("/dev/null", O_RDONLY);  // not close-on-exec
  const std::string script = "test ! -e /proc/$$/fd/" + std::to_string(open) + " && exit 3";
  auto helper = HelperProgram::Start({"sh", "-c", script}, {});
  ASSERT_TRUE(helper) << helper.error().message();
  auto end = helper->Wait();
  ::close(open);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->status, 3);
}

TEST(GuestTest, AHelperKeepsWhatItIsGiven) {
  UniqueFd kept(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  HelperProgram::Setup setup;
  setup.kept = kept.get();
  auto helper = HelperProgram::Start({"sh", "-c", "readlink /proc/$$/fd/3 >&2"}, setup);
  ASSERT_TRUE(helper) << helper.error().message();
  auto end = helper->Wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->words, "/dev/zero");
}

TEST(GuestTest, AHelperHasSignalsAsAProgramExpectsThem) {
  Disposition ignored(SIGPIPE, SIG_IGN);
  SignalsBlocked blocked;
  // glibc has two signals of its own (32, 33), which it leaves ignored.
  auto helper = HelperProgram::Start(
      {"sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr 18 0 >&2"}, {});
  ASSERT_TRUE(helper);
  auto end = helper->Wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->words, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
}

TEST(GuestTest, AHelperIsKnownByItsStatusWhereSigchldIsIgnored) {
  Disposition ignored(SIGCHLD, SIG_IGN);
  EXPECT_TRUE(RunHelperProgram({"true"}, {}));
  EXPECT_TRUE(RunHelperProgram({"sh", "-c", "echo a warning >&2"}, {}));
  auto failed = RunHelperProgram({"sh", "-c", "echo one >&2; echo two >&2; exit 1"}, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "sh: two");
  failed = RunHelperProgram({"sh", "-c", "exit 3"}, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "sh: status 3");
  EXPECT_FALSE(RunHelperProgram({"sh", "-c", "printf '0\\n0' >&2; kill -KILL $$"}, {}));
  EXPECT_FALSE(RunHelperProgram({"no such program"}, {}));
}

TEST(GuestTest, ACopyThatFailsIsToldAndNotPrinted) {
  ::testing::internal::CaptureStderr();
  auto copied = CopyTree("/nowhere", "/tmp");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().message(),
            "copy /nowhere to /tmp: cp: cp: cannot stat '/nowhere/.': No such file or directory");
}

}  // namespace
}  // namespace strata
