// SPDX-License-Identifier: Apache-2.0
//
// pid 1 of a sandbox, from clone to the end: set everything up, let the command go, reap, forward
// signals, report. No heap, no exceptions; failures go through the status pipe.
#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "sandbox/child_plan.h"
#include "sandbox/hide_arguments.h"
#include "sandbox/privileges.h"

namespace strata {

int64_t MonotonicNs() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

void SendRecord(const ChildPlan& plan, const ChildRecord& record) noexcept {
  // PIPE_BUF: one write, whole or not at all. A parent that is gone has no use for it.
  sys::Write(plan.status_fd, &record, sizeof record);
}

namespace {

// Read by the signal handlers of pid 1.
std::atomic<pid_t> g_command{0};
std::atomic<pid_t> g_group{0};  // its process group, where it has one of its own

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
  if (::poll(&lifeline, 1, 0) > 0 && (lifeline.revents & POLLHUP) != 0) sys::ExitNow(0);
  return 0;
}

// Those of the caller's that are closed, so that nothing opened from now on takes their numbers:
// the command would find it there.
int OccupyStandardStreams(ChildFailure* failure) noexcept {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    const int rc =
        sys::OpenAt(AT_FDCWD, "/dev/null", O_RDWR);  // the lowest number that is free: fd
    if (rc < 0) {
      failure->Set(-rc, "open", "/dev/null");
      return rc;
    }
  }
  return 0;
}

int HideAndDieWithParent(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = sys::Prctl(PR_SET_DUMPABLE, 0);
  if (rc < 0) {
    failure->Set(-rc, "prctl", "PR_SET_DUMPABLE");
    return rc;
  }
  return DieWithParent(plan, failure);
}

// A range is mapped by the parent, because newuidmap must be started outside. The command's process
// makes the network meanwhile.
void AwaitIds(const ChildPlan& plan) noexcept {
  char byte;
  if (sys::Read(plan.lifeline_fd, &byte, 1) != 1)
    sys::ExitNow(0);  // the parent knows why, or is dead
}

int MapIds(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = WriteFile("/proc/self/setgroups", "deny", failure);
  if (rc == 0) rc = WriteFile("/proc/self/uid_map", plan.uid_map, failure);
  if (rc == 0) rc = WriteFile("/proc/self/gid_map", plan.gid_map, failure);
  return rc;
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
  return 0;
}

extern "C" void ForwardSignal(int signal, siginfo_t* info, void*) {
  // Of a sender in the sandbox: what it wants to signal, it can signal itself. Outside has no
  // number in here.
  if (info->si_pid != 0) return;
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
    case SIGINT:   // Ctrl-C and Ctrl-\ at a terminal reach the whole job: a shell that waits for a
                   // program
    case SIGQUIT:  // ends only when that one does
      if (pid_t group = g_group.load(std::memory_order_relaxed); group > 0) {
        ::kill(-group, signal);
        break;
      }
      [[fallthrough]];
    default:
      if (command > 0) ::kill(command, signal);
  }
  errno = saved;
}

constexpr int kForwarded[] = {SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
                              SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGPWR};

void ForwardSignals() noexcept {
  struct sigaction action {};
  action.sa_sigaction = ForwardSignal;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  // One after the other: a SIGCONT that came into the middle of a SIGTSTP would be passed on first.
  ::sigfillset(&action.sa_mask);
  for (int signal : kForwarded) ::sigaction(signal, &action, nullptr);
  // Ignored, it would take from us how the command ended.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Reaps until the command has ended. What it left running is killed by the kernel when we exit.
void ReapUntil(pid_t command, bool stop_is_end, ChildRecord* record) noexcept {
  for (;;) {
    siginfo_t info{};
    int rc = sys::WaitId(P_ALL, 0, &info, WEXITED | (stop_is_end ? WSTOPPED : 0), nullptr);
    if (rc == -ECHILD) return;
    if (rc == 0 && info.si_pid == command) {
      record->kind = ChildRecord::kEnded;
      record->signaled = info.si_code != CLD_EXITED;
      record->value = info.si_status;
      return;
    }
  }
}

// The command's process has made the network namespace; pid 1 goes there too, or else /proc/1/net
// would show the host's.
int JoinNetwork(const ChildPlan& plan, int command_fd, ChildFailure* failure) noexcept {
  if (!plan.private_network) return 0;
  int rc = sys::SetNs(command_fd, CLONE_NEWNET);
  if (rc < 0) failure->Set(-rc, "setns", "the command's network namespace");
  return rc;
}

// The process that becomes the command starts early: while pid 1 mounts, it makes the network
// namespace and compiles the filter, which together take longer than the mounts.
struct CommandProcess {
  pid_t pid = 0;
  int pid_fd = -1;
  int ready_fd = -1;  // one byte, when the network is there; end of file when it failed
  int go_fd = -1;     // one byte tells it that the root is there
};

int StartCommand(const ChildPlan& plan, CommandProcess* command, ChildFailure* failure) noexcept {
  int ready[2];
  int go[2];
  int rc = sys::Pipe2(ready, 0);
  if (rc == 0) rc = sys::Pipe2(go, 0);
  if (rc < 0) {
    failure->Set(-rc, "pipe2", "");
    return rc;
  }
  int64_t pid = sys::Clone(0, &command->pid_fd);
  if (pid == 0) RunCommand(plan, ready[1], go[0]);
  ::close(ready[1]);
  ::close(go[0]);
  if (pid < 0) {
    failure->Set(static_cast<int>(-pid), "clone", "the command's process");
    return static_cast<int>(pid);
  }
  *command = {static_cast<pid_t>(pid), command->pid_fd, ready[0], go[1]};
  return 0;
}

}  // namespace

