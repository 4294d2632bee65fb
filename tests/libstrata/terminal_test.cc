// SPDX-License-Identifier: Apache-2.0
//
// strata_run with a terminal of the caller's.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "tests/libstrata/run_fixture.h"

namespace libstrata {
namespace {

// What is typed waits in it, and what was shown stays: so one thread does.
class LibTerminal : public RunFixture {
 protected:
  LibTerminal() {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_TRUE(::grantpt(master_) == 0 && ::unlockpt(master_) == 0);
    slave_ = ::open(::ptsname(master_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_GE(slave_, 0);
  }
  ~LibTerminal() override {
    ::close(master_);
    ::close(slave_);
  }

  strata_run_options OnTerminal(strata_run_options options, uint32_t flags) const {
    options.stdin_fd = options.stdout_fd = options.stderr_fd = slave_;
    options.flags = flags;
    return options;
  }
  void Type(const std::string& text) const {
    EXPECT_EQ(::write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string Shown() const {
    std::string shown;
    char buffer[4096];
    for (pollfd ready{master_, POLLIN, 0}; ::poll(&ready, 1, 0) == 1;) {
      const ssize_t size = ::read(master_, buffer, sizeof buffer);
      if (size <= 0) break;
      shown.append(buffer, static_cast<size_t>(size));
    }
    return shown;
  }

  int master_ = -1;
  int slave_ = -1;
};

TEST_F(LibTerminal, AsStandardInputItIsNotTheControllingOne) {
  Type("echo flags=$-; exit 7\n");
  EXPECT_EQ(Status(OnTerminal(Options({"sh", "-i"}), 0)), 7) << Failure();
  EXPECT_NE(Shown().find("job control turned off"), std::string::npos);
}

TEST_F(LibTerminal, ByTheFlagItIsAndJobControlWorks) {
  Type("echo flags=$-; exit 7\n");
  EXPECT_EQ(Status(OnTerminal(Options({"sh", "-i"}), STRATA_RUN_TERMINAL)), 7) << Failure();
  const std::string shown = Shown();
  EXPECT_EQ(shown.find("job control turned off"), std::string::npos) << shown;
  const size_t flags = shown.rfind("flags=");
  ASSERT_NE(flags, std::string::npos) << shown;
  EXPECT_NE(shown.find('m', flags), std::string::npos) << shown;
  // It has let go of it, so the next command can have it; /dev/tty is it.
  Type("typed\n");
  const strata_run_options next = Script("read line < /dev/tty; echo $line > /host/out");
  EXPECT_EQ(Status(OnTerminal(next, STRATA_RUN_TERMINAL)), 0) << Failure();
  EXPECT_EQ(Written(), "typed\n");
}

TEST_F(LibTerminal, InterruptsWhatIsInTheForeground) {
  Type("trap 'echo interrupted > /host/out; exit 9' INT; kill -INT 0; sleep 1000\n");
  EXPECT_EQ(Status(OnTerminal(Options({"sh", "-i"}), STRATA_RUN_TERMINAL)), 9) << Failure();
  EXPECT_EQ(Written(), "interrupted\n");
}

TEST_F(LibTerminal, NothingButATerminalIsTaken) {
  strata_run_options options = Script("true");
  options.flags = STRATA_RUN_TERMINAL;
  strata_result* result = nullptr;
  Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "STRATA_RUN_TERMINAL: stdin_fd is no terminal");
}

TEST_F(LibTerminal, TheControllingTerminalOfAnotherSessionStaysIts) {
  const strata_run_options options = OnTerminal(Script("true"), STRATA_RUN_TERMINAL);
  root_.reset();
  const pid_t child = ::fork();
  if (child == 0) {
    EXPECT_GT(::setsid(), 0);
    EXPECT_EQ(::ioctl(slave_, TIOCSCTTY, 0), 0);
    root_ = Compose({"busybox"});
    strata_result* result = nullptr;
    Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_SYSTEM);
    EXPECT_EQ(strata_error_errno(report_.get()), EPERM);
    EXPECT_NE(message().find("TIOCSCTTY"), std::string::npos) << message();
    ::_exit(HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace libstrata
