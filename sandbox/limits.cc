// SPDX-License-Identifier: Apache-2.0
#include "sandbox/limits.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/sys.h"
#include "sandbox/child_plan.h"

namespace strata {
namespace {

constexpr char kEnterCall[] = "enter the cgroup";

// pid 1 is strata's own.
constexpr uint64_t WithPid1(uint64_t pids) {
  return pids + 1;
}

// The kernel gives out a number below 300 once in a namespace's life, and refuses a maximum below
// 301.
constexpr uint64_t kReservedPids = 300;
constexpr uint64_t kPidMaxLimit = 4 << 20;

// Of the caller's processors the `count` that follow a random one, so that not everybody takes the
// first.
std::vector<uint8_t> ChooseProcessors(uint64_t count) {
  std::vector<uint8_t> allowed(8192);  // bits: more processors than Linux knows
  const int size = sys::SchedGetAffinity(allowed.size(), allowed.data());
  if (size <= 0) return {};
  allowed.resize(static_cast<size_t>(size));
  std::vector<size_t> numbers;
  for (size_t i = 0; i < allowed.size() * 8; ++i) {
    if ((allowed[i / 8] >> (i % 8) & 1) != 0) numbers.push_back(i);
  }
  std::vector<uint8_t> chosen(allowed.size());
  const size_t first = static_cast<size_t>(::getpid());
  for (size_t i = 0; i < std::min<uint64_t>(count, numbers.size()); ++i) {
    const size_t number = numbers[(first + i) % numbers.size()];
    chosen[number / 8] = static_cast<uint8_t>(chosen[number / 8] | 1U << (number % 8));
  }
  return chosen;
}

}  // namespace

const char* LimitMeansName(LimitMeans means) {
  static constexpr const char* kNames[] = {"none",    "cgroup2", "cgroup1",
                                           "pid_max", "rlimit",  "affinity"};
  return kNames[static_cast<size_t>(means)];
}

bool PidMaxIsNamespaced() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 14);
}

Confinement Confinement::Choose(const SandboxLimits& limits, uid_t outer_uid, CgroupUse use) {
  Confinement made;
  made.limits_ = limits;
  if (!limits.Any()) return made;
  const CgroupLimits wanted{.memory = limits.memory,
                            .pids = limits.pids == 0 ? 0 : WithPid1(limits.pids),
                            .cpu_milli = limits.cpu_milli};
  made.cgroup_ =
      Cgroup::Make(wanted, use == CgroupUse::kTry ? FindOwnCgroups() : std::vector<CgroupPlace>());
  auto choose = [&](Controller controller, uint64_t limit, LimitMeans otherwise) {
    if (limit == 0) return;
    const int version = made.cgroup_.version(controller);
    const auto i = static_cast<size_t>(controller);
    made.choice_.means[i] = version == 2   ? LimitMeans::kCgroup2
                            : version == 1 ? LimitMeans::kCgroup1
                                           : otherwise;
    made.choice_.reasons[i] = made.cgroup_.reason(controller);
  };
  choose(Controller::kMemory, limits.memory, LimitMeans::kRlimit);
  choose(Controller::kPids, limits.pids,
         PidMaxIsNamespaced() ? LimitMeans::kPidMax
         : outer_uid != 0     ? LimitMeans::kRlimit
                              : LimitMeans::kNone);
  choose(Controller::kCpu, limits.cpu_milli, LimitMeans::kAffinity);
  if (made.choice_.For(Controller::kCpu) == LimitMeans::kAffinity) {
    made.processors_ = ChooseProcessors((limits.cpu_milli + 999) / 1000);
  }
  return made;
}

Result<Confinement> Confinement::Make(const SandboxLimits& limits, uid_t outer_uid, CgroupUse use) {
  if (limits.memory != 0 && limits.memory < kLeastMemory) {
    return Fail(Errc::kInvalid, "a memory limit of {} bytes: {} is the least", limits.memory,
                kLeastMemory);
  }
  Confinement made = Choose(limits, outer_uid, use);
  if (limits.pids != 0 && made.choice_.For(Controller::kPids) == LimitMeans::kNone) {
    return Unexpected(
        Error(Errc::kUnsupported, "nothing here can limit how many processes root has")
            .Hint("a writable cgroup would, or Linux 6.14; `strata doctor` says more"));
  }
  return made;
}

