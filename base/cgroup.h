// SPDX-License-Identifier: Apache-2.0
//
// Cgroup: the owner of the control groups that hold one sandbox to its limits.
//
// Cgroup v2 has one hierarchy; v1 has several, each with some of the controllers, and on a hybrid
// machine there are both. Each controller is looked for where it is; so one Cgroup can be up to
// three directories. All are named strata-RANDOM and flocked by their owner, so that what a killed
// strata leaves is known by its lock being free, in whatever pid namespace, and the next Make in
// the same place takes it away.
//
// v1: below the caller's own group. v2: there too, where that may hand its controllers down; but a
// group with processes may not (cgroups(7), "no internal processes"), so else beside it or further
// up, as far as the caller may write: within user@UID.service, which systemd gives to its user, or
// in a group that was delegated. A group that is not below the caller's own also gets the limits
// that the ones left out have.
//
// Not thread-safe. Nothing here is done unless a limit is asked for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

enum class Controller { kMemory, kPids, kCpu };
inline constexpr size_t kControllers = 3;

// 0: no limit.
struct CgroupLimits {
  uint64_t memory = 0;     // bytes, swap included where the kernel counts it
  uint64_t pids = 0;       // processes and threads
  uint64_t cpu_milli = 0;  // thousandths of a processor
};

// A hierarchy, and where this process is in it.
struct CgroupPlace {
  int version = 0;
  std::array<bool, kControllers> controllers{};  // v1: those of this hierarchy
  std::string top;                               // the highest directory that can be seen
  std::string own;                               // top, or a directory below it
};
// From the texts of /proc/self/cgroup and /proc/self/mountinfo.
std::vector<CgroupPlace> FindCgroups(std::string_view cgroups, std::string_view mountinfo);
std::vector<CgroupPlace> FindOwnCgroups();
// Removes the empty groups that killed stratas left below the caller's own.
void SweepCgroups();

// What the files of a group say after the end. Nothing where its kernel has no such file.
struct CgroupUsage {
  std::optional<uint64_t> memory_peak;  // bytes
  std::optional<uint64_t> oom_kills;    // processes that an out-of-memory killer took
  bool memory_limit_hit = false;        // it was this group's limit, not the host's memory
  std::optional<uint64_t> pids_peak;
  std::optional<uint64_t> pids_refused;  // forks
};
// Adds what the group that `dir_fd` is tells.
void ReadCgroupUsage(int dir_fd, int version, CgroupUsage* usage);

class Cgroup {
 public:
  Cgroup() = default;
  Cgroup(Cgroup&&) = default;
  Cgroup& operator=(Cgroup&& other) noexcept;
  // Removes the groups. Their processes must be gone; else they stay until somebody's next Make.
  ~Cgroup();

  // For each limit a group is tried; what could not be had, version() and reason() tell.
  static Cgroup Make(const CgroupLimits& limits, const std::vector<CgroupPlace>& places);

  bool empty() const { return groups_.empty(); }
  // Of the group that holds this limit; 0: none does.
  int version(Controller controller) const { return version_[static_cast<size_t>(controller)]; }
  // Why there is none.
  const std::string& reason(Controller controller) const {
    return reason_[static_cast<size_t>(controller)];
  }
  // The v2 group, for sys::CloneInto; -1 where there is none.
  int v2_fd() const;
  // A process enters by writing "0" to each of these. Valid as long as this object.
  std::vector<int> EntranceFds(int version) const;
  CgroupUsage Usage() const;

 private:
  struct Group {
    int version = 0;
    UniqueFd parent;
    std::string name;
    FileLock lock;  // its descriptor is the directory's
    UniqueFd entrance;
  };
  static Result<Group> MakeGroup(const std::string& parent, int version);
  static void Remove(const Group& group);
  void TryV1(const CgroupLimits& limits, const CgroupPlace& place);
  void TryV2(const CgroupLimits& limits, const CgroupPlace& place);
  Result<void> TryV2In(const std::string& directory, const CgroupLimits& limits,
                       const CgroupLimits& inherited);

  std::vector<Group> groups_;
  std::array<int, kControllers> version_{};
  std::array<std::string, kControllers> reason_;
};

}  // namespace strata
