// SPDX-License-Identifier: Apache-2.0
//
// HelperProgram: a program of the system that does something for us (newuidmap, cp,
// fuse-overlayfs). It starts with /dev/null as standard input and output, with no other descriptor
// than it is given, and with signals as every program expects them: it may stay on as a daemon, and
// the process that starts it may be anybody's.
//
// Killed and reaped when it is dropped before its end. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

class HelperProgram {
 public:
  struct Setup {
    int directory = -1;                // where it starts; -1: here
    int kept = -1;                     // a descriptor that it has, too
    const char* const* env = nullptr;  // null: that of this process
  };
  // argv[0] is looked up in PATH. kUnsupported where there is no such program.
  static Result<HelperProgram> Start(std::vector<std::string> argv, const Setup& setup);
  HelperProgram() = default;

  bool running() const { return process_.running(); }
  struct End {
    int status = 0;     // as a shell says it
    std::string words;  // what it wrote to standard error, without the last newline
  };
  Result<End> Wait();

 private:
  Process process_;
  UniqueFd words_;
  bool in_shell_ = false;  // which tells its status: this process ignores SIGCHLD
};

// The first in the (absolute) directories of PATH that may be executed; empty if there is none.
std::string FindProgram(const char* name);

// Runs it to its end; kUnsupported where it fails, with the last line that it said.
Result<void> RunHelperProgram(std::vector<std::string> argv, const HelperProgram::Setup& setup);

}  // namespace strata
