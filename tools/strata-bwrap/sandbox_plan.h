// SPDX-License-Identifier: Apache-2.0
//
// What the monitor prepares before clone, and the child reads after it.
#pragma once

#include <linux/filter.h>
#include <signal.h>
#include <sys/types.h>

#include <vector>

#include "tools/strata-bwrap/options.h"

namespace strata::bwrap {

struct SandboxPlan {
  const Options& options;
  uid_t uid;  // the caller's
  gid_t gid;
  int proc_fd;
  const char* working_directory;   // the caller's; null: it is gone
  const char* terminal = nullptr;  // what standard output is, where --dev wants to show it

  // Read end first; -1 where nobody needs them.
  int ended_fd = -1;     // eventfd: pid 1 tells how the command ended, its exit status plus one
  int go[2] = {-1, -1};  // one byte: the reports about the child are written, it may go on
  int exec_pipe[2] = {-1, -1};       // one byte before exec, another one when exec failed
  int lifeline[2] = {-1, -1};        // closes when the monitor ends
  int pid_socket[2] = {-1, -1};      // --pidns with --unshare-pid: who the child is
  std::vector<int> init_keeps = {};  // what pid 1 does not close, ascending

  bool new_user_namespace() const { return options.unshare_user || options.userns_fd >= 0; }
};

// The cloned child: sets everything up and becomes the command, or pid 1 of the sandbox.
[[noreturn]] void RunChild(const SandboxPlan& plan) noexcept;

// Stays as pid 1, or as the owner of locks, until all processes of the sandbox have ended. Called
// in the process whose child `command` is.
[[noreturn]] void RunInit(const SandboxPlan& plan, pid_t command,
                          const sock_fprog& late_filter) noexcept;

// To where --chdir says, else where the caller was, if that is in the sandbox, else home.
void ChangeDirectory(const SandboxPlan& plan) noexcept;

// --die-with-parent, for the calling process.
void DieWithParent(const SandboxPlan& plan) noexcept;

void InstallFilters(const SandboxPlan& plan, const sock_fprog& late) noexcept;

// As a shell reports it.
int ExitStatusOf(const siginfo_t& info) noexcept;

}  // namespace strata::bwrap
