// SPDX-License-Identifier: Apache-2.0
#include "sandbox/run_stats.h"

#include <cstring>

#include "sandbox/child_plan.h"

namespace strata {
namespace {

int64_t Microseconds(const timeval& time) {
  return int64_t{time.tv_sec} * 1000000 + time.tv_usec;
}

const char* OutcomeName(const SandboxResult& result) {
  switch (result.outcome) {
    case SandboxResult::Outcome::kTimedOut:
      return "timeout";
    case SandboxResult::Outcome::kCancelled:
      return "cancelled";
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

Json TextOrNull(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

// Adds "limits", "memory" and "pids".
void AddLimitStats(const SandboxLimits& asked, const LimitOutcome& outcome, Json* stats) {
  auto number = [](std::optional<uint64_t> value) { return value ? Json(*value) : Json(nullptr); };
  auto limit = [&](Controller controller, uint64_t value, Json shown) {
    if (value == 0) return Json(nullptr);
    return Json{{"asked", std::move(shown)},
                {"means", LimitMeansName(outcome.choice.For(controller))}};
  };
  const CgroupUsage& usage = outcome.usage;
  (*stats)["limits"] = {{"memory", limit(Controller::kMemory, asked.memory, asked.memory)},
                        {"pids", limit(Controller::kPids, asked.pids, asked.pids)},
                        {"cpus", limit(Controller::kCpu, asked.cpu_milli,
                                       static_cast<double>(asked.cpu_milli) / 1000)}};
  // Of the whole sandbox, which only a cgroup knows; rusage.max_rss_kib is that of the largest
  // process.
  (*stats)["memory"] = {{"peak_bytes", number(usage.memory_peak)},
                        {"oom_kills", number(usage.oom_kills)}};
  // pid 1 is not the command's.
  std::optional<uint64_t> peak = usage.pids_peak;
  if (peak && *peak > 0) --*peak;
  (*stats)["pids"] = {{"peak", number(peak)}, {"refused", number(usage.pids_refused)}};
}

}  // namespace

Json StatsOf(const RunSession& session, const RunRequest& request, int status,
             int64_t finished_ns) {
  auto microseconds = [](int64_t ns) { return ns / 1000; };
  const RunReport& report = session.report();
  const SandboxResult& result = report.sandbox;
  Json stats;
  stats["command"] = report.argv;
  stats["outcome"] = OutcomeName(result);
  stats["status"] = status;
  stats["exit_code"] = result.status.signaled ? Json(nullptr) : Json(result.status.value);
  stats["signal"] = result.status.signaled ? Json(result.status.value) : Json(nullptr);
  stats["signal_name"] = result.status.signaled ? SignalName(result.status.value) : Json(nullptr);
  SetText(stats, "reason", result.reason);
  stats["layers"] = Json::array();
  for (const SetItem& item : session.set().items) stats["layers"].push_back(item.id.Hex());
  const CachedRoot& root = session.root();
  stats["layer_count"] = root.content.layer_count;
  stats["cache"] = root.hit ? "hit" : "miss";
  stats["root"] = root.key.Hex();
  stats["method"] = RootMethodName(root.content.method);
  stats["mounted_depth"] = session.mounted_depth();
  stats["upper"] = UpperName(session.upper());
  stats["compose_us"] = microseconds(report.compose_ns);
  stats["wall_us"] = microseconds(finished_ns - report.start_ns);
  // From the first look into the store to a mounted root.
  int64_t stage_ns = report.staged_ns - report.start_ns;
  for (size_t i = 0; i <= static_cast<size_t>(SandboxStep::kOverlay); ++i) {
    stage_ns += result.step_ns[i];
  }
  stats["stage_us"] = microseconds(stage_ns);
  stats["prepare_us"] = microseconds(report.staged_ns - report.start_ns);
  Json steps;
  for (size_t i = 0; i < kSteps; ++i) {
    steps[SandboxStepName(static_cast<SandboxStep>(i))] = microseconds(result.step_ns[i]);
  }
  stats["steps_us"] = std::move(steps);
  stats["capture_us"] = microseconds(finished_ns - report.ran_ns);
  stats["rusage"] = {{"user_us", Microseconds(result.usage.ru_utime)},
                     {"system_us", Microseconds(result.usage.ru_stime)},
                     {"max_rss_kib", result.usage.ru_maxrss},
                     {"major_faults", result.usage.ru_majflt},
                     {"minor_faults", result.usage.ru_minflt},
                     {"voluntary_switches", result.usage.ru_nvcsw},
                     {"involuntary_switches", result.usage.ru_nivcsw}};
  AddLimitStats(request.limits, result.limits, &stats);
  if (const auto& captured = report.captured) {
    stats["captured"] = {{"id", captured->id.Hex()},
                         {"ref", TextOrNull(request.capture_ref)},
                         {"entries", captured->entries},
                         {"content_bytes", captured->content_bytes},
                         {"existed", captured->existed}};
  }
  return stats;
}

Json StatsOfFailure(const std::vector<std::string>& argv, const DependencySet& set,
                    int64_t start_ns, const Error& error) {
  Json stats;
  stats["command"] = argv;
  stats["outcome"] = "setup-failed";
  stats["status"] = 125;
  stats["exit_code"] = nullptr;
  stats["signal"] = nullptr;
  stats["error"] = error.message();
  SetText(stats, "hint", error.hint());
  stats["layers"] = Json::array();
  for (const SetItem& item : set.items) stats["layers"].push_back(item.id.Hex());
  stats["wall_us"] = (MonotonicNs() - start_ns) / 1000;
  return stats;
}

std::string StatsText(const Json& stats) {
  return stats.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace strata
