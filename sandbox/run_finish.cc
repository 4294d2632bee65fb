// SPDX-License-Identifier: Apache-2.0
//
// The second half of a RunSession: after the command has ended.
#include <algorithm>
#include <cctype>
#include <iterator>

#include "base/remove_tree.h"
#include "sandbox/limit_report.h"
#include "sandbox/run_session.h"

namespace strata {
namespace {

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

std::string CaptureLabel(const RunRequest& request) {
  return request.capture_ref.empty() ? "capture" : "capture " + request.capture_ref;
}

}  // namespace

void RunSession::TellHowItEnded(int status) const {
  const SandboxResult& result = report_.sandbox;
  using Kind = Observer::Kind;
  if (result.outcome == SandboxResult::Outcome::kNotFound ||
      result.outcome == SandboxResult::Outcome::kNotExecutable) {
    observer_.Tell(Kind::kProblem, Error(Errc::kNotFound, result.reason).Hint(result.hint));
  } else if (result.outcome == SandboxResult::Outcome::kTimedOut) {
    observer_.Tell(
        Kind::kProblem,
        Error(Errc::kSystem, fmt::format("{}: timed out after {} s", report_.argv[0],
                                         static_cast<double>(request_.timeout_ms) / 1000)));
  }
  TellOfLimits(request_, result, report_.start_ns, observer_);
  if (status == 0) return;
  if (ids_.missing) {
    // It may well have failed at that: a chown, or a file that it found to be root's.
    observer_.Tell(
        Kind::kAdvice,
        Error(Errc::kUnsupported,
              fmt::format("all files of these layers, and the command, had one owner: {}",
                          ids_.missing->message()))
            .Hint(ids_.missing->hint()));
  } else if (result.outcome == SandboxResult::Outcome::kEnded && !result.status.signaled &&
             request_.ids.userns == Userns::kAuto && !ids_.range &&
             root_->content.foreign_owners() && WouldUseOtherIds(report_.argv)) {
    observer_.Warn(fmt::format(
        "files of these layers have other owners, and the command had one id: where that matters "
        "(apt-get, dpkg, su), {}=subuid gives it a range",
        request_.Option("userns")));
  }
}

Result<int> RunSession::Finish() {
  const int status = report_.sandbox.ShellCode();
  TellHowItEnded(status);
  if (status == 0 || request_.capture_failed) {
    if (request_.capture) {
      STRATA_TRY_WITH(Capture(), CaptureLabel(request_));
    } else if (!request_.output_host.empty()) {
      STRATA_TRY_WITH(DeliverOutput(),
                      fmt::format("{} {}", request_.Option("output"), request_.output_host));
    }
  } else if (request_.capture || !request_.output_host.empty()) {
    const ExitStatus& end = report_.sandbox.status;
    observer_.Tell(Observer::Kind::kNotice,
                   Error(Errc::kSystem,
                         fmt::format("nothing is kept: the command {} {}",
                                     end.signaled ? "was killed by signal" : "failed with status",
                                     end.signaled ? end.value : status)));
  }
  STRATA_TRY(stage_->EndWorkspace());
  if (status != 0 && request_.keep_failed) {
    STRATA_TRY_WITH(KeepFailed(), request_.Option("keep-failed"));
  }
  return status;
}

Result<void> RunSession::Capture() {
  ShownProgress shown(observer_);
  shown.Begin(CaptureLabel(request_));
  CaptureOptions options;
  options.mtime = request_.mtime;
  options.progress = &shown.counters;
  if (ids_.range) options.mapping = &*ids_.range;
  std::optional<CaptureResult>& captured = report_.captured;
  if (!output_.empty()) {
    STRATA_ASSIGN(PendingLayer pending, stage_->TakeForCapture(output_));
    STRATA_ASSIGN(captured, CaptureDirectory(store_, std::move(pending), options));
  } else {
    for (const SandboxMount& mount : mounts_) options.leave_out.push_back(mount.target.substr(1));
    STRATA_ASSIGN(const LowerChain* chain, stage_->Chain());
    STRATA_ASSIGN(PendingLayer pending, stage_->TakeForCapture(stage_->upper()));
    STRATA_ASSIGN(captured, CaptureUpper(store_, std::move(pending), *chain, options));
  }
  if (captured->replaced) RepairAfterReplacing(store_, captured->id, observer_);
  if (!request_.capture_ref.empty()) STRATA_TRY(store_.SetRef(request_.capture_ref, captured->id));
  CollectAfterPublishing(store_, observer_);
  for (const std::string& warning : captured->warnings) observer_.Warn(warning);
  return {};
}

Result<void> RunSession::DeliverOutput() {
  STRATA_ASSIGN(size_t disarmed,
                Deliver(store_.fd(), store_.path(), output_, output_place_, ids_.range));
  if (disarmed > 0) {
    observer_.Warn(fmt::format(
        "{}: {} files lost their setuid or setgid bit or capabilities; a captured layer keeps them",
        request_.output_host, disarmed));
  }
  return {};
}

Result<void> RunSession::KeepFailed() {
  if (!request_.workspace.empty()) {
    report_.kept_workspace = request_.workspace;
    return {};
  }
  if (stage_->upper().empty() || !request_.scratch_directory.empty()) return {};
  if (report_.captured && output_.empty()) return {};  // it is in the layer
  std::string name = "failed-" + RandomName().substr(0, 8);
  STRATA_TRY(stage_->KeepAsWorkspace(name));
  report_.kept_workspace = std::move(name);
  return {};
}

}  // namespace strata