void Confinement::FillPlan(ChildPlan* plan) {
  if (limits_.pids != 0) {
    const LimitMeans means = choice_.For(Controller::kPids);
    const bool by_cgroup = means == LimitMeans::kCgroup1 || means == LimitMeans::kCgroup2;
    // RLIMIT_NPROC is exact, but counts each user for himself, and not root; so pid_max is behind
    // it. Neither may come before a cgroup's limit.
    const uint64_t processes = WithPid1(limits_.pids);
    if (!by_cgroup || (plan->max_processes != 0 && plan->max_processes < processes)) {
      plan->max_processes = processes;
    }
    const uint64_t pid_max = std::min(processes + kReservedPids, kPidMaxLimit);
    if (means == LimitMeans::kPidMax || pid_max > kDefaultPids) {
      std::snprintf(plan->pid_max, sizeof plan->pid_max, "%llu",
                    static_cast<unsigned long long>(pid_max));
    }
  }
  if (choice_.For(Controller::kMemory) == LimitMeans::kRlimit) plan->data_limit = limits_.memory;
  plan->processors = processors_.data();
  plan->processors_size = processors_.size();
}

void Confinement::EnterByChild(int version, ChildPlan* plan) {
  for (int fd : cgroup_.EntranceFds(version)) entrances_.push_back(fd);
  plan->cgroup_entrances = entrances_.data();
  plan->cgroup_entrance_count = entrances_.size();
}

int64_t Confinement::Clone(uint64_t flags, int* pid_fd, ChildPlan* plan) {
  if (cgroup_.empty()) return sys::Clone(flags, pid_fd, 0);
  // The namespace is made when the child is in its group, so that this is the root of all that it
  // sees.
  flags &= ~uint64_t{CLONE_NEWCGROUP};
  plan->new_cgroup_namespace = true;
  EnterByChild(1, plan);
  if (cgroup_.v2_fd() >= 0) {
    const int64_t pid = sys::CloneInto(flags, pid_fd, cgroup_.v2_fd(), 0);
    if (pid >= 0) return pid;
    // An old kernel, a filter that denies clone3, or a group that cannot be entered: the child
    // finds out.
    EnterByChild(2, plan);
  }
  return sys::Clone(flags, pid_fd, 0);
}

LimitOutcome Confinement::Outcome() const {
  return {choice_, cgroup_.Usage()};
}

int EnterLimits(const ChildPlan& plan, ChildFailure* failure) noexcept {
  for (size_t i = 0; i < plan.cgroup_entrance_count; ++i) {
    const int64_t rc = sys::Write(plan.cgroup_entrances[i], "0", 1);
    if (rc < 0) {
      failure->Set(static_cast<int>(-rc), kEnterCall, "cgroup.procs");
      return static_cast<int>(rc);
    }
  }
  if (plan.new_cgroup_namespace) {
    const int rc = sys::Unshare(CLONE_NEWCGROUP);
    if (rc < 0) {
      failure->Set(-rc, "unshare", "the cgroup namespace");
      return rc;
    }
  }
  if (plan.processors_size != 0) {
    const int rc = sys::SchedSetAffinity(plan.processors_size, plan.processors);
    if (rc < 0) {
      failure->Set(-rc, "sched_setaffinity", "--cpus");
      return rc;
    }
  }
  return 0;
}

bool FailedToEnterCgroup(const ChildFailure& failure) {
  return std::strcmp(failure.call, kEnterCall) == 0;
}

LimitChoice ProbeLimits() {
  constexpr SandboxLimits kSome{.memory = 64 << 20, .pids = 100, .cpu_milli = 1000};
  return Confinement::Choose(kSome, ::geteuid(), CgroupUse::kTry).choice_;
}

}  // namespace strata
