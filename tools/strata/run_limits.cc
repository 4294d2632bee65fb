// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/run_limits.h"

#include <fcntl.h>
#include <signal.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "base/sys.h"
#include "base/unique_fd.h"
#include "tools/strata/print.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

// "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT"; the upper bits of PRIORITY are 0 for the kernel's
// own.
bool TellsOfOutOfMemory(std::string_view record, int64_t since_us) {
  uint64_t numbers[3] = {};
  for (uint64_t& number : numbers) {
    auto [end, error] = std::from_chars(record.data(), record.data() + record.size(), number);
    if (error != std::errc() || end == record.data() + record.size() || *end != ',') return false;
    record.remove_prefix(static_cast<size_t>(end - record.data()) + 1);
  }
  return numbers[0] < 8 && static_cast<int64_t>(numbers[2]) >= since_us &&
         record.find("ut of memory: Killed process") != record.npos;
}

// Whether the kernel's log has the host's (or an outer group's) out-of-memory killer at work since
// then. Nothing: we may not read it.
std::optional<bool> KernelLogTellsOfOutOfMemory(int64_t since_ns) {
  UniqueFd log(sys::OpenAt(AT_FDCWD, "/dev/kmsg", O_RDONLY | O_NONBLOCK));
  if (!log.valid()) return std::nullopt;
  char record[8192];
  bool any = false;
  for (;;) {
    const int64_t size = sys::Read(log.get(), record, sizeof record);
    if (size == -EPIPE) continue;  // overwritten meanwhile: the next one
    if (size <= 0) return any ? std::optional(false) : std::nullopt;
    any = true;
    if (TellsOfOutOfMemory({record, static_cast<size_t>(size)}, since_ns / 1000)) return true;
  }
}

const char* Plural(uint64_t count) {
  return count == 1 ? "" : "s";
}

void ReportOutOfMemory(const SandboxLimits& asked, const CgroupUsage& usage, bool command_killed,
                       bool quiet) {
  const uint64_t kills = usage.oom_kills.value_or(0);
  const std::string limit = asked.memory != 0 ? "its --memory of " + FormatSize(asked.memory)
                                              : "the cgroup that strata was started in may";
  const std::string peak = usage.memory_peak ? FormatSize(*usage.memory_peak) : "unknown";
  if (command_killed) {
    PrintError(Error(
        Errc::kSystem,
        usage.memory_limit_hit
            ? fmt::format("killed: the command used more memory than {} (peak {})", limit, peak)
            : fmt::format("killed: the host ran out of memory (peak of the command {})", peak)));
  } else if (!quiet) {
    PrintWarning(
        usage.memory_limit_hit
            ? fmt::format("{} process{} of the command {} killed for using more memory "
                          "than {}",
                          kills, kills == 1 ? "" : "es", kills == 1 ? "was" : "were", limit)
            : fmt::format("the host ran out of memory: {} process{} of the command {} killed",
                          kills, kills == 1 ? "" : "es", kills == 1 ? "was" : "were"));
  }
}

// Nothing of ours sent that signal, and no cgroup of ours saw why.
void ReportKill(int64_t since_ns, bool quiet) {
  const std::optional<bool> told = KernelLogTellsOfOutOfMemory(since_ns);
  if (told.value_or(false)) {
    PrintError(Error(Errc::kSystem, "killed: the host ran out of memory, says its kernel log")
                   .Hint("--memory gives a run a limit of its own"));
  } else if (!told && !quiet) {
    PrintWarning(
        "the command was killed by SIGKILL, which strata did not send; the kernel log (dmesg) "
        "says whether the host ran out of memory");
  }
}

}  // namespace

void PrintLimitReport(const SandboxLimits& asked, const SandboxResult& result, int64_t since_ns,
                      bool quiet) {
  if (result.outcome != SandboxResult::Outcome::kEnded) return;
  const bool killed = result.status.signaled && result.status.value == SIGKILL;
  const CgroupUsage& usage = result.limits.usage;
  if (usage.oom_kills.value_or(0) > 0) {
    ReportOutOfMemory(asked, usage, killed, quiet);
  } else if (killed) {
    ReportKill(since_ns, quiet);
  }
  const uint64_t refused = usage.pids_refused.value_or(0);
  if (refused > 0 && result.ShellCode() != 0 && !quiet) {
    PrintWarning(fmt::format("the limit of --pids {} was reached {} time{}", asked.pids, refused,
                             Plural(refused)));
  }
}

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

}  // namespace strata
