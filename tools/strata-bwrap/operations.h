// SPDX-License-Identifier: Apache-2.0
//
// What the options want in the new root, done in their order. Runs in the cloned child, whose root
// is still the caller's: sources are looked up there as the caller sees them, targets in the new
// root, by its descriptor, which no link leads out of. No heap. Ends the process on errors.
#pragma once

#include <sys/stat.h>

#include "tools/strata-bwrap/options.h"

namespace strata::bwrap {

// The new root while it is made: the directory `newroot` of a tmpfs that also has what must not be
// seen, such as the upper directories of --tmp-overlay.
struct NewRoot {
  int base_fd = -1;
  int fd = -1;  // the topmost mount on `newroot`
  struct stat identity {};
};

// Opens what is mounted on `newroot` now.
void ReopenRoot(NewRoot* root) noexcept;

void RunOperations(const Options& options, const char* terminal, NewRoot* root) noexcept;

}  // namespace strata::bwrap
