// SPDX-License-Identifier: Apache-2.0
//
// Runs a command that sees a root at a directory of the caller's own view of the file system, for
// as long as it runs (`strata stage ... DIR -- COMMAND`). This is no sandbox: the command is the
// caller, with all that the caller may do elsewhere. What holds is that nothing it does through the
// directory changes a layer: the root is an overlay, mounted nosuid and nodev in private user and
// mount namespaces in which the command has no right to mount or remount.
//
// The caller's ids stay what they are: root gets all ids and a build's capabilities, another user
// keeps the own id, and no capabilities. When the command has ended, what it left running is
// killed, so that nothing holds the mount; and so is all of it when this process is killed.
//
// Not thread-safe: it waits for all children of the process, and takes its signals.
#pragma once

#include <sys/resource.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace strata {

struct StageCommand {
  std::string store;      // its path, which `lowers`, `upper` and `work` are relative to
  std::string directory;  // absolute, without links
  std::vector<std::string>
      lowers;         // bottom first; none: nothing is mounted, no namespaces are made
  std::string upper;  // empty: read-only, with two lowers or more
  std::string work;
  // Descriptors with locks on what is mounted, which the command inherits: there is no pid 1 here
  // to hold them when this process is killed and what the command started runs on.
  std::vector<int> held;
  std::vector<std::string> argv;            // looked up in PATH
  std::optional<struct rlimit> open_files;  // RLIMIT_NOFILE of the command; else the caller's
};

// The exit status as a shell says it; 126 and 127 with an error written to `problem` where the
// command cannot be executed or is not found. kUnsupported: namespaces or overlays are denied here,
// and nothing was run.
Result<int> RunStageCommand(const StageCommand& command, std::optional<Error>* problem);

}  // namespace strata
