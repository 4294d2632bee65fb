// SPDX-License-Identifier: Apache-2.0
//
// The last steps before the command: runs in a vforked child, on pid 1's memory. What it writes to
// `record`, pid 1 sees. The descriptors, the mask and the filter set here are the child's alone.
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "sandbox/child_plan.h"

namespace strata {
namespace {

void FailExec(ChildRecord* record, int32_t kind, int error, const char* path) noexcept {
  record->kind = kind;
  record->failure.Set(error, "execve", path);
}

// execve answers ENOENT for a file that is there when its dynamic loader or its #! interpreter is not.
void CheckInterpreter(const char* path, ChildRecord* record) noexcept {
  int fd = sys::OpenAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return;
  FailExec(record, ChildRecord::kNoInterpreter, ENOENT, path);
  int64_t size = sys::Read(fd, record->head, sizeof record->head - 1);
  record->head[size > 0 ? size : 0] = '\0';
  ::close(fd);
}

}  // namespace

void ExecCommand(const ChildPlan& plan, ChildRecord* record) noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // A parent that ignores these would otherwise hand that down through exec.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &standard, nullptr);
  ::sigaction(SIGCHLD, &standard, nullptr);
  sys::CloseRange(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (plan.filter.len > 0) {
    // SPEC_ALLOW: without it, Linux before 5.16 slows the whole build down by a mitigation that is
    // meant for untrusted code in a trusted process.
    int rc = sys::Seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &plan.filter);
    if (rc < 0) {
      record->kind = ChildRecord::kSetupFailed;
      record->failure.Set(-rc, "seccomp", "SECCOMP_SET_MODE_FILTER");
      sys::ExitNow(125);
    }
  }
  // As execvp does: the first that can be executed; else what was wrong with the best candidate.
  FailExec(record, ChildRecord::kNotFound, ENOENT, plan.argv[0]);
  for (const char* const* path = plan.candidates; *path != nullptr; ++path) {
    const int32_t before = std::exchange(record->kind, 0);  // an exec that works leaves no failure
    ::execve(*path, plan.argv, plan.envp);
    const int error = errno;
    record->kind = before;
    if (error == ENOENT || error == ENOTDIR) {
      if (before == ChildRecord::kNotFound && error == ENOENT) CheckInterpreter(*path, record);
      continue;
    }
    FailExec(record, ChildRecord::kNotExecutable, error, *path);
    if (error != EACCES) break;
  }
  sys::ExitNow(127);
}

}  // namespace strata
