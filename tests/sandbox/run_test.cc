// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <thread>

#include "base/file_lock.h"
#include "tests/support/sandbox_fixture.h"

namespace strata {
namespace {

using testing::Milliseconds;
using testing::Must;
using Outcome = SandboxResult::Outcome;

class RunTest : public testing::SandboxFixture {};

TEST_F(RunTest, ReturnsTheStatusOfTheCommand) {
  SandboxResult result = Must(RunSandbox(Script("exit 42")));
  EXPECT_EQ(result.outcome, Outcome::kEnded);
  EXPECT_FALSE(result.status.signaled);
  EXPECT_EQ(result.status.value, 42);
  EXPECT_EQ(result.ShellCode(), 42);
}

TEST_F(RunTest, ReturnsTheSignalThatKilledTheCommand) {
  SandboxResult result = Must(RunSandbox(Script("kill -SEGV $$")));
  EXPECT_EQ(result.outcome, Outcome::kEnded);
  EXPECT_TRUE(result.status.signaled);
  EXPECT_EQ(result.status.value, SIGSEGV);
  EXPECT_EQ(result.ShellCode(), 128 + SIGSEGV);
}

TEST(SandboxResultTest, ShellCodeSaysHowItEnded) {
  SandboxResult result;
  result.status = {false, 7};
  EXPECT_EQ(result.ShellCode(), 7);
  result.outcome = Outcome::kTimedOut;
  EXPECT_EQ(result.ShellCode(), 124);
  result.outcome = Outcome::kNotExecutable;
  EXPECT_EQ(result.ShellCode(), 126);
  result.outcome = Outcome::kNotFound;
  EXPECT_EQ(result.ShellCode(), 127);
}

TEST(SandboxTest, DefaultCapabilitiesAreTheTenOfTheDesign) {
  EXPECT_EQ(DefaultCapabilities(), uint64_t{0x800401fb});
}

TEST(SandboxTest, EachStepHasANameOfItsOwn) {
  std::set<std::string> names;
  for (size_t i = 0; i < static_cast<size_t>(SandboxStep::kCount); ++i) {
    names.insert(SandboxStepName(static_cast<SandboxStep>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(SandboxStep::kCount));
}

// --- the root

TEST_F(RunTest, ALaterLowerLiesOnTop) {
  NewDir("root/one");
  NewDir("root/two");
  Must(ReplaceFile(AT_FDCWD, Path("root/one/x"), "one"));
  Must(ReplaceFile(AT_FDCWD, Path("root/two/x"), "two"));
  SandboxSpec spec = Script("cat /x > /host/out");
  spec.root.lowers = {"base", "points", "one", "two"};
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  EXPECT_EQ(Written(), "two");
}

TEST_F(RunTest, WhatIsWrittenIsInTheUpperAfterwards) {
  SandboxSpec spec = Script("echo x > /new");
  Must(RunSandbox(spec));
  EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("root/" + spec.root.upper + "/new"), 10)), "x\n");
}

TEST_F(RunTest, ARootWithoutAnUpperIsReadOnly) {
  SandboxSpec spec = Script("touch /new || echo refused > /host/out");
  spec.root.upper.clear();
  spec.root.work.clear();
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  EXPECT_EQ(Written(), "refused\n");
}

TEST_F(RunTest, AnUpperOnATmpfsIsGoneAfterwards) {
  SandboxSpec spec = Script("echo x > /new && cat /new > /host/out");
  spec.root.upper.clear();
  spec.root.work.clear();
  spec.root.tmpfs_upper = true;
  spec.root.uniform_inodes = true;
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  EXPECT_EQ(Written(), "x\n");
  EXPECT_TRUE(std::filesystem::is_empty(Path("root/mnt")));
}

TEST_F(RunTest, Stacks499Lowers) {
  SandboxSpec spec = Script("cat /x > /host/out; ls /many | grep -c . >> /host/out");
  for (int i = 0; i < 497; ++i) {
    const std::string name = "layer" + std::to_string(i);
    NewDir("root/" + name + "/many/" + std::to_string(i));
    Must(ReplaceFile(AT_FDCWD, Path("root/" + name + "/x"), std::to_string(i) + "\n"));
    spec.root.lowers.push_back(name);
  }
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  EXPECT_EQ(Written(), "496\n497\n");
}

TEST_F(RunTest, RefusesMoreLowersThanOverlayfsTakes) {
  SandboxSpec spec = Script("true");
  spec.root.lowers.assign(501, "base");
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("number of layers"), std::string::npos)
      << result.error().message();
}

// --- errors: nothing was run

TEST_F(RunTest, AMissingLowerIsNamed) {
  SandboxSpec spec = Script("true");
  spec.root.lowers.push_back("nowhere");
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("nowhere"), std::string::npos)
      << result.error().message();
}

TEST_F(RunTest, AMissingSourceOfABindIsNamedWithAHint) {
  SandboxSpec spec = Script("true");
  spec.mounts.push_back({.source = Path("nowhere"), .target = "/host"});
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("nowhere"), std::string::npos)
      << result.error().message();
  EXPECT_FALSE(result.error().hint().empty());
}

