// SPDX-License-Identifier: Apache-2.0
#include "sandbox/wait_for_end.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "sandbox/child_plan.h"
#include "sandbox/terminal.h"

namespace strata {
namespace {

// How long a terminal may take for what a command wrote that had to be killed.
constexpr int64_t kLastWordsMs = 1000;

class Watch {
 public:
  Watch(const SandboxSpec& spec, int terminal_socket, int lifeline, Process& pid1)
      : spec_(spec),
        terminal_(spec.terminal),
        terminal_socket_(terminal_socket),
        lifeline_(spec.meanwhile ? lifeline : -1),
        control_(spec.control_fd),
        pid1_(pid1) {
    if (spec.timeout_ms > 0) Within(spec.timeout_ms);
  }

  Result<EndedBy> Run() {
    for (;;) {
      Polled polled;
      const int ready = Poll(&polled, TimeLeft());
      if (ready < 0 && errno != EINTR) return FailSys(errno, "poll");
      if (deadline_ns_ != 0 && MonotonicNs() >= deadline_ns_) STRATA_TRY(TimeIsUp());
      if (ready > 0) STRATA_TRY(Handle(polled.fds));
      if (ended_ && (terminal_ == nullptr || abandoned_ || terminal_->IsDrained()))
        return ended_by_;
    }
  }

 private:
  static constexpr size_t kOwn = 5;  // what is polled besides the terminal
  struct Polled {
    pollfd fds[kOwn + Terminal::kPolled];
  };

  int Poll(Polled* polled, int timeout_ms) {
    polled->fds[0] = {ended_ ? -1 : pid1_.pid_fd(), POLLIN, 0};
    polled->fds[1] = {spec_.signal_fd, POLLIN, 0};
    polled->fds[2] = {terminal_socket_, POLLIN, 0};
    polled->fds[3] = {lifeline_, 0, 0};  // POLLERR: nobody has the other end any more
    polled->fds[4] = {control_, POLLIN, 0};
    if (terminal_ != nullptr) terminal_->FillPoll(polled->fds + kOwn);
    return ::poll(polled->fds, terminal_ != nullptr ? std::size(polled->fds) : kOwn, timeout_ms);
  }

  Result<void> Handle(const pollfd* polled) {
    // The terminal first: a signal may be about it.
    if (polled[2].revents != 0) TakeTerminal();
    if (terminal_ != nullptr) terminal_->Relay(polled + kOwn);
    if (terminal_ != nullptr && terminal_->hung_up()) AskToEnd();
    if ((polled[1].revents & POLLIN) != 0) STRATA_TRY(TakeSignal());
    if (polled[4].revents != 0) STRATA_TRY(TakeControl());
    if (polled[3].revents != 0) {
      lifeline_ = -1;
      spec_.meanwhile([this] {
        Polled now;
        return Poll(&now, 0) != 0;
      });
    }
    if (polled[0].revents != 0) {
      ended_ = true;
      if (terminal_ != nullptr) terminal_->EndInput();
    }
    return {};
  }

  void Within(int64_t ms) { deadline_ns_ = MonotonicNs() + ms * 1000000; }

  int TimeLeft() const {
    if (deadline_ns_ == 0) return -1;
    const int64_t left = (deadline_ns_ - MonotonicNs() + 999999) / 1000000;
    return static_cast<int>(std::clamp<int64_t>(left, 0, 1000000000));
  }

  // First everything is asked to end, then, after the grace, pid 1 is killed and all with it.
  Result<void> TimeIsUp() {
    deadline_ns_ = 0;
    if (ended_) {  // a terminal that takes nothing more
      abandoned_ = true;
      return {};
    }
    if (asked_) {
      if (terminal_ != nullptr) Within(kLastWordsMs);
      return pid1_.Signal(SIGKILL);
    }
    return EndAll(EndedBy::kTimeout);
  }

  Result<void> EndAll(EndedBy by) {
    ended_by_ = by;
    asked_ = true;
    Within(spec_.grace_ms);
    if (terminal_ != nullptr) terminal_->HangUp();  // an interactive shell ignores SIGTERM
    return pid1_.Signal(SIGPWR);
  }

  // The kernel has sent SIGHUP inside; what ignores it has the grace.
  void AskToEnd() {
    if (asked_ || ended_) return;
    asked_ = true;
    Within(spec_.grace_ms);
  }

  void TakeTerminal() {
    int ends[2];
    if (sys::ReceiveFds(terminal_socket_, ends, 2) == 2) {
      terminal_->Attach(UniqueFd(ends[0]), UniqueFd(ends[1]));
    }
    terminal_socket_ = -1;  // there is one, or the set-up has failed
  }

  Result<void> TakeSignal() {
    signalfd_siginfo info;
    if (sys::Read(spec_.signal_fd, &info, sizeof info) != sizeof info) return {};
    const int signal = static_cast<int>(info.ssi_signo);
    if (terminal_ != nullptr) return TakeTerminalSignal(signal);
    STRATA_TRY(pid1_.Signal(signal));
    // Ctrl-Z, as the shell that started us expects it. SIGCONT, when it comes, is read here next.
    if (signal == SIGTSTP) ::raise(SIGSTOP);
    return {};
  }

  Result<void> TakeControl() {
    unsigned char signals[64];
    const int64_t count = sys::Read(control_, signals, sizeof signals);
    if (count == -EAGAIN) return {};
    if (count <= 0) {
      control_ = -1;
      return asked_ || ended_ ? Result<void>() : EndAll(EndedBy::kCancel);
    }
    for (int64_t i = 0; i < count; ++i) {
      // SIGSTOP would stop pid 1 alone; SIGPWR is our own.
      const int signal = signals[i] == SIGSTOP ? SIGTSTP : signals[i];
      if (signal > 0 && signal < NSIG && signal != SIGPWR) STRATA_TRY(pid1_.Signal(signal));
    }
    return {};
  }

  Result<void> TakeTerminalSignal(int signal) {
    switch (signal) {
      case SIGTERM:
      case SIGHUP:
        // An interactive shell ignores SIGTERM, but not that its terminal is gone.
        terminal_->HangUp();
        if (ended_) abandoned_ = true;
        AskToEnd();
        return {};
      case SIGWINCH:
        terminal_->Resize();
        return {};
      case SIGTSTP:
        terminal_->Suspend();
        ::raise(SIGSTOP);
        return {};
      case SIGCONT:
        terminal_->Continue();
        return {};
      default:
        return pid1_.Signal(signal);
    }
  }

  const SandboxSpec& spec_;
  Terminal* const terminal_;
  int terminal_socket_;
  int lifeline_;  // pid 1 closes its end when it lets the command go; -1: that was noticed
  int control_;   // -1: it has ended
  Process& pid1_;
  int64_t deadline_ns_ = 0;
  bool asked_ = false;  // to end
  EndedBy ended_by_ = EndedBy::kItself;
  bool ended_ = false;
  bool abandoned_ = false;  // nobody wants what is still to be shown
};

}  // namespace

Result<EndedBy> WaitForEnd(const SandboxSpec& spec, int terminal_socket, int lifeline,
                           Process& pid1) {
  return Watch(spec, terminal_socket, lifeline, pid1).Run();
}

}  // namespace strata
