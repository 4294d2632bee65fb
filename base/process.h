// SPDX-License-Identifier: Apache-2.0
//
// Process: the owner of one child. Destroying one that still runs kills it (SIGKILL) and reaps it:
// no strata code path leaves a child behind. Not thread-safe.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

struct ExitStatus {
  bool signaled = false;
  int value = 0;  // the exit code, or the signal

  // As a shell says it: the code, or 128 + the signal.
  int ShellCode() const { return signaled ? 128 + value : value; }
};

class Process {
 public:
  Process() = default;
  Process(pid_t pid, UniqueFd pid_fd) : pid_(pid), pid_fd_(std::move(pid_fd)) {}
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  int pid_fd() const { return pid_fd_.get(); }
  bool running() const { return pid_ > 0; }
  Result<void> Signal(int signal);
  // Waits for its end. `usage` (may be null) covers the process and the children it waited for. Where the
  // caller ignores SIGCHLD, only a child that does not send it (sys::Clone) has a status: of others that is lost
  // (ECHILD, when they have ended).
  Result<ExitStatus> Wait(struct rusage* usage = nullptr);

 private:
  pid_t pid_ = -1;
  UniqueFd pid_fd_;
};

}  // namespace strata
