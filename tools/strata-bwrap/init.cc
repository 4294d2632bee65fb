// SPDX-License-Identifier: Apache-2.0
//
// pid 1 of a sandbox, or where it has no pid namespace, the process that holds its locks.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "sandbox/privileges.h"
#include "tools/strata-bwrap/message.h"
#include "tools/strata-bwrap/sandbox_plan.h"

namespace strata::bwrap {
namespace {

// Paths in the sandbox. A shared lock, as long as this process lives.
void TakeLocks(const Options& options) noexcept {
  for (const char* path : options.lock_files) {
    int fd = sys::OpenAt(AT_FDCWD, path, O_RDONLY);
    if (fd < 0) DieWith(fd, "Unable to open lock file %s", path);
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(fd, F_SETLK, &lock) < 0) DieWith(errno, "Unable to lock file %s", path);
  }
}

}  // namespace

int ExitStatusOf(const siginfo_t& info) noexcept {
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

void RunInit(const SandboxPlan& plan, pid_t command, const sock_fprog& late_filter) noexcept {
  const Options& o = plan.options;
  int rc = sys::CapSet(0, 0, 0);
  if (rc < 0 && !(rc == -EPERM && plan.uid == 0)) DieWith(rc, "capset failed");
  CloseAllBut(plan.init_keeps.data(), plan.init_keeps.size());
  // A link to /proc/self/fd/N in the root would make a layer of the store our working directory.
  if (o.leases.empty()) ChangeDirectory(plan);
  TakeLocks(o);
  DieWithParent(plan);
  InstallFilters(plan, late_filter);

  int status = 1;
  for (;;) {
    siginfo_t info{};
    rc = sys::WaitId(P_ALL, 0, &info, WEXITED, nullptr);
    if (rc == -ECHILD) sys::ExitNow(status);
    if (rc < 0) DieWith(rc, "init wait()");
    if (info.si_pid != command) continue;
    status = ExitStatusOf(info);
    if (plan.ended_fd >= 0) {
      const uint64_t value = static_cast<uint64_t>(status) + 1;
      sys::Write(plan.ended_fd, &value, sizeof value);
    }
  }
}

}  // namespace strata::bwrap
