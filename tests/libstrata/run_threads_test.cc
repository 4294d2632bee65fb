// SPDX-License-Identifier: Apache-2.0
//
// strata_run in hosts of all kinds: with many threads, with habits about signals, without standard
// streams; and cancelled from elsewhere.
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/libstrata/run_fixture.h"

namespace libstrata {
namespace {

class LibRunHosts : public RunFixture {
 protected:
  // What `body` returns, of a process of its own: for what it does to the whole process.
  int InChild(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(Failure(), "");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
  }
};

TEST_F(LibRunHosts, AnotherThreadCancelsByClosingThePipe) {
  int control[2];
  ASSERT_EQ(::pipe2(control, O_CLOEXEC), 0);
  strata_run_options options = Script(
      "trap 'echo saved > /host/out; exit 0' TERM; echo > /host/up; while :; do sleep 0.02; done");
  options.control_fd = control[0];
  options.flags = STRATA_RUN_CAPTURE;
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    ::close(control[1]);
  });
  RunResult result = Run(options);
  other.join();
  ::close(control[0]);
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_CANCELLED);
  EXPECT_EQ(strata_result_status(result.get()), 143);
  EXPECT_EQ(strata_result_layer(result.get()), nullptr);  // that is no success
  EXPECT_EQ(Written(), "saved\n");
}

TEST_F(LibRunHosts, AByteInThePipeIsASignal) {
  int control[2];
  ASSERT_EQ(::pipe2(control, O_CLOEXEC), 0);
  strata_run_options options =
      Script("trap 'exit 5' USR1; echo > /host/up; while :; do sleep 0.02; done");
  options.control_fd = control[0];
  std::thread other([&] {
    EXPECT_TRUE(WaitFor("up"));
    const char signal = SIGUSR1;
    EXPECT_EQ(::write(control[1], &signal, 1), 1);
  });
  RunResult result = Run(options);
  other.join();
  ::close(control[0]);
  ::close(control[1]);
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_ENDED);
  EXPECT_EQ(strata_result_status(result.get()), 5);
}

TEST_F(LibRunHosts, FourThreadsRunWhileFourUseTheHeap) {
  const strata_run_options options = Script("echo x > /made && exit 6");
  std::atomic<bool> ended{false};
  std::vector<std::thread> busy;
  std::vector<std::thread> running;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back([&] {
      while (!ended) {
        std::vector<std::string> strings;
        for (size_t size = 1; size < 1 << 16; size *= 2) strings.emplace_back(size, 'x');
      }
    });
    running.emplace_back([&] {
      for (int run = 0; run < 8; ++run) EXPECT_EQ(Status(options), 6);
    });
  }
  for (std::thread& thread : running) thread.join();
  ended = true;
  for (std::thread& thread : busy) thread.join();
}

TEST_F(LibRunHosts, SigchldMayBeIgnored) {
  strata_run_options options = Script("true; echo x > /made; exit 3");
  options.flags = STRATA_RUN_CAPTURE | STRATA_RUN_CAPTURE_FAILED;
  for (strata_userns ids : {STRATA_USERNS_SINGLE, STRATA_USERNS_SUBUID}) {
    options.userns = ids;
    EXPECT_EQ(InChild([&] {
                ::signal(SIGCHLD, SIG_IGN);
                return Status(options);
              }),
              3);
  }
}

TEST_F(LibRunHosts, SigchldMayBeBlockedAndIsNotSent) {
  const strata_run_options options = Script("exit 3");
  EXPECT_EQ(InChild([&] {
              sigset_t child;
              ::sigemptyset(&child);
              ::sigaddset(&child, SIGCHLD);
              ::pthread_sigmask(SIG_BLOCK, &child, nullptr);
              const int status = Status(options);
              sigset_t pending;
              ::sigpending(&pending);
              return ::sigismember(&pending, SIGCHLD) == 1 ? 100 : status;
            }),
            3);
}

TEST_F(LibRunHosts, AReaperOfAllChildrenDoesNotFindIt) {
  const strata_run_options options = Script("sleep 0.1; exit 4");
  EXPECT_EQ(InChild([&] {
              std::atomic<bool> found{false};
              std::atomic<bool> ended{false};
              std::thread reaper([&] {
                for (int status; !ended; ::usleep(500)) {
                  if (::waitpid(-1, &status, 0) > 0) found = true;
                }
              });
              const int status = Status(options);
              ended = true;
              reaper.join();
              return found ? 100 : status;
            }),
            4);
}

