// SPDX-License-Identifier: Apache-2.0
#include "sandbox/limit_report.h"

#include <fcntl.h>
#include <signal.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "base/numbers.h"
#include "base/sys.h"
#include "base/unique_fd.h"

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

void TellOfOutOfMemory(const RunRequest& request, const CgroupUsage& usage, bool command_killed,
                       const Observer& observer) {
  const uint64_t kills = usage.oom_kills.value_or(0);
  const uint64_t memory = request.limits.memory;
  const std::string limit =
      memory != 0 ? fmt::format("its {} of {}", request.Option("memory"), FormatSize(memory))
                  : "the cgroup that strata was started in may";
  const std::string peak = usage.memory_peak ? FormatSize(*usage.memory_peak) : "unknown";
  if (command_killed) {
    observer.Tell(
        Observer::Kind::kProblem,
        Error(
            Errc::kSystem,
            usage.memory_limit_hit
                ? fmt::format("killed: the command used more memory than {} (peak {})", limit, peak)
                : fmt::format("killed: the host ran out of memory (peak of the command {})",
                              peak)));
  } else {
    observer.Warn(
        usage.memory_limit_hit
            ? fmt::format("{} process{} of the command {} killed for using more memory "
                          "than {}",
                          kills, kills == 1 ? "" : "es", kills == 1 ? "was" : "were", limit)
            : fmt::format("the host ran out of memory: {} process{} of the command {} killed",
                          kills, kills == 1 ? "" : "es", kills == 1 ? "was" : "were"));
  }
}

// Nothing of ours sent that signal, and no cgroup of ours saw why.
void TellOfKill(const RunRequest& request, int64_t since_ns, const Observer& observer) {
  const std::optional<bool> told = KernelLogTellsOfOutOfMemory(since_ns);
  if (told.value_or(false)) {
    observer.Tell(
        Observer::Kind::kProblem,
        Error(Errc::kSystem, "killed: the host ran out of memory, says its kernel log")
            .Hint(fmt::format("{} gives a run a limit of its own", request.Option("memory"))));
  } else if (!told) {
    observer.Warn(
        "the command was killed by SIGKILL, which strata did not send; the kernel log (dmesg) "
        "says whether the host ran out of memory");
  }
}

}  // namespace

void TellOfLimits(const RunRequest& request, const SandboxResult& result, int64_t since_ns,
                  const Observer& observer) {
  if (result.outcome != SandboxResult::Outcome::kEnded) return;
  const bool killed = result.status.signaled && result.status.value == SIGKILL;
  const CgroupUsage& usage = result.limits.usage;
  if (usage.oom_kills.value_or(0) > 0) {
    TellOfOutOfMemory(request, usage, killed, observer);
  } else if (killed) {
    TellOfKill(request, since_ns, observer);
  }
  const uint64_t refused = usage.pids_refused.value_or(0);
  if (refused > 0 && result.ShellCode() != 0) {
    observer.Warn(fmt::format("the limit of {} {} was reached {} time{}", request.Option("pids"),
                              request.limits.pids, refused, Plural(refused)));
  }
}

}  // namespace strata
