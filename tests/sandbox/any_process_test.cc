// SPDX-License-Identifier: Apache-2.0
//
// A sandbox of a process that is not strata's own: with threads, habits about signals, and
// descriptors where others have their standard streams.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/file_lock.h"
#include "tests/support/sandbox_fixture.h"

namespace strata {
namespace {

using testing::Milliseconds;
using testing::Must;
using Outcome = SandboxResult::Outcome;

class AnyProcessTest : public testing::SandboxFixture {
 protected:
  // What `body` returns, of a process of its own: for what it does to the whole process.
  template <typename Body>
  int InChild(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
  }
  // The status, 200 for an error.
  static int StatusOf(const SandboxSpec& spec) {
    auto result = RunSandbox(spec);
    return result ? result->ShellCode() : 200;
  }
};

TEST_F(AnyProcessTest, TheStatusIsKnownToACallerThatIgnoresSigchld) {
  const SandboxSpec spec = Script("/bin/false; [ $? = 1 ] || exit 9; exit 3");
  EXPECT_EQ(InChild([&] {
              ::signal(SIGCHLD, SIG_IGN);
              return StatusOf(spec);
            }),
            3);
}

TEST_F(AnyProcessTest, WhoWaitsForAnyChildDoesNotFindIt) {
  const SandboxSpec spec = Script("sleep 0.1; exit 4");
  EXPECT_EQ(InChild([&] {
              static std::atomic<bool> found{false};
              static std::atomic<bool> ended{false};
              static std::atomic<int> signals{0};
              ::signal(SIGCHLD, [](int) { ++signals; });
              std::thread reaper([] {
                for (int status; !ended; ::usleep(500)) {
                  if (::waitpid(-1, &status, 0) > 0) found = true;
                }
              });
              const int status = StatusOf(spec);
              ended = true;
              reaper.join();
              return found || signals != 0 ? 100 : status;
            }),
            4);
}

TEST_F(AnyProcessTest, MaskAndDispositionsStayAsTheyAre) {
  const SandboxSpec spec = Script("true");
  EXPECT_EQ(InChild([&] {
              sigset_t before;
              sigset_t after;
              ::sigemptyset(&before);
              ::sigaddset(&before, SIGCHLD);
              ::sigaddset(&before, SIGUSR2);
              ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
              struct sigaction action[2][NSIG] = {};  // two signals have none
              for (int signal = 1; signal < NSIG; ++signal)
                ::sigaction(signal, nullptr, &action[0][signal]);
              const int status = StatusOf(spec);
              ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
              for (int signal = 1; signal < NSIG; ++signal) {
                ::sigaction(signal, nullptr, &action[1][signal]);
                if (action[0][signal].sa_handler != action[1][signal].sa_handler) return 100;
                if (::sigismember(&before, signal) != ::sigismember(&after, signal)) return 101;
              }
              return status;
            }),
            0);
}

TEST_F(AnyProcessTest, WhatALibrarysCallerIgnoresTheCommandDoesNot) {
  SandboxSpec spec =
      Spec({"/bin/grep", "-hE", "^(Sig(Ign|Blk)|strata)", "/proc/self/status", "/proc/1/comm"});
  UniqueFd out = Must(OpenAt(AT_FDCWD, Path("host/out"), O_WRONLY | O_CREAT, 0600));
  spec.stdio[1] = out.get();
  spec.in_library = true;
  EXPECT_EQ(InChild([&] {
              for (int signal : {SIGINT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1, SIGRTMIN}) {
                ::signal(signal, SIG_IGN);
              }
              sigset_t all;
              ::sigfillset(&all);
              ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
              return StatusOf(spec);
            }),
            0);
  EXPECT_EQ(Written(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nstrata\n");
}

TEST_F(AnyProcessTest, LeasesMayHaveTheNumbersOfStandardStreams) {
  SandboxSpec spec = Script(
      "for fd in 0 1 2 3 4 5; do [ -e /proc/$$/fd/$fd ] && echo $fd; done > /host/fds\n"
      "echo > /host/up; while ! test -e /host/go; do sleep 0.01; done");
  UniqueFd null = Must(OpenAt(AT_FDCWD, "/dev/null", O_RDWR));
  spec.stdio = {null.get(), null.get(), null.get()};
  Must(MakeDirs(AT_FDCWD, Path("lock"), 0700));
  EXPECT_EQ(
      InChild([&] {
        for (int fd = 0; fd <= 2; ++fd) ::close(fd);
        FileLock lock =
            Must(FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kShared, LockWait::kFail));
        const int low = ::dup(lock.fd());
        if (low > 2) return 100;
        spec.held = {low};
        bool held = false;
        std::thread other([&] {
          WaitFor("up");
          // A lock that only pid 1 has, should this process lose its own.
          ::close(low);
          lock = FileLock();
          held =
              !FileLock::OnDirectory(AT_FDCWD, Path("lock"), LockMode::kExclusive, LockWait::kFail);
          Must(ReplaceFile(AT_FDCWD, Path("host/go"), ""));
        });
        const int status = StatusOf(spec);
        other.join();
        return held ? status : 101;
      }),
      0);
  EXPECT_EQ(Written("fds"), "0\n1\n2\n");
}

// --- control_fd

TEST_F(AnyProcessTest, TheEndOfTheControlPipeCancels) {
  SandboxSpec spec = Script(
      "trap 'echo saved > /host/out; exit 0' TERM; echo > /host/up; while :; do sleep 0.02; done");
  Pipe control = Must(MakePipe());
  spec.control_fd = control.read.get();
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    control.write.reset();
  });
  SandboxResult result = Must(RunSandbox(spec));
  other.join();
  EXPECT_EQ(result.outcome, Outcome::kCancelled);
  EXPECT_EQ(result.ShellCode(), 143);
  EXPECT_EQ(Written(), "saved\n");
}

TEST_F(AnyProcessTest, WhatIgnoresTheCancellationIsKilledAfterTheGrace) {
  SandboxSpec spec = Script("trap '' TERM; while :; do sleep 1; done");
  Pipe control = Must(MakePipe());
  spec.control_fd = control.read.get();
  spec.grace_ms = 200;
  control.write.reset();                                           // before it has begun
  EXPECT_EQ(Must(RunSandbox(spec)).outcome, Outcome::kCancelled);  // and not for ever
}

TEST_F(AnyProcessTest, BytesInTheControlPipeAreSignals) {
  SandboxSpec spec = Script(
      "trap 'echo usr1 >> /host/out; exit 5' USR1; echo > /host/up; while :; do sleep 0.02; done");
  Pipe control = Must(MakePipe());
  spec.control_fd = control.read.get();
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    // What cannot be passed on does no harm.
    const char bytes[] = {0, SIGPWR, 127, SIGRTMAX, SIGUSR1};
    Must(WriteAll(control.write.get(), {bytes, sizeof bytes}, "control"));
  });
  SandboxResult result = Must(RunSandbox(spec));
  other.join();
  EXPECT_EQ(result.outcome, Outcome::kEnded);
  EXPECT_EQ(result.ShellCode(), 5);
  EXPECT_EQ(Written(), "usr1\n");
}