TEST_F(RunTest, AMissingMountPointIsNamed) {
  SandboxSpec spec = Script("true");
  spec.mounts.push_back({.source = Path("host"), .target = "/nowhere"});
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("/nowhere"), std::string::npos)
      << result.error().message();
}

TEST_F(RunTest, AMissingWorkingDirectoryIsNamed) {
  SandboxSpec spec = Script("true");
  spec.directory = "/nowhere";
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("chdir /nowhere"), std::string::npos)
      << result.error().message();
}

TEST_F(RunTest, AProcThatIsALinkIsRefused) {
  NewDir("root/odd");
  std::filesystem::create_symlink("etc", Path("root/odd/proc"));
  SandboxSpec spec = Script("true");
  spec.root.lowers.push_back("odd");
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("proc"), std::string::npos) << result.error().message();
}

// --- the end

// A timeout that leaves the command enough time to come to /host/up, on a machine however slow.
constexpr uint64_t kTimeouts[] = {300, 5000, 60000};

TEST_F(RunTest, ATimeoutKillsWhatIgnoresTheFirstSignal) {
  for (uint64_t timeout : kTimeouts) {
    SandboxSpec spec = Script("trap '' TERM; echo up > /host/up; while :; do sleep 1; done");
    spec.timeout_ms = timeout;
    spec.grace_ms = 200;
    const int64_t begin = Milliseconds();
    SandboxResult result = Must(RunSandbox(spec));
    const int64_t took = Milliseconds() - begin;
    EXPECT_EQ(result.outcome, Outcome::kTimedOut);
    EXPECT_EQ(result.ShellCode(), 124);
    if (Written("up") != "up\n") continue;
    EXPECT_GE(took, static_cast<int64_t>(timeout + spec.grace_ms));
    return;
  }
  ADD_FAILURE() << "the command never got so far";
}

TEST_F(RunTest, ATimeoutLeavesTheGraceToWhoUsesIt) {
  for (uint64_t timeout : kTimeouts) {
    SandboxSpec spec = Script(
        "trap 'sleep 0.2; echo saved > /host/out; exit 0' TERM; echo up > /host/up\n"
        "while :; do sleep 0.02; done");
    spec.timeout_ms = timeout;
    spec.grace_ms = 1000000;
    EXPECT_EQ(Must(RunSandbox(spec)).outcome, Outcome::kTimedOut);
    if (Written("up") != "up\n") continue;
    EXPECT_EQ(Written(), "saved\n");
    return;
  }
  ADD_FAILURE() << "the command never got so far";
}

TEST_F(RunTest, ATimeoutDuringTheSetUpEndsTheCommand) {
  SandboxSpec spec = Script("sleep 1000");
  spec.timeout_ms = 1;
  spec.grace_ms = 1000000;  // without which it would be killed
  EXPECT_EQ(Must(RunSandbox(spec)).outcome, Outcome::kTimedOut);
}

TEST_F(RunTest, WhatTheCommandLeftRunningIsGoneWhenItReturns) {
  Must(MakeDirs(AT_FDCWD, Path("lock"), 0700));
  FileLock lock =
      Must(FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kShared, LockWait::kFail));
  SandboxSpec spec = Script("setsid sleep 1000 & (trap '' TERM; sleep 1000) & exit 0");
  spec.held = {lock.fd()};
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  // The kernel would not mount this upper while it is in use.
  SandboxSpec again = Script("true");
  again.root.upper = spec.root.upper;
  again.root.work = NewDir("root/other-work");
  EXPECT_TRUE(RunSandbox(again));
  lock = FileLock();
  EXPECT_TRUE(FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kExclusive, LockWait::kFail));
}

TEST_F(RunTest, Pid1HoldsTheLocksWhenTheCallerHasLetGo) {
  Must(MakeDirs(AT_FDCWD, Path("lock"), 0700));
  FileLock lock =
      Must(FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kShared, LockWait::kFail));
  SandboxSpec spec = Script("echo up > /host/up; while ! test -e /host/go; do sleep 0.01; done");
  spec.held = {lock.fd()};
  std::thread runner([&] { EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0); });
  EXPECT_TRUE(WaitFor("up"));
  lock = FileLock();
  auto taken = FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kExclusive, LockWait::kFail);
  EXPECT_FALSE(taken);
  Must(ReplaceFile(AT_FDCWD, Path("host/go"), ""));
  runner.join();
  EXPECT_TRUE(FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kExclusive, LockWait::kFail));
}

TEST_F(RunTest, TheCommandHoldsNoLock) {
  FileLock lock =
      Must(FileLock::OnDirectory(AT_FDCWD, Path("host"), LockMode::kShared, LockWait::kFail));
  SandboxSpec spec = Script("for fd in /proc/self/fd/*; do echo ${fd##*/}; done > /host/out");
  spec.held = {lock.fd()};
  Must(RunSandbox(spec));
  // The shell's own, among them the one that it reads the directory with.
  for (const char* fd : {"4\n", "5\n", "6\n", "7\n"}) {
    EXPECT_EQ(Written().find(fd), std::string::npos) << Written();
  }
}