TEST_F(LibRunHosts, HandlersMaskAndDirectoryAreLeftAlone) {
  const strata_run_options options = Script("echo x > /made");
  EXPECT_EQ(
      InChild([&] {
        static volatile sig_atomic_t handled = 0;
        struct sigaction action {};
        action.sa_handler = [](int) { handled = handled + 1; };
        for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
        sigset_t before;
        sigset_t after;
        ::sigemptyset(&before);
        ::sigaddset(&before, SIGUSR1);
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        const mode_t mask = ::umask(07);
        const int status = Status(options);
        ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
        for (int signal = 1; signal < NSIG; ++signal) {
          struct sigaction found {};
          if (::sigaction(signal, nullptr, &found) != 0) continue;
          if (signal != SIGKILL && signal != SIGSTOP && found.sa_handler != action.sa_handler) {
            return 100;
          }
          if (::sigismember(&before, signal) != ::sigismember(&after, signal)) return 101;
        }
        return handled != 0 ? 102 : ::umask(mask) != 07 ? 103 : status;
      }),
      0);
}

TEST_F(LibRunHosts, AHostMayHaveNoStandardStreams) {
  strata_run_options options = Script(
      "ls /proc/self/fd > /host/out; [ /proc/self/fd/0 -ef /dev/null ] || exit 9; cat; echo x >&2");
  options.stdin_fd = options.stdout_fd = options.stderr_fd = 0;  // its own, which are not there
  EXPECT_EQ(InChild([&] {
              for (int fd = 0; fd <= 2; ++fd) ::close(fd);
              Store own = Open();
              Set set = NewSet({"busybox"});
              const int status = Status(options);
              int streams = 0;
              for (int fd = 0; fd <= 2; ++fd) streams += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
              return streams != 0 ? 100 : status;
            }),
            0);
  EXPECT_EQ(Written(), "0\n1\n2\n3\n");
}

TEST_F(LibRunHosts, ARootComposedWithoutStandardStreamsStaysLeased) {
  strata_run_options options = Script("echo > /host/up; sleep 0.3; exit 4");
  EXPECT_EQ(InChild([&] {
              root_.reset();
              for (int fd = 0; fd <= 2; ++fd) ::close(fd);
              store_ = Open();
              strata_root* root = nullptr;
              if (strata_compose(NewSet({"busybox"}).get(), nullptr, &root, error()) != 0) {
                Write("failure", message());
                return 99;
              }
              root_.reset(root);
              return Status(options);
            }),
            4);
}

TEST_F(LibRunHosts, AThreadThatIsCancelledEndsAfterTheRun) {
  const strata_run_options options = Script("echo > /host/up; sleep 0.2; echo done > /host/out");
  std::function<void()> work = [&] { Status(options); };
  pthread_t thread;
  ASSERT_EQ(::pthread_create(
                &thread, nullptr,
                [](void* argument) -> void* {
                  (*static_cast<std::function<void()>*>(argument))();
                  return nullptr;
                },
                &work),
            0);
  EXPECT_TRUE(WaitFor("up"));
  EXPECT_EQ(::pthread_cancel(thread), 0);
  EXPECT_EQ(::pthread_join(thread, nullptr), 0);
  EXPECT_EQ(Written(), "done\n");
}

// The kernel ties pid 1 to the thread that made it.
TEST_F(LibRunHosts, TheSandboxDiesWithTheProcess) {
  const strata_run_options options =
      Script("echo > /host/up; while :; do echo x >> /host/beat; sleep 0.01; done");
  const pid_t child = ::fork();
  if (child == 0) {
    std::thread runner([&] { Status(options); });
    runner.join();
    ::_exit(0);
  }
  EXPECT_TRUE(WaitFor("beat"));
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  std::string before;
  for (int64_t end = Milliseconds() + 120000; Milliseconds() < end;) {
    before = Written("beat");
    ::usleep(50000);
    if (Written("beat") == before) break;
  }
  EXPECT_EQ(Written("beat"), before);
}

}  // namespace
}  // namespace libstrata
