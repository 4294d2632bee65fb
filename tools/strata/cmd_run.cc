// SPDX-License-Identifier: Apache-2.0
//
// strata run and strata shell: stage the layers, run a command in them, capture what it wrote.
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <initializer_list>

#include "base/sys.h"
#include "tools/strata/command.h"
#include "tools/strata/run_options.h"
#include "tools/strata/run_session.h"

namespace strata {
namespace {

sigset_t SignalSet(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : signals) ::sigaddset(&set, signal);
  return set;
}

// From now on these are read from the descriptor instead of being delivered.
Result<UniqueFd> ReceiveSignals(const sigset_t& blocked, const sigset_t& received) {
  if (::sigprocmask(SIG_BLOCK, &blocked, nullptr) != 0) return FailSys(errno, "sigprocmask");
  return sys::CheckFd(::signalfd(-1, &received, SFD_CLOEXEC), "signalfd");
}

// The sandbox has ended: what was meant for it and came too late is dropped, and what comes from now on is
// delivered, so that Ctrl-C ends a long capture.
void DeliverSignals(const sigset_t& blocked) {
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    if (::sigismember(&blocked, signal) != 1) continue;
    auto* before = ::signal(signal, SIG_IGN);
    if (before != SIG_ERR) ::signal(signal, before);
  }
  ::sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
}

Result<int> Run(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(RunRequest request, ParseRunRequest(args));
  if (request.argv.empty()) {
    return Unexpected(
        Error(Errc::kInvalid, "no command given").Hint("strata run LAYER... -- COMMAND [ARG...]"));
  }
  RunSession session(context, request);
  STRATA_TRY(session.Prepare());
  sigset_t signals =
      SignalSet({SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP});
  STRATA_ASSIGN(UniqueFd signal_fd, ReceiveSignals(signals, signals));
  STRATA_TRY(session.Run(request.argv, /*own_session=*/true, signal_fd.get()));
  DeliverSignals(signals);
  return session.Finish();
}

Result<int> Shell(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(RunRequest request, ParseRunRequest(args));
  RunSession session(context, request);
  STRATA_TRY(session.Prepare());
  STRATA_ASSIGN(std::string shell, session.FindShell());
  // The shell shares our terminal and session, so that job control works: what is typed there
  // (Ctrl-C, Ctrl-Z) reaches its foreground job from the kernel and is none of our business.
  // SIGTTOU is blocked so that we may take the terminal back in the end.
  sigset_t received = SignalSet({SIGTERM, SIGHUP});
  sigset_t blocked = SignalSet({SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTOU});
  STRATA_ASSIGN(UniqueFd signal_fd, ReceiveSignals(blocked, received));
  termios settings;
  const bool terminal = ::tcgetattr(STDIN_FILENO, &settings) == 0;
  Result<void> ran = session.Run({shell}, /*own_session=*/false, signal_fd.get());
  if (terminal) {  // a shell that was killed while it read a line leaves it in raw mode
    ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
  }
  STRATA_TRY(std::move(ran));
  DeliverSignals(blocked);
  return session.Finish();
}

}  // namespace

constinit const CommandSpec kRunCommand = {
    .name = "run",
    .summary = "Run a command in a root of stacked layers",
    .usage = "[OPTIONS] LAYER... -- COMMAND [ARG...]",
    .description =
        "Stacks the layers, bottom first, and runs COMMAND in them: as uid 0 in namespaces of its\n"
        "own, with a fresh /proc, /dev and /tmp, no network but loopback, and nothing of the "
        "host.\n"
        "What it writes goes to a scratch directory and is gone afterwards, unless an option says\n"
        "otherwise.\n\n"
        "A LAYER is a ref, or the first four or more digits of an id; dir:PATH[@KEY], a directory that\n"
        "does not change while it is used (with KEY: never, under that key); or one of them followed by\n"
        ":at=/PREFIX, which puts it below PREFIX, or :only=GLOB, which takes only what fits.\n\n"
        "The exit status is COMMAND's own; 128+N when signal N killed it; 124 when it timed out;\n"
        "125 when strata could not set up; 126 when COMMAND cannot be executed; 127 when it was\n"
        "not found.",
    .options = kRunOptions,
    .min_operands = 0,  // --layers-from
    .max_operands = kAnyNumber,
    .takes_command = true,
    .failure_status = 125,
    .usage_status = 125,
    .run = Run,
};

constinit const CommandSpec kShellCommand = {
    .name = "shell",
    .summary = "Look around in a root of stacked layers",
    .usage = "[OPTIONS] LAYER...",
    .description = "As `strata run`, with an interactive shell of the root: bash, else sh.",
    .options = kRunOptions,
    .min_operands = 0,  // --layers-from
    .max_operands = kAnyNumber,
    .takes_command = false,
    .failure_status = 125,
    .usage_status = 125,
    .run = Shell,
};

}  // namespace strata