TEST_F(RunTest, PassesSignalsFromTheDescriptorOn) {
  sigset_t set;
  sigset_t before;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  SandboxSpec spec = Script("trap 'exit 9' USR1; echo up > /host/up; while :; do sleep 0.02; done");
  spec.signal_fd = signals.get();
  std::thread sender([&] {
    EXPECT_TRUE(WaitFor("up"));
    ::kill(::getpid(), SIGUSR1);
  });
  SandboxResult result = Must(RunSandbox(spec));
  sender.join();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(result.ShellCode(), 9);
}

TEST_F(RunTest, TheStandardStreamsCanBeOthersThanTheCallers) {
  Must(ReplaceFile(AT_FDCWD, Path("in"), "what it reads\n"));
  UniqueFd in = Must(OpenAt(AT_FDCWD, Path("in"), O_RDONLY));
  UniqueFd out = Must(OpenAt(AT_FDCWD, Path("said"), O_WRONLY | O_CREAT | O_APPEND, 0600));
  SandboxSpec spec = Script("cat; echo error >&2; ls /proc/self/fd >&2");
  spec.stdio = {in.get(), out.get(), out.get()};
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  // The last one is that of the directory which ls reads.
  EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("said"), 1 << 20)), "what it reads\nerror\n0\n1\n2\n3\n");
}

TEST_F(RunTest, ClosedStandardStreamsStayClosedAndNothingTakesTheirPlace) {
  const SandboxSpec spec = Script(
      "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && open=$open$fd; done; echo \"[$open]\" > "
      "/host/out");
  for (unsigned closed = 0; closed < 8; ++closed) {
    SandboxSpec again = spec;
    NewDir("root/closed-upper" + std::to_string(closed));
    NewDir("root/closed-work" + std::to_string(closed));
    again.root.upper = "closed-upper" + std::to_string(closed);
    again.root.work = "closed-work" + std::to_string(closed);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int fd = 0; fd <= 2; ++fd) {
        if ((closed >> fd & 1) != 0) ::close(fd);
      }
      auto result = RunSandbox(again);
      bool same = true;
      for (int fd = 0; fd <= 2; ++fd)
        same = same && (::fcntl(fd, F_GETFD) < 0) == ((closed >> fd & 1) != 0);
      ::_exit(result && result->ShellCode() == 0 && same ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << closed;
    std::string expected;
    for (int fd = 0; fd <= 2; ++fd) {
      if ((closed >> fd & 1) == 0) expected += static_cast<char>('0' + fd);
    }
    EXPECT_EQ(Written(), "[" + expected + "]\n") << closed;
  }
}

TEST_F(RunTest, ADirectoryAsAStandardStreamIsRefused) {
  UniqueFd directory = Must(OpenAt(AT_FDCWD, Path("host"), O_RDONLY | O_DIRECTORY));
  SandboxSpec spec = Script("true");
  spec.stdio[0] = directory.get();
  EXPECT_EQ(RunSandbox(spec).error().code(), Errc::kInvalid);
}

TEST_F(RunTest, DoesWhatTheCallerWantsDoneMeanwhile) {
  SandboxSpec spec = Script("while ! test -e /host/go; do sleep 0.01; done");
  int calls = 0;
  spec.meanwhile = [&](const std::function<bool()>& ended) {
    ++calls;
    EXPECT_FALSE(ended());
    Must(ReplaceFile(AT_FDCWD, Path("host/go"), ""));
    while (!ended()) ::usleep(1000);
  };
  EXPECT_EQ(Must(RunSandbox(spec)).ShellCode(), 0);
  EXPECT_EQ(calls, 1);
}

// --- what it tells

TEST_F(RunTest, StepsAddUpToNoMoreThanTheWholeCall) {
  const int64_t begin = Milliseconds();
  SandboxResult result = Must(RunSandbox(Script("sleep 0.1")));
  const int64_t took = Milliseconds() - begin;
  int64_t sum = 0;
  for (int64_t step : result.step_ns) {
    EXPECT_GE(step, 0);
    sum += step;
  }
  EXPECT_LE(sum / 1000000, took + 1);
  EXPECT_GE(result.step_ns[static_cast<size_t>(SandboxStep::kRun)], 90000000);
  EXPECT_GT(result.step_ns[static_cast<size_t>(SandboxStep::kOverlay)], 0);
}

TEST_F(RunTest, UsageIsThatOfTheCommand) {
  SandboxResult result =
      Must(RunSandbox(Script("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")));
  EXPECT_GT(result.usage.ru_utime.tv_sec * 1000000 + result.usage.ru_utime.tv_usec, 10000);
}

TEST_F(RunTest, SeveralThreadsRunSandboxesAtOnce) {
  std::vector<SandboxSpec> specs;
  for (int i = 0; i < 8; ++i) specs.push_back(Script("exit " + std::to_string(i)));
  std::vector<std::thread> threads;
  std::vector<int> codes(specs.size(), -1);
  for (size_t i = 0; i < specs.size(); ++i) {
    threads.emplace_back([&, i] { codes[i] = Must(RunSandbox(specs[i])).ShellCode(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(codes, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

}  // namespace
}  // namespace strata
