// SPDX-License-Identifier: Apache-2.0
//
// What a sandbox may use of memory, processes and processors, and by which means it is held to
// that.
//
//             best                 else                                         else
//   memory    a cgroup: all of     RLIMIT_DATA: each process for itself, and
//             the sandbox          files in /tmp and /dev/shm are not counted
//   pids      a cgroup             pid_max of the pid namespace (Linux 6.14)    RLIMIT_NPROC
//   cpus      a cgroup: time       affinity: a whole number of processors,
//                                  which the command can undo
//
// Each is found by trying (base/cgroup.h). Where a limit is asked for that nothing can enforce, the
// run is refused.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/child_report.h"
#include "base/result.h"

namespace strata {

struct ChildPlan;

// 0: no limit.
struct SandboxLimits {
  uint64_t memory = 0;     // bytes, at least kLeastMemory
  uint64_t pids = 0;       // processes and threads at a time, pid 1 not counted
  uint64_t cpu_milli = 0;  // thousandths of a processor

  bool Any() const { return memory != 0 || pids != 0 || cpu_milli != 0; }
};
// With less, the sandbox could not even be set up.
inline constexpr uint64_t kLeastMemory = 4 << 20;
inline constexpr uint64_t kDefaultPids = 32768;  // of every sandbox

enum class LimitMeans { kNone, kCgroup2, kCgroup1, kPidMax, kRlimit, kAffinity };
const char* LimitMeansName(
    LimitMeans means);  // "none", "cgroup2", "cgroup1", "pid_max", "rlimit", "affinity"

struct LimitChoice {
  std::array<LimitMeans, kControllers>
      means{};  // by Controller; kNone too where nothing was asked for
  std::array<std::string, kControllers> reasons{};  // why it is no cgroup
  LimitMeans For(Controller controller) const { return means[static_cast<size_t>(controller)]; }
};

struct LimitOutcome {
  LimitChoice choice;
  CgroupUsage usage;  // of what is in a cgroup
};

enum class CgroupUse { kTry, kNever };

// What holds one sandbox to its limits: made before clone, kept until everything in the sandbox is
// gone.
class Confinement {
 public:
  Confinement() = default;  // no limits
  Confinement(Confinement&&) = default;

  // `outer_uid`: whose processes, for the host, the sandbox's uid 0 has: RLIMIT_NPROC does not bind
  // root.
  static Result<Confinement> Make(const SandboxLimits& limits, uid_t outer_uid, CgroupUse use);

  // The plan points into this object.
  void FillPlan(ChildPlan* plan);
  // As sys::Clone without a signal at its end, into the cgroup.
  int64_t Clone(uint64_t flags, int* pid_fd, ChildPlan* plan);
  LimitOutcome Outcome() const;

 private:
  friend LimitChoice ProbeLimits();
  static Confinement Choose(const SandboxLimits& limits, uid_t outer_uid, CgroupUse use);
  void EnterByChild(int version, ChildPlan* plan);

  SandboxLimits limits_;
  LimitChoice choice_;
  Cgroup cgroup_;
  std::vector<int> entrances_;
  std::vector<uint8_t> processors_;  // as the kernel has it
};

// The child's part, first thing: enters the cgroups, and what else must be there before it forks.
int EnterLimits(const ChildPlan& plan, ChildFailure* failure) noexcept;
// What of it a failure was about; the sandbox can be tried again without cgroups then.
bool FailedToEnterCgroup(const ChildFailure& failure);

// pid_max belongs to the pid namespace since Linux 6.14. This is the one thing that cannot be
// tried: on an older kernel, host root's write would change the limit of the whole machine.
bool PidMaxIsNamespaced();

// Which means there are, for `strata doctor`: tries all three.
LimitChoice ProbeLimits();

}  // namespace strata
