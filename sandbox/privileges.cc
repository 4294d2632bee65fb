// SPDX-License-Identifier: Apache-2.0
#include "sandbox/privileges.h"

#include <sys/prctl.h>

#include <cerrno>

namespace strata {

int DropBoundingSet(uint64_t capabilities, ChildFailure* failure) noexcept {
  for (int cap = 0; cap < 64; ++cap) {
    if ((capabilities >> cap & 1) != 0) continue;
    int rc = sys::Prctl(PR_CAPBSET_DROP, static_cast<unsigned long>(cap));
    if (rc == -EINVAL) break;  // the kernel knows no more
    if (rc < 0) {
      failure->Set(-rc, "prctl", "PR_CAPBSET_DROP");
      return rc;
    }
  }
  return 0;
}

}  // namespace strata
