// SPDX-License-Identifier: Apache-2.0
//
// The second half of a RunSession: after the command has ended.
#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>

#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "sandbox/child_plan.h"
#include "tools/strata/collect.h"
#include "tools/strata/json.h"
#include "tools/strata/progress.h"
#include "tools/strata/run_limits.h"
#include "tools/strata/run_session.h"

namespace strata {
namespace {

int64_t Microseconds(const timeval& time) {
  return int64_t{time.tv_sec} * 1000000 + time.tv_usec;
}

const char* OutcomeName(const SandboxResult& result) {
  switch (result.outcome) {
    case SandboxResult::Outcome::kTimedOut:
      return "timeout";
    case SandboxResult::Outcome::kNotFound:
      return "not-found";
    case SandboxResult::Outcome::kNotExecutable:
      return "not-executable";
    case SandboxResult::Outcome::kEnded:
      break;
  }
  return result.status.signaled ? "signal" : "exit";
}

// "SIGKILL"; real-time signals have no name.
Json SignalName(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? Json(std::string("SIG") + name) : Json(nullptr);
}

const char* UpperName(StageOptions::Upper upper) {
  switch (upper) {
    case StageOptions::Upper::kNone:
      return "none";
    case StageOptions::Upper::kStore:
      return "store";
    case StageOptions::Upper::kTmpfs:
      return "tmpfs";
    case StageOptions::Upper::kDirectory:
      return "directory";
    case StageOptions::Upper::kWorkspace:
      return "workspace";
  }
  return "";
}

// Whether the command line names a program that is known to change owners, or to become another
// user.
bool WouldUseOtherIds(const std::vector<std::string>& argv) {
  static constexpr std::string_view kPrograms[] = {
      "apt",     "apt-get", "aptitude", "chgrp",   "chown",   "dpkg",    "groupadd",
      "runuser", "sudo",    "su",       "useradd", "adduser", "setpriv", "newgrp"};
  auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  for (std::string_view rest : argv) {
    while (!rest.empty()) {
      const auto end = std::find_if_not(rest.begin(), rest.end(), is_word);
      const std::string_view word = rest.substr(0, static_cast<size_t>(end - rest.begin()));
      if (std::find(std::begin(kPrograms), std::end(kPrograms), word) != std::end(kPrograms)) {
        return true;
      }
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    }
  }
  return false;
}

}  // namespace

Result<int> RunSession::Finish() {
  int status = result_.ShellCode();
  bool succeeded = status == 0;
  if (result_.outcome == SandboxResult::Outcome::kNotFound ||
      result_.outcome == SandboxResult::Outcome::kNotExecutable) {
    PrintError(Error(Errc::kNotFound, result_.reason).Hint(result_.hint));
  } else if (result_.outcome == SandboxResult::Outcome::kTimedOut) {
    PrintError(Error(Errc::kSystem, fmt::format("{}: timed out after {} s", argv_[0],
                                                static_cast<double>(request_.timeout_ms) / 1000)));
  }
  PrintLimitReport(request_.limits, result_, start_ns_, context_.quiet);
  if (!succeeded && ids_.missing && !context_.quiet) {
    // It may well have failed at that: a chown, or a file that it found to be root's.
    PrintError(Error(Errc::kUnsupported,
                     fmt::format("all files of these layers, and the command, had one owner: {}",
                                 ids_.missing->message()))
                   .Hint(ids_.missing->hint()));
  } else if (result_.outcome == SandboxResult::Outcome::kEnded && !result_.status.signaled &&
             !succeeded && request_.ids.userns == Userns::kAuto && !ids_.range && !context_.quiet &&
             composition_->root.content.foreign_owners() && WouldUseOtherIds(argv_)) {
    PrintWarning(
        "files of these layers have other owners, and the command had one id: where that matters "
        "(apt-get, dpkg, su), --userns=subuid gives it a range");
  }
  if (succeeded || request_.capture_failed) {
    if (!request_.capture.empty()) {
      STRATA_TRY_WITH(Capture(), fmt::format("capture {}", request_.capture));
    } else if (!request_.output_host.empty()) {
      STRATA_TRY_WITH(DeliverOutput(), fmt::format("--output {}", request_.output_host));
    }
  } else if (!request_.capture.empty() || !request_.output_host.empty()) {
    PrintWarning(
        fmt::format("nothing is kept: the command {} {}",
                    result_.status.signaled ? "was killed by signal" : "failed with status",
                    result_.status.signaled ? result_.status.value : status));
  }
  STRATA_TRY(stage_->EndWorkspace());
  if (!succeeded && request_.keep_failed) STRATA_TRY_WITH(KeepFailed(), "--keep-failed");
  if (!request_.stats_file.empty()) {
    captured_ns_ = MonotonicNs();
    STRATA_TRY_WITH(WriteStats(status), "--stats");
  }
  return status;
}

Result<void> RunSession::Capture() {
  Progress progress;
  ProgressLine line("capture " + request_.capture, progress, context_.quiet);
  CaptureOptions options;
  options.mtime = request_.mtime;
  options.progress = &progress;
  if (ids_.range) options.mapping = &*ids_.range;
  if (!output_.empty()) {
    STRATA_ASSIGN(PendingLayer pending, stage_->TakeForCapture(output_));
    STRATA_ASSIGN(captured_, CaptureDirectory(*store_, std::move(pending), options));
  } else {
    for (const SandboxMount& mount : mounts_) options.leave_out.push_back(mount.target.substr(1));
    STRATA_ASSIGN(const LowerChain* chain, stage_->Chain());
    STRATA_ASSIGN(PendingLayer pending, stage_->TakeForCapture(stage_->upper()));
    STRATA_ASSIGN(captured_, CaptureUpper(*store_, std::move(pending), *chain, options));
  }
  STRATA_TRY(store_->SetRef(request_.capture, captured_->id));
  CollectAfterPublishing(context_, *store_);
  if (!context_.quiet) {
    for (const std::string& warning : captured_->warnings) PrintWarning(warning);
  }
  return {};
}

Result<void> RunSession::DeliverOutput() {
  STRATA_ASSIGN(size_t disarmed,
                Deliver(store_->fd(), store_->path(), output_, output_place_, ids_.range));
  if (disarmed > 0 && !context_.quiet) {
    PrintWarning(fmt::format(
        "{}: {} files lost their setuid or setgid bit or capabilities; a captured layer "
        "keeps them",
        request_.output_host, disarmed));
  }
  return {};
}

Result<void> RunSession::KeepFailed() {
  std::string layers = fmt::format("{}", fmt::join(request_.layers.layers, " "));
  if (!request_.layers.layers_from.empty()) {
    layers = fmt::format("--layers-from {} {}", request_.layers.layers_from, layers);
  }
  const char* userns = request_.ids.userns == Userns::kSubuid ? " --userns subuid" : "";
  if (!request_.workspace.empty()) {
    PrintWarning(fmt::format("look at what failed: strata shell{} --workspace {} {}", userns,
                             request_.workspace, layers));
    return {};
  }
  if (stage_->upper().empty() || !request_.scratch_directory.empty()) {
    PrintWarning("--keep-failed: nothing was written to the store's scratch, so nothing is kept");
    return {};
  }
  std::string name = "failed-" + RandomName().substr(0, 8);
  STRATA_TRY(stage_->KeepAsWorkspace(name));
  PrintWarning(
      fmt::format("look at what failed: strata shell{} --workspace {} {}", userns, name, layers));
  return {};
}

Result<void> RunSession::WriteStats(int status) const {
  auto microseconds = [](int64_t ns) { return ns / 1000; };
  Json stats;
  stats["command"] = argv_;
  stats["outcome"] = OutcomeName(result_);
  stats["status"] = status;
  stats["exit_code"] = result_.status.signaled ? Json(nullptr) : Json(result_.status.value);
  stats["signal"] = result_.status.signaled ? Json(result_.status.value) : Json(nullptr);
  stats["signal_name"] = result_.status.signaled ? SignalName(result_.status.value) : Json(nullptr);
  SetText(stats, "reason", result_.reason);
  stats["layers"] = Json::array();
  for (const SetItem& item : set_.items) stats["layers"].push_back(item.id.Hex());
  const CachedRoot& root = composition_->root;
  stats["layer_count"] = root.content.layer_count;
  stats["cache"] = root.hit ? "hit" : "miss";
  stats["root"] = root.key.Hex();
  stats["method"] = RootMethodName(root.content.method);
  stats["mounted_depth"] = stage_->lowers().size();
  stats["upper"] = UpperName(stage_options_.upper);
  stats["compose_us"] = microseconds(composition_->compose_ns);
  stats["wall_us"] = microseconds(captured_ns_ - start_ns_);
  // From the first look into the store to a mounted root.
  int64_t stage_ns = staged_ns_ - start_ns_;
  for (size_t i = 0; i <= static_cast<size_t>(SandboxStep::kOverlay); ++i) {
    stage_ns += result_.step_ns[i];
  }
  stats["stage_us"] = microseconds(stage_ns);
  stats["prepare_us"] = microseconds(staged_ns_ - start_ns_);
  Json steps;
  for (size_t i = 0; i < kSteps; ++i) {
    steps[SandboxStepName(static_cast<SandboxStep>(i))] = microseconds(result_.step_ns[i]);
  }
  stats["steps_us"] = std::move(steps);
  stats["capture_us"] = microseconds(captured_ns_ - ran_ns_);
  stats["rusage"] = {{"user_us", Microseconds(result_.usage.ru_utime)},
                     {"system_us", Microseconds(result_.usage.ru_stime)},
                     {"max_rss_kib", result_.usage.ru_maxrss},
                     {"major_faults", result_.usage.ru_majflt},
                     {"minor_faults", result_.usage.ru_minflt},
                     {"voluntary_switches", result_.usage.ru_nvcsw},
                     {"involuntary_switches", result_.usage.ru_nivcsw}};
  AddLimitStats(request_.limits, result_.limits, &stats);
  if (captured_) {
    stats["captured"] = {{"id", captured_->id.Hex()},
                         {"ref", request_.capture},
                         {"entries", captured_->entries},
                         {"content_bytes", captured_->content_bytes},
                         {"existed", captured_->existed}};
  }
  return WriteStatsFile(stats);
}

// Nothing has run: whoever reads the file learns that, and why.
Result<void> RunSession::WriteFailure(const Error& error) const {
  if (!stats_fd_.valid() && !stats_place_.parent.valid()) return {};
  Json stats;
  stats["command"] = argv_.empty() ? request_.argv : argv_;
  stats["outcome"] = "setup-failed";
  stats["status"] = 125;
  stats["exit_code"] = nullptr;
  stats["signal"] = nullptr;
  stats["error"] = error.message();
  SetText(stats, "hint", error.hint());
  stats["layers"] = Json::array();
  for (const SetItem& item : set_.items) stats["layers"].push_back(item.id.Hex());
  stats["wall_us"] = (MonotonicNs() - start_ns_) / 1000;
  return WriteStatsFile(stats);
}

Result<void> RunSession::WriteStatsFile(const Json& stats) const {
  std::string text = stats.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (stats_fd_.valid()) return WriteAll(stats_fd_.get(), text, request_.stats_file);
  return ReplaceFile(stats_place_.parent.get(), stats_place_.name, text);
}

}  // namespace strata