TEST_F(AnyProcessTest, ASandboxCanBeStoppedContinuedAndKilledByIt) {
  SandboxSpec spec = Script("echo > /host/n; echo > /host/up; while :; do echo >> /host/n; done");
  Pipe control = Must(MakePipe());
  spec.control_fd = control.read.get();
  auto send = [&](char signal) { Must(WriteAll(control.write.get(), {&signal, 1}, "control")); };
  auto moves = [&](bool wanted) {
    for (int64_t end = Milliseconds() + 120000; Milliseconds() < end;) {
      const std::string before = Written("n");
      ::usleep(50000);
      if ((Written("n") != before) == wanted) return true;
    }
    return false;
  };
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    send(SIGSTOP);
    EXPECT_TRUE(moves(false));
    send(SIGCONT);
    EXPECT_TRUE(moves(true));
    send(SIGKILL);
  });
  SandboxResult result = Must(RunSandbox(spec));
  other.join();
  EXPECT_EQ(result.outcome, Outcome::kEnded);
  EXPECT_EQ(result.ShellCode(), 128 + SIGKILL);
}

// --- threads

TEST_F(AnyProcessTest, ThreadsThatUseTheHeapDoNotMatter) {
  constexpr int kThreads = 4;
  constexpr int kRuns = 8;
  std::atomic<bool> ended{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < kThreads; ++i) {
    busy.emplace_back([&] {
      while (!ended) {
        std::vector<std::string> strings;
        for (size_t size = 1; size < 1 << 16; size *= 2) strings.emplace_back(size, 'x');
        std::string error = FailSys(ENOENT, "open", strings.back().substr(0, 20)).value().message();
        EXPECT_FALSE(error.empty());
      }
    });
  }
  std::vector<std::vector<SandboxSpec>> specs(kThreads);
  for (auto& mine : specs) {
    for (int i = 0; i < kRuns; ++i) mine.push_back(Script("exit 6"));
  }
  std::vector<std::thread> running;
  for (auto& mine : specs) {
    running.emplace_back([&mine] {
      for (const SandboxSpec& spec : mine) EXPECT_EQ(StatusOf(spec), 6);
    });
  }
  for (std::thread& thread : running) thread.join();
  ended = true;
  for (std::thread& thread : busy) thread.join();
}

// A fork of another thread's between pipe and clone has all our descriptors, and need not exec.
TEST_F(AnyProcessTest, AForkThatHoldsTheDescriptorsDoesNotMatter) {
  SandboxSpec spec = Script("echo > /host/up; sleep 1000");
  pid_t fork = -1;
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    fork = ::fork();
    if (fork == 0) {
      ::pause();
      ::_exit(0);
    }
  });
  Pipe control = Must(MakePipe());
  spec.control_fd = control.read.get();
  std::thread killer([&] {
    other.join();
    const char signal = SIGKILL;  // of pid 1, which then says nothing
    Must(WriteAll(control.write.get(), {&signal, 1}, "control"));
  });
  EXPECT_EQ(StatusOf(spec), 128 + SIGKILL);
  killer.join();
  ::kill(fork, SIGKILL);
  EXPECT_EQ(::waitpid(fork, nullptr, 0), fork);
}

}  // namespace
}  // namespace strata
