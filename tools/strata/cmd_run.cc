// SPDX-License-Identifier: Apache-2.0
//
// strata run and strata shell: stage the layers, run a command in them, capture what it wrote.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "base/sys.h"
#include "sandbox/child_plan.h"
#include "sandbox/run_session.h"
#include "sandbox/run_stats.h"
#include "sandbox/terminal.h"
#include "tools/strata/command.h"
#include "tools/strata/print_observer.h"
#include "tools/strata/run_options.h"
#include "tools/strata/stats_file.h"

namespace strata {
namespace {

// From now on these are read from the descriptor instead of being delivered.
Result<UniqueFd> ReceiveSignals(const sigset_t& signals) {
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return FailSys(errno, "sigprocmask");
  const int fd = ::signalfd(-1, &signals, SFD_CLOEXEC);
  return sys::CheckFd(fd < 0 ? -errno : fd, "signalfd");
}

// The sandbox has ended: what was meant for it and came too late is dropped, and what comes from
// now on is delivered, so that Ctrl-C ends a long capture.
void DeliverSignals(const sigset_t& signals) {
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    if (::sigismember(&signals, signal) != 1) continue;
    auto* before = ::signal(signal, SIG_IGN);
    if (before != SIG_ERR) ::signal(signal, before);
  }
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
}

// As of any command, its parent's death is no reason to die, unless somebody wants that.
void TieToParent(const RunCommandLine& request) {
  if (request.die_with_parent) sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
}

// One invocation, from the layers to the exit status. What goes wrong is told to --stats as well.
class Invocation {
 public:
  Invocation(Context& context, const RunCommandLine& request)
      : context_(context), request_(request), observer_(context.quiet) {}

  Result<void> Prepare() {
    STRATA_ASSIGN(const Store* store, context_.OpenStore());
    STRATA_ASSIGN(DependencySet set, ReadLayerArgs(*store, request_.layers));
    set.integration.insert(set.integration.end(), request_.integration.begin(),
                           request_.integration.end());
    if (request_.on_conflict) set.on_conflict = *request_.on_conflict;
    STRATA_ASSIGN(stats_, StatsFile::Open(request_.stats_file));
    session_.emplace(*store, request_, observer_);
    Result<void> prepared = session_->Prepare(std::move(set));
    return prepared ? std::move(prepared) : Failed(request_.argv, std::move(prepared).error());
  }

  Result<std::string> FindShell() { return session_->FindShell(); }

  Result<int> Run(const std::vector<std::string>& argv, Terminal* terminal) {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (int signal :
         {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP}) {
      ::sigaddset(&signals, signal);
    }
    STRATA_ASSIGN(UniqueFd signal_fd, ReceiveSignals(signals));
    Result<void> ran = session_->Run(argv, terminal, signal_fd.get());
    if (!ran) return Failed(argv, std::move(ran).error());
    DeliverSignals(signals);
    STRATA_ASSIGN(int status, session_->Finish());
    if (status != 0 && request_.keep_failed) SayWhatIsKept();
    if (!stats_.wanted()) return status;
    const Json stats = StatsOf(*session_, request_, status, MonotonicNs());
    STRATA_TRY_WITH(stats_.Write(StatsText(stats)), "--stats");
    return status;
  }

 private:
  Unexpected Failed(const std::vector<std::string>& argv, Error error) {
    if (stats_.wanted()) {
      const Json stats = StatsOfFailure(argv, session_->set(), request_.start_ns, error);
      Result<void> written = stats_.Write(StatsText(stats));
      if (!written) PrintError(std::move(written).error().Wrap("--stats"));
    }
    return Unexpected(std::move(error));
  }

