// SPDX-License-Identifier: Apache-2.0
#include "base/process.h"

#include <sys/wait.h>

#include <cerrno>
#include <utility>

#include "base/sys.h"

namespace strata {

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pid_fd_(std::move(other.pid_fd_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pid_fd_, other.pid_fd_);
  return *this;
}

Process::~Process() {
  if (!running()) return;
  static_cast<void>(Signal(SIGKILL));
  static_cast<void>(Wait());
}

Result<void> Process::Signal(int signal) {
  // The child is not reaped yet, so its pid cannot have been reused: kill is as safe as a pidfd.
  int rc = pid_fd_.valid() ? sys::PidfdSendSignal(pid_fd_.get(), signal) : -ENOSYS;
  // Denied by a container's filter (EPERM), as far as that can be told; an honest EPERM comes back from kill.
  if (rc == -ENOSYS || rc == -EPERM) rc = ::kill(pid_, signal) == 0 ? 0 : -errno;
  if (rc < 0) return FailSys(-rc, "kill", std::to_string(pid_));
  return {};
}

Result<ExitStatus> Process::Wait(struct rusage* usage) {
  siginfo_t info{};
  const int rc = sys::WaitId(P_PID, pid_, &info, WEXITED | __WALL, usage);
  const pid_t pid = std::exchange(pid_, -1);  // whatever comes: its number may be another's from now on
  if (rc < 0) return FailSys(-rc, "waitid", std::to_string(pid));
  return ExitStatus{info.si_code != CLD_EXITED, info.si_status};
}

}  // namespace strata
