// SPDX-License-Identifier: Apache-2.0
//
// pid 1 of a sandbox, from clone to the end: set everything up, start the command, reap, forward
// signals, report. No heap, no exceptions; failures go through the status pipe.
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "sandbox/child_plan.h"

namespace strata {

int64_t MonotonicNs() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

namespace {

// Read by the signal handlers of pid 1.
std::atomic<pid_t> g_command{0};

[[noreturn]] void Finish(const ChildPlan& plan, const ChildRecord& record) noexcept {
  // PIPE_BUF: one write, whole or not at all. A parent that is gone has no use for it.
  sys::Write(plan.status_fd, &record, sizeof record);
  sys::ExitNow(0);
}

int WriteFile(const char* path, const char* text, ChildFailure* failure) noexcept {
  int fd = sys::OpenAt(AT_FDCWD, path, O_WRONLY);
  if (fd < 0) {
    failure->Set(-fd, "open", path);
    return fd;
  }
  int64_t rc = sys::Write(fd, text, std::strlen(text));
  ::close(fd);
  if (rc < 0) failure->Set(static_cast<int>(-rc), "write", path);
  return rc < 0 ? static_cast<int>(rc) : 0;
}

// The parent may have died before the kernel was told to kill us with it: its end of the pipe is
// closed then. pid 1 sees no parent pid, so it cannot look for that.
int DieWithParent(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (rc < 0) {
    failure->Set(-rc, "prctl", "PR_SET_PDEATHSIG");
    return rc;
  }
  pollfd lifeline{plan.lifeline_fd, POLLIN, 0};
  if (::poll(&lifeline, 1, 0) > 0) sys::ExitNow(0);
  return 0;
}

int MapIds(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = WriteFile("/proc/self/setgroups", "deny", failure);
  if (rc == 0) rc = WriteFile("/proc/self/uid_map", plan.uid_map, failure);
  if (rc == 0) rc = WriteFile("/proc/self/gid_map", plan.gid_map, failure);
  return rc;
}

int BringUpLoopback(ChildFailure* failure) noexcept {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    failure->Set(errno, "socket", "AF_INET");
    return -failure->sys_errno;
  }
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int rc = sys::Ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
  if (rc < 0) failure->Set(-rc, "ioctl SIOCSIFFLAGS", "lo");
  return rc;
}

int SetUpNetwork(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (plan.private_network) {
    int rc = BringUpLoopback(failure);
    if (rc < 0) return rc;
  }
  if (::sethostname(plan.hostname, std::strlen(plan.hostname)) != 0) {
    failure->Set(errno, "sethostname", plan.hostname);
    return -failure->sys_errno;
  }
  return 0;
}

int SetLimits(const ChildPlan& plan, ChildFailure* failure) noexcept {
  rlimit none{0, 0};
  rlimit processes{32768, 32768};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) {
    failure->Set(errno, "setrlimit", "RLIMIT_CORE");
    return -failure->sys_errno;
  }
  // Where the pid namespace has no limit of its own. It counts the caller's other processes too, and
  // the hard limit may already be lower: best effort.
  if (!plan.namespaced_pid_max) ::setrlimit(RLIMIT_NPROC, &processes);
  if (plan.open_files != nullptr) ::setrlimit(RLIMIT_NOFILE, plan.open_files);
  return 0;
}

