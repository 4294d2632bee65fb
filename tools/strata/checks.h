// SPDX-License-Identifier: Apache-2.0
//
// What `strata doctor` looks at, each tried on this machine.
#pragma once

#include <string>
#include <vector>

#include "tools/strata/command.h"

namespace strata {

struct Check {
  const char* name;
  bool good = false;
  bool required = false;  // `strata run` cannot work without it
  std::string detail;     // what was found, or the failed call
  std::string effect;     // of its lack
  std::string fix;
  std::string means;            // of a limit, as in --stats
  const char* needs = nullptr;  // the failed check for want of which this one was not tried
  int sys_errno = 0;            // of the failed call
};

// In the order in which they depend on each other.
std::vector<Check> RunChecks(Context& context);

}  // namespace strata
