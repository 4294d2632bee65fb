// SPDX-License-Identifier: Apache-2.0
//
// IdMapping: which ids a user namespace has, and which of the host's they are (user_namespaces(7)).
//
// Two are in use. *Single*: the caller's own uid and gid as one uid and gid inside; the kernel lets
// everybody have that. *Subordinate*: the caller's ids as uid and gid 0, and those that /etc/subuid
// and /etc/subgid give to the caller as 1, 2, 3 ...; an ordinary user needs newuidmap and newgidmap
// (Debian: uidmap) to write such a map. Since 0 is the caller in both, a file of the caller's
// belongs to root in both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"

namespace strata {

// One line of /proc/PID/uid_map.
struct IdRange {
  uint32_t inside = 0;
  uint32_t outside = 0;
  uint32_t count = 1;
};

struct IdMapping {
  std::vector<IdRange> uids;  // sorted by `inside`, not overlapping
  std::vector<IdRange> gids;

  // One uid and one gid.
  bool IsSingle() const;
  bool HasUid(uint32_t inside) const;
  bool HasGid(uint32_t inside) const;
};

// The caller's own effective ids, as `uid` and `gid` inside.
IdMapping SingleId(uint32_t uid = 0, uint32_t gid = 0);

// As above. Errors, with a hint that says what to install or which line to add: kNotFound, no range
// for the caller in /etc/subuid or /etc/subgid; kUnsupported, no newuidmap or newgidmap in PATH.
Result<IdMapping> SubordinateIds();

// Gives the process `pid`, which waits in a user namespace that has no map yet, its ids. Writes the
// maps itself where it may, else starts newuidmap and newgidmap, both at once (1.1 ms).
Result<void> WriteIdMaps(pid_t pid, const IdMapping& mapping);

// Runs `work` in a forked child that is uid 0 of a user namespace with `mapping`, with all rights
// over the files of its ids, and returns what it returned. Memory that it changes is the child's;
// files and locks (flock) are shared. The child may use threads.
Result<void> RunInMapping(const IdMapping& mapping, const std::function<Result<void>()>& work);

// Whether uid 0 is root of the machine.
bool IsInFirstUserNamespace();

}  // namespace strata