int EnterRoot(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept {
  // Old and new root on one spot, then the old one, which is below, is let go.
  if (::fchdir(root_fd) != 0) {
    failure->Set(errno, "fchdir", "the new root");
    return -failure->sys_errno;
  }
  int rc = sys::PivotRoot(".", ".");
  if (rc < 0) {
    failure->Set(-rc, "pivot_root", plan.attach_at);
    return rc;
  }
  rc = sys::Umount2(".", MNT_DETACH);
  if (rc < 0) {
    failure->Set(-rc, "umount", "the old root");
    return rc;
  }
  if (::chdir(plan.working_directory) != 0) {
    failure->Set(errno, "chdir", plan.working_directory);
    return -failure->sys_errno;
  }
  return 0;
}

// What pid 1 and all that follow can never have again.
int DropPrivileges(const ChildPlan& plan, ChildFailure* failure) noexcept {
  for (int cap = 0; cap < 64; ++cap) {
    if ((plan.capabilities >> cap & 1) != 0) continue;
    int rc = sys::Prctl(PR_CAPBSET_DROP, static_cast<unsigned long>(cap));
    if (rc == -EINVAL) break;  // the kernel knows no more
    if (rc < 0) {
      failure->Set(-rc, "prctl", "PR_CAPBSET_DROP");
      return rc;
    }
  }
  int rc = sys::Prctl(PR_SET_NO_NEW_PRIVS, 1);
  if (rc < 0) {
    failure->Set(-rc, "prctl", "PR_SET_NO_NEW_PRIVS");
    return rc;
  }
  rc = sys::CapSet(plan.capabilities, plan.capabilities, 0);
  if (rc < 0) {
    failure->Set(-rc, "capset", "");
    return rc;
  }
  // A change of credentials clears the death signal and may make us dumpable; so these come last.
  rc = sys::Prctl(PR_SET_DUMPABLE, 0);
  if (rc < 0) {
    failure->Set(-rc, "prctl", "PR_SET_DUMPABLE");
    return rc;
  }
  return DieWithParent(plan, failure);
}

// Everything that was inherited, but the leases and the pipes.
void CloseInherited(const ChildPlan& plan) noexcept {
  unsigned next = 3;
  for (size_t i = 0; i < plan.kept_count; ++i) {
    unsigned keep = static_cast<unsigned>(plan.kept[i]);
    if (keep > next) sys::CloseRange(next, keep - 1, 0);
    next = keep + 1;
  }
  sys::CloseRange(next, ~0U, 0);
}

extern "C" void ForwardSignal(int signal) {
  int saved = errno;
  pid_t command = g_command.load(std::memory_order_relaxed);
  switch (signal) {
    case SIGPWR:  // from our parent: time is up
      ::kill(-1, SIGTERM);
      ::kill(-1, SIGCONT);
      break;
    case SIGTSTP:  // orphaned process groups ignore it, so stop them for good
      ::kill(-1, SIGSTOP);
      break;
    case SIGCONT:
      ::kill(-1, SIGCONT);
      break;
    default:
      if (command > 0) ::kill(command, signal);
  }
  errno = saved;
}

constexpr int kForwarded[] = {SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
                              SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGPWR};

void ForwardSignals() noexcept {
  struct sigaction action {};
  action.sa_handler = ForwardSignal;
  action.sa_flags = SA_RESTART;
  for (int signal : kForwarded) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Reaps until the command has ended. What it left running is killed by the kernel when we exit.
void ReapUntil(pid_t command, ChildRecord* record) noexcept {
  for (;;) {
    siginfo_t info{};
    int rc = sys::WaitId(P_ALL, 0, &info, WEXITED, nullptr);
    if (rc == -ECHILD) return;
    if (rc == 0 && info.si_pid == command) {
      record->kind = ChildRecord::kEnded;
      record->signaled = info.si_code != CLD_EXITED;
      record->value = info.si_status;
      return;
    }
  }
}

}  // namespace

void RunPid1(const ChildPlan& plan) noexcept {
  static ChildRecord record;  // static: shared with the vforked command, and off the stack
  size_t step = 0;
  auto done = [&]() noexcept { record.step_end_ns[step++] = MonotonicNs(); };
  auto require = [&](int rc) noexcept {
    if (rc < 0) {
      record.kind = ChildRecord::kSetupFailed;
      Finish(plan, record);
    }
    done();
    return rc;
  };

  require(DieWithParent(plan, &record.failure));  // kClone
  ::umask(022);
  if (plan.own_session) sys::SetSid();
  require(MapIds(plan, &record.failure));
  int root_fd = require(MountRoot(plan, &record.failure));
  require(MountProc(plan, root_fd, &record.failure));
  require(MountDev(plan, root_fd, &record.failure));
  require(MountTmp(plan, root_fd, &record.failure));
  require(MountExtras(plan, root_fd, &record.failure));
  require(SetUpNetwork(plan, &record.failure));
  require(SetLimits(plan, &record.failure));
  require(EnterRoot(plan, root_fd, &record.failure));
  require(DropPrivileges(plan, &record.failure));
  CloseInherited(plan);

  // vfork: the command borrows our memory until it is executed, so nothing is copied, and when vfork
  // returns here, `record` says whether the exec failed.
  pid_t command = ::vfork();
  if (command == 0) ExecCommand(plan, &record);
  if (command < 0) {
    record.failure.Set(errno, "vfork", "");
    require(-record.failure.sys_errno);
  }
  done();
  if (record.kind != 0) Finish(plan, record);
  g_command.store(command, std::memory_order_relaxed);
  ForwardSignals();
  ReapUntil(command, &record);
  done();
  Finish(plan, record);
}

}  // namespace strata
