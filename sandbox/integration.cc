// SPDX-License-Identifier: Apache-2.0
#include "sandbox/integration.h"

#include "sandbox/id_choice.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <deque>
#include <new>
#include <thread>

#include "base/io.h"
#include "base/own_thread.h"
#include "base/sys.h"
#include "sandbox/sandbox.h"
#include "sandbox/seccomp_filter.h"
#include "stager/capture.h"
#include "stager/scratch.h"
#include "stager/stage.h"

namespace strata {
namespace {

Userns UsernsOf(const DependencySet& set) {
  switch (set.integration_ids) {
    case DependencySet::Ids::kOne:
      return Userns::kSingle;
    case DependencySet::Ids::kRange:
      return Userns::kSubuid;
    case DependencySet::Ids::kByLayers:
      break;
  }
  return Userns::kAuto;
}

constexpr size_t kHintLines = 8;
constexpr size_t kLongestLine = 4096;
constexpr int kAttempts = 3;

// The pipe that a command writes to, and the thread that reads it.
class CommandOutput {
 public:
  explicit CommandOutput(const std::function<void(std::string_view)>& show) : show_(show) {}
  ~CommandOutput() { Finish(); }
  CommandOutput(const CommandOutput&) = delete;
  CommandOutput& operator=(const CommandOutput&) = delete;

  Result<void> Start() {
    int fds[2];
    STRATA_TRY(sys::Check(sys::Pipe2(fds, O_CLOEXEC), "pipe2"));
    read_ = UniqueFd(fds[0]);
    write_ = UniqueFd(fds[1]);
    if (::fcntl(read_.get(), F_SETFL, O_NONBLOCK) != 0) return FailSys(errno, "fcntl", "F_SETFL");
    STRATA_ASSIGN(ended_, sys::CheckFd(::eventfd(0, EFD_CLOEXEC), "eventfd"));
    STRATA_ASSIGN(null_, OpenAt(AT_FDCWD, "/dev/null", O_RDONLY));
    thread_ = StartThread([this] { ReadAll(); });
    return {};
  }
  std::array<int, 3> stdio() const { return {null_.get(), write_.get(), write_.get()}; }

  // After the sandbox has ended, with all that it wrote in the pipe. The pipe's own end need not
  // come: a process that another thread forked meanwhile may have it open.
  void Finish() {
    write_.reset();
    if (ended_.valid()) ::eventfd_write(ended_.get(), 1);
    if (thread_.joinable()) thread_.join();
  }
  std::string LastLines() const { return fmt::format("{}", fmt::join(last_, "\n")); }

