// SPDX-License-Identifier: Apache-2.0
//
// The way to a root, for everything that needs one: the cached one, else a new one, with its integration
// commands run (once per dependency set, in a sandbox without network) and what they changed kept as the
// topmost lower layer.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cache/roots.h"
#include "stager/compose.h"

namespace strata {

struct ComposeRootOptions {
  ComposeOptions compose;
  // Called for each line (without its end) that an integration command writes, stdout and stderr
  // alike, and before each command. May be empty.
  std::function<void(std::string_view)> output;
  std::function<void(std::string_view command)> before_command;
  struct rlimit open_files = {};  // of the commands; see SandboxSpec::open_files
  int signal_fd = -1;             // see SandboxSpec
};

// A command that fails, fails the whole: the error names it, its status and (as the hint) the last lines of its
// output; nothing is cached.
Result<CachedRoot> ComposeRoot(const Store& store, DependencySet set,
                               const ComposeRootOptions& options);

}  // namespace strata