  void SayWhatIsKept() {
    const std::string& workspace = session_->report().kept_workspace;
    if (workspace.empty()) {
      PrintWarning("--keep-failed: nothing was written to the store's scratch, so nothing is kept");
      return;
    }
    std::string layers = fmt::format("{}", fmt::join(request_.layers.layers, " "));
    if (!request_.layers.layers_from.empty()) {
      layers = fmt::format("--layers-from {} {}", request_.layers.layers_from, layers);
    }
    const char* userns = request_.ids.userns == Userns::kSubuid ? " --userns subuid" : "";
    PrintWarning(fmt::format("look at what failed: strata shell{} --workspace {} {}", userns,
                             workspace, layers));
    if (request_.workspace.empty()) {
      PrintWarning(fmt::format("remove it again: strata rm --workspace {}", workspace));
    }
  }

  Context& context_;
  const RunCommandLine& request_;
  PrintObserver observer_;
  StatsFile stats_;
  std::optional<RunSession> session_;
};

Result<RunCommandLine> ParseRequest(const Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(RunCommandLine request, ParseRunOptions(args));
  TieToParent(request);
  request.start_ns = MonotonicNs();
  request.open_files = context.original_nofile;
  return request;
}

Result<int> Run(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(RunCommandLine request, ParseRequest(context, args));
  if (request.argv.empty()) {
    return Unexpected(
        Error(Errc::kInvalid, "no command given").Hint("strata run LAYER... -- COMMAND [ARG...]"));
  }
  std::unique_ptr<Terminal> terminal;
  if (request.tty) {
    terminal = Terminal::OfStandardInput();
    if (terminal == nullptr) {
      return Unexpected(Error(Errc::kInvalid, "--tty: standard input is no terminal")
                            .Hint("without --tty, standard input may be anything"));
    }
  }
  Invocation invocation(context, request);
  STRATA_TRY(invocation.Prepare());
  return invocation.Run(request.argv, terminal.get());
}

Result<int> Shell(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(RunCommandLine request, ParseRequest(context, args));
  // A script comes from a pipe or a file as it comes to `run`.
  std::unique_ptr<Terminal> terminal = Terminal::OfStandardInput();
  if (request.tty && terminal == nullptr) {
    return Fail(Errc::kInvalid, "--tty: standard input is no terminal");
  }
  Invocation invocation(context, request);
  STRATA_TRY(invocation.Prepare());
  STRATA_ASSIGN(std::string shell, invocation.FindShell());
  return invocation.Run({shell}, terminal.get());
}

}  // namespace

constinit const CommandSpec kRunCommand = {
    .name = "run",
    .summary = "Run a command in a root of stacked layers",
    .usage = "[OPTIONS] LAYER... -- COMMAND [ARG...]",
    .description =
        "Stacks the layers, bottom first, and runs COMMAND in them: as uid 0 in namespaces of its\n"
        "own, with a fresh /proc, /dev and /tmp, no network but loopback, and nothing of the host.\n"
        "What it writes goes to a scratch directory and is gone afterwards, unless an option says\n"
        "otherwise.\n\n"
        "A LAYER is a ref, or the first four or more digits of an id; dir:PATH[@KEY], a directory that\n"
        "does not change while it is used (with KEY: never, under that key); or one of them followed by\n"
        ":at=/PREFIX, which puts it below PREFIX, or :only=GLOB, which takes only what fits.\n\n"
        "A SIZE is in bytes, or a number with K, M, G or T; a TIME in seconds, or with s, m or h.\n\n"
        "The exit status is COMMAND's own; 128+N when signal N killed it; 124 when it timed out;\n"
        "125 when strata itself failed; 126 when COMMAND cannot be executed; 127 when it was\n"
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
    .description =
        "As `strata run`, with a shell of the root: bash, else sh. Where standard input is a terminal,\n"
        "the shell gets one of its own, on which job control, Ctrl-C and Ctrl-Z work inside; what it\n"
        "shows and what is typed is passed on. Where it is a pipe or a file, a script is read from it.\n\n"
        "SIGTERM and SIGHUP hang up: the shell ends, and the terminal is as it was. Only SIGKILL leaves\n"
        "it in raw mode (stty sane); the sandbox ends even then.",
    .options = kRunOptions,
    .min_operands = 0,  // --layers-from
    .max_operands = kAnyNumber,
    .takes_command = false,
    .failure_status = 125,
    .usage_status = 125,
    .run = Shell,
};

}  // namespace strata