 private:
  void ReadAll() {
    std::string line;
    char buffer[4096];
    for (;;) {
      int64_t size = sys::Read(read_.get(), buffer, sizeof buffer);
      if (size == -EAGAIN && WaitForMore()) continue;
      if (size <= 0) break;
      try {
        for (int64_t i = 0; i < size; ++i) {
          if (buffer[i] != '\n') line += buffer[i];
          if (buffer[i] == '\n' || line.size() == kLongestLine) TakeLine(line);
        }
      } catch (const std::bad_alloc&) {
        line.clear();  // the command must not wait for us; what it said is for messages only
      }
    }
    if (!line.empty()) TakeLine(line);
  }
  // False once the sandbox has ended, and all was read.
  bool WaitForMore() {
    pollfd fds[2] = {{read_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    return fds[0].revents != 0;
  }
  void TakeLine(std::string& line) {
    if (show_) show_(line);
    last_.push_back(std::move(line));
    if (last_.size() > kHintLines) last_.pop_front();
    line.clear();
  }

  const std::function<void(std::string_view)>& show_;
  UniqueFd null_;
  UniqueFd read_;
  UniqueFd write_;
  UniqueFd ended_;
  std::thread thread_;
  std::deque<std::string> last_;
};

Error Failure(const std::string& command, const SandboxResult& result, const IdChoice& ids,
              const std::string& output) {
  using Outcome = SandboxResult::Outcome;
  if (result.outcome == Outcome::kNotFound || result.outcome == Outcome::kNotExecutable) {
    Error error(Errc::kNotFound, fmt::format("{}: {}", command, result.reason));
    return std::move(error).Hint(
        "integration commands are run by /bin/sh: add the layer that has it");
  }
  const int signal = result.status.signaled ? result.status.value : 0;
  if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
    return Error(Errc::kSystem, fmt::format("{}: stopped itself by signal {}", command, signal))
        .Hint("nobody is there to continue an integration command");
  }
  Error error(Errc::kSystem,
              result.outcome == Outcome::kTimedOut ? fmt::format("{}: timed out", command)
              : result.status.signaled
                  ? fmt::format("{}: was killed by signal {}", command, result.status.value)
                  : fmt::format("{}: exited with status {}", command, result.status.value));
  std::string hint = output.empty() ? std::string() : "it said: " + output;
  if (ids.missing) {
    if (!hint.empty()) hint += '\n';
    hint += fmt::format("all files of these layers, and the command, had one owner: {}: {}",
                        ids.missing->message(), ids.missing->hint());
  }
  return hint.empty() ? error : std::move(error).Hint(std::move(hint));
}

SandboxSpec SpecFor(const Store& store, const Stage& stage, const StageOptions& stage_options,
                    const IdChoice& ids, const std::string& command,
                    const ComposeRootOptions& options) {
  SandboxSpec spec;
  spec.root.directory = store.path();
  spec.root.attach_at = "mnt";
  spec.root.lowers = stage.lowers();
  spec.root.upper = stage.upper();
  spec.root.work = stage.work();
  spec.root.uniform_inodes = stage_options.upper == StageOptions::Upper::kDirectory;
  spec.argv = {"/bin/sh", "-c", command};
  spec.env = DefaultEnvironment(0, "dumb");
  spec.ids = ids.range;
  spec.network = Network::kNone;
  spec.seccomp = BuildFilter(ChownPolicy::kFail, NestedUserns::kDenied);
  spec.capabilities = DefaultCapabilities();
  spec.open_files = options.open_files;
  spec.timeout_ms = options.timeout_ms;
  spec.grace_ms = options.grace_ms;
  spec.stop_is_end = true;
  spec.held = stage.Held();
  return spec;
}

Result<void> RunCommands(const Store& store, Stage& stage, const StageOptions& stage_options,
                         const IdChoice& ids, const std::vector<std::string>& commands,
                         const ComposeRootOptions& options) {
  for (const std::string& command : commands) {
    STRATA_TRY(stage.MakeMountableAgain());
    if (options.before_command) options.before_command(command);
    SandboxSpec spec = SpecFor(store, stage, stage_options, ids, command, options);
    CommandOutput output(options.output);
    STRATA_TRY(output.Start());
    spec.stdio = output.stdio();
    Result<SandboxResult> result = RunSandbox(spec);
    output.Finish();
    if (!result) return Unexpected(std::move(result).error().Wrap(command));
    if (result->ShellCode() != 0) {
      return Unexpected(Failure(command, *result, ids, output.LastLines()));
    }
  }
  return {};
}

// False: the commands have changed nothing.
Result<bool> RunIn(const Store& store, const RootDraft& draft, const StageOptions& stage_options,
                   const IdChoice& ids, const std::string& name,
                   const ComposeRootOptions& options) {
  std::vector<int> leases;
  for (const FileLock& lease : draft.leases) leases.push_back(lease.fd());
  StageOptions with_ids = stage_options;
  with_ids.mapping = ids.range;
  with_ids.materialise.unmapped =
      UsernsOf(draft.set) == Userns::kSubuid ? UnmappedOwner::kFail : UnmappedOwner::kCaller;
  STRATA_ASSIGN(Stage stage, Stage::Prepare(store, draft.content, leases, with_ids));
  STRATA_TRY(RunCommands(store, stage, stage_options, ids, draft.commands, options));
  STRATA_ASSIGN(const LowerChain* chain, stage.Chain());
  STRATA_ASSIGN(PendingLayer pending, stage.TakeForCapture(stage.upper()));
  CaptureOptions capture;
  capture.mtime = options.mtime;
  capture.derived = name;
  if (ids.range) capture.mapping = &*ids.range;
  capture.jobs = options.compose.jobs;
  STRATA_ASSIGN(CaptureResult captured, CaptureUpper(store, std::move(pending), *chain, capture));
  if (options.warn) {
    for (const std::string& warning : captured.warnings) options.warn(warning);
  }
  return captured.entries > 0;
}

// In the store, else where its file system does not matter.
Result<bool> RunSomewhere(const Store& store, const RootDraft& draft, const std::string& name,
                          const ComposeRootOptions& options) {
  StageOptions stage_options{.upper = StageOptions::Upper::kStore, .items = draft.set.items};
  const Userns userns = UsernsOf(draft.set);
  STRATA_ASSIGN(IdChoice ids, ChooseIds({.userns = userns}, draft.content.needs_range));
  auto run = [&] { return RunIn(store, draft, stage_options, ids, name, options); };
  Result<bool> ran = run();
  if (!ran && ids.range && userns == Userns::kAuto) {
    // newuidmap may be there and not work.
    Result<void> tried = TryRange(*ids.range);
    if (!tried) {
      ids = {.range = {}, .missing = std::move(tried).error()};
      ran = run();
    }
  }
  for (const std::string& directory : ScratchElsewhere()) {
    if (ran || ran.error().code() != Errc::kUnsupported) return ran;
    stage_options.upper = StageOptions::Upper::kDirectory;
    stage_options.directory = directory;
    ran = run();
  }
  return ran;
}

// SHA-256: equal names mean equal layers, nothing is compared afterwards.
std::string NameOf(std::string_view encoded_set, const RootDraft& draft) {
  Sha256 hash;
  auto add = [&](std::string_view text) {
    uint64_t size = text.size();
    hash.Update(&size, sizeof size);
    hash.Update(text.data(), text.size());
  };
  add(encoded_set);
  add(fmt::format("{} {}", draft.content.lowers.size(), draft.commands.size()));
  for (const std::string& lower : draft.content.lowers) add(lower);
  for (const std::string& command : draft.commands) add(command);
  return "integration-" + hash.Finish().Hex();
}

}  // namespace

Result<std::optional<DerivedLayer>> Integrate(const Store& store, const RootDraft& draft,
                                              std::string_view encoded_set,
                                              const ComposeRootOptions& options) {
  const std::string name = NameOf(encoded_set, draft);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    STRATA_ASSIGN(std::optional<DerivedLayer> made, FindDerived(store, name));
    if (made) return made;
    STRATA_ASSIGN_WITH(bool changed, RunSomewhere(store, draft, name, options), "integrate");
    if (!changed) return std::nullopt;
    STRATA_ASSIGN(made, FindDerived(store, name));
    if (made) return made;
    // Collected between its publication and our lease.
  }
  return Fail(Errc::kBusy, "integrate: somebody removes {} each time it is made", name);
}

}  // namespace strata