int LimitPrivileges(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = DropBoundingSet(plan.capabilities, failure);
  if (rc < 0) return rc;
  rc = sys::Prctl(PR_SET_NO_NEW_PRIVS, 1);
  if (rc < 0) failure->Set(-rc, "prctl", "PR_SET_NO_NEW_PRIVS");
  return rc;
}

int KeepCapabilities(uint64_t capabilities, ChildFailure* failure) noexcept {
  int rc = sys::CapSet(capabilities, capabilities, 0);
  if (rc < 0) failure->Set(-rc, "capset", "");
  return rc;
}

void RunPid1(const ChildPlan& plan) noexcept {
  static ChildRecord record;  // static: it is large
  size_t step = 0;
  auto require = [&](int rc) noexcept {
    if (rc < 0) {
      record.kind = ChildRecord::kSetupFailed;
      record.step = static_cast<int32_t>(step);
      SendRecord(plan, record);
      sys::ExitNow(0);
    }
    record.step_end_ns[step++] = MonotonicNs();
    return rc;
  };
  ChildFailure* failure = &record.failure;
  CommandProcess command;

  int rc = DieWithParent(plan, failure);
  if (rc == 0) rc = OccupyStandardStreams(failure);
  require(rc < 0 ? rc : EnterLimits(plan, failure));  // kClone
  if (plan.in_library) sys::Prctl(PR_SET_NAME, reinterpret_cast<uintptr_t>("strata"));
  ::umask(022);
  // pivot_root takes everybody along whose working directory is the old root: the command's
  // process, too.
  if (::chdir("/") != 0) {
    failure->Set(errno, "chdir", "/");
    require(-failure->sys_errno);
  }
  if (plan.has_range) {
    rc = StartCommand(plan, &command, failure);
    if (rc == 0) AwaitIds(plan);
    require(0);
    require(rc);
  } else {
    require(MapIds(plan, failure));
    require(StartCommand(plan, &command, failure));
  }
  sys::SetSid();  // what is typed at the terminal is none of pid 1's business
  int root_fd = require(MountRoot(plan, failure));
  require(MountProc(plan, root_fd, failure));
  require(MountDev(plan, root_fd, failure));
  require(MountTmp(plan, root_fd, failure));
  require(MountExtras(plan, root_fd, failure));
  require(EnterRoot(plan, root_fd, failure));
  // Here because the network takes the longest, and pid 1 waits for it with nothing else left to
  // do.
  rc = LimitPrivileges(plan, failure);

  char byte;
  if (sys::Read(command.ready_fd, &byte, 1) != 1) sys::ExitNow(0);  // it has told the parent why
  require(rc < 0 ? rc : JoinNetwork(plan, command.pid_fd, failure));
  // With a range, the command may be of another user, and signals are to reach it all the same.
  const uint64_t signals = plan.has_range ? uint64_t{1} << CAP_KILL : 0;
  rc = KeepCapabilities(plan.capabilities | signals, failure);
  // A change of credentials may clear the death signal and make us dumpable; so these come last.
  require(rc < 0 ? rc : HideAndDieWithParent(plan, failure));
  g_command.store(command.pid, std::memory_order_relaxed);
  if (plan.own_session) g_group.store(command.pid, std::memory_order_relaxed);
  ForwardSignals();
  HideArguments();
  sys::Write(command.go_fd, &byte, 1);
  CloseAllBut(plan.kept, plan.kept_count);
  // Nobody should wait for pid 1 to close these, and nothing is opened any more that could take
  // their numbers.
  for (int fd = 0; fd <= 2; ++fd) ::close(fd);

  ReapUntil(command.pid, plan.stop_is_end, &record);
  record.step_end_ns[step++] = MonotonicNs();
  SendRecord(plan, record);
  sys::ExitNow(0);
}

}  // namespace strata
