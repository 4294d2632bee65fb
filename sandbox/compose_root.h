// SPDX-License-Identifier: Apache-2.0
//
// The way to a root, for everything that needs one: the cached one, else a new one, with its integration
// commands run (once per dependency set, in a sandbox without network) and what they changed kept as the
// topmost lower layer.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cache/roots.h"
#include "stager/compose.h"

namespace strata {

struct ComposeRootOptions {
  ComposeOptions compose;
  // Called once, when there is no such root yet and before one is made. May be empty, as may the others.
  std::function<void()> on_miss;
  std::function<void(std::string_view command)> before_command;
  // Called for each line (without its end) that an integration command writes, stdout and stderr
  // alike, in another thread than the caller's, which waits meanwhile.
  std::function<void(std::string_view)> output;
  std::function<void(std::string_view)> warn;  // conflicts that were resolved, what a capture left out
  std::optional<int64_t> mtime;                // of all that the commands change; else kept
  std::optional<struct rlimit> open_files;     // of the commands; see SandboxSpec
  // For each command, and for waiting until another process has run them; 0: none. Then it is an error.
  int64_t timeout_ms = 0;
  int64_t grace_ms = 10000;  // see SandboxSpec
};

// Hits do nothing but find and lease. A command that fails, fails the whole: the error names it, its
// status and (as the hint) the last lines of its output; nothing is cached. Of several processes
// that compose one set at the same time, one runs the commands, and the others wait for it.
//
// A set that is not cacheable() is composed each time, and cannot have commands. In a store that cannot
// be written to, one that needs nothing made (RootMethod::kDirect, no
// commands) is composed all the same, and not cached.
Result<CachedRoot> ComposeRoot(const Store& store, const DependencySet& set,
                               const ComposeRootOptions& options);

// The first of the root's lower layers that is no directory any more: someone went behind the store's
// back. Nothing where all are there.
Result<std::optional<std::string>> FindLostLower(const Store& store, const CachedRoot& root);
// Removes the root, and what is left of its derived layer `lost`, so that both are made anew. Where
// `lost` cannot be made again, because it was imported, an error that says so. kBusy while another stage
// holds the root.
Result<void> DropLostRoot(const Store& store, CachedRoot root, const std::string& lost);

}  // namespace strata
