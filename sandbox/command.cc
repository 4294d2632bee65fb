// SPDX-License-Identifier: Apache-2.0
//
// The process that becomes the command. It shares nothing with pid 1 but the namespaces; what goes
// wrong, it tells the parent itself.
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iterator>

#include "sandbox/child_plan.h"
#include "sandbox/loopback.h"
#include "sandbox/mount_ops.h"
#include "sandbox/privileges.h"

namespace strata {
namespace {

// What was closed is something of ours until here, /dev/null mostly, so that nothing else takes its
// number.
void CloseStandardStreams(const ChildPlan& plan) noexcept {
  for (int fd = 0; fd <= 2; ++fd) {
    if (plan.closed_stdio[fd]) static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
  }
}

int ReplaceStandardStreams(const ChildPlan& plan, ChildFailure* failure) noexcept {
  for (int fd = 0; fd <= 2; ++fd) {
    if (plan.stdio[fd] == fd) continue;
    int rc = sys::Dup3(plan.stdio[fd], fd, 0);
    if (rc < 0) {
      failure->Set(-rc, "dup3", "a standard stream");
      return rc;
    }
  }
  return 0;
}

// uid 0 of the host owns these devices, and a descriptor from outside is no way around it by
// mounts: fchmod(0, 0) would shut /dev/null on the whole machine. Ours are the same devices,
// read-only as files.
int ReplaceDevices(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (!plan.host_is_root) return 0;
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat st;
    if (::fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || major(st.st_rdev) != 1) continue;
    const unsigned number = minor(st.st_rdev);
    const char* path = number == 3   ? "/dev/null"
                       : number == 5 ? "/dev/zero"
                       : number == 7 ? "/dev/full"
                       : number == 8 ? "/dev/random"
                       : number == 9 ? "/dev/urandom"
                                     : nullptr;
    if (path == nullptr) continue;
    const int ours = sys::OpenAt(AT_FDCWD, path, (::fcntl(fd, F_GETFL) & O_ACCMODE) | O_NOFOLLOW);
    int rc = ours < 0 ? ours : sys::Dup3(ours, fd, ::fcntl(fd, F_GETFD) != 0 ? O_CLOEXEC : 0);
    if (ours >= 0) ::close(ours);
    if (rc < 0) {
      failure->Set(-rc, "open for a standard stream", path);
      return rc;
    }
  }
  return 0;
}

int SetUpNetwork(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (plan.private_network) {
    int rc = sys::Unshare(CLONE_NEWNET);
    if (rc < 0) {
      failure->Set(-rc, "unshare", "the network namespace");
      return rc;
    }
    rc = BringUpLoopback(failure);
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
  rlimit processes{plan.max_processes, plan.max_processes};
  rlimit data{plan.data_limit, plan.data_limit};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) {
    failure->Set(errno, "setrlimit", "RLIMIT_CORE");
    return -failure->sys_errno;
  }
  // Before Linux 5.14 it counts the caller's other processes too, and the hard limit may already be
  // lower.
  if (plan.max_processes != 0) ::setrlimit(RLIMIT_NPROC, &processes);
  if (plan.data_limit != 0) ::setrlimit(RLIMIT_DATA, &data);
  if (plan.open_files != nullptr) ::setrlimit(RLIMIT_NOFILE, plan.open_files);
  return 0;
}

// What a parent with unusual habits would hand down through exec.
void ResetSignals(const ChildPlan& plan) noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  if (plan.in_library) {
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
    return;
  }
  ::sigaction(SIGPIPE, &standard, nullptr);
  ::sigaction(SIGCHLD, &standard, nullptr);
  ::sigaction(SIGXFSZ, &standard, nullptr);
}

// The caller's session keyring holds what he is logged in with, for whoever is in the session. A
// filter of ours denies all that has to do with keys; without one, the command gets a new one.
int LeaveKeyring(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (plan.filter.len != 0 && !plan.filter_is_foreign) return 0;
  const int rc = sys::JoinNewSessionKeyring();
  // A kernel without keys, or a container that denies them to the command as well.
  if (rc >= 0 || rc == -ENOSYS || rc == -EPERM) return 0;
  failure->Set(-rc, "keyctl", "KEYCTL_JOIN_SESSION_KEYRING");
  return rc;
}

int InstallFilter(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (plan.filter.len == 0) return 0;
  // SPEC_ALLOW: without it, Linux before 5.16 slows the whole build down by a mitigation that is
  // meant for untrusted code in a trusted process.
  int rc = sys::Seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &plan.filter);
  if (rc < 0) failure->Set(-rc, "seccomp", "SECCOMP_SET_MODE_FILTER");
  return rc;
}

// The root is not trusted, and a link of it may lead to /proc/self/fd/N. So nothing may be open
// there when the first path in it is followed: neither the store nor a lease, all of which were
// inherited.
void CloseInherited(const ChildPlan& plan, int go_fd) noexcept {
  int kept[] = {plan.status_fd, go_fd, plan.terminal.socket_fd};
  std::sort(kept, kept + std::size(kept));  // a terminal that there is not is -1, the first
  const size_t none = kept[0] < 0 ? 1 : 0;
  CloseAllBut(kept + none, std::size(kept) - none);
}

int EnterDirectory(const ChildPlan& plan, ChildFailure* failure) noexcept {
  if (::chdir(plan.working_directory) == 0) return 0;
  failure->Set(errno, "chdir", plan.working_directory);
  return -failure->sys_errno;
}

// Becomes the user and group that it is to be in a range of ids, and takes the other groups off:
// those of the caller's. The kernel takes all capabilities from whoever stops being uid 0.
int BecomeUser(const ChildPlan& plan, ChildFailure* failure) noexcept {
  int rc = plan.has_groups ? sys::SetNoGroups() : 0;
  if (rc < 0) return FailStep(failure, rc, "setgroups", "");
  char number[16];
  rc = sys::SetResGid(plan.gid);
  std::snprintf(number, sizeof number, "%u", plan.gid);
  if (rc < 0) return FailStep(failure, rc, "setresgid", number);
  rc = sys::SetResUid(plan.uid);
  std::snprintf(number, sizeof number, "%u", plan.uid);
  if (rc < 0) return FailStep(failure, rc, "setresuid", number);
  return KeepCapabilities(plan.uid == 0 ? plan.capabilities : 0, failure);
}

void FailExec(ChildRecord* record, int32_t kind, int error, const char* path) noexcept {
  record->kind = kind;
  record->failure.Set(error, "execve", path);
}

// execve answers ENOENT for a file that is there when its dynamic loader or its #! interpreter is
// not.
void CheckInterpreter(const char* path, ChildRecord* record) noexcept {
  int fd = sys::OpenAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return;
  FailExec(record, ChildRecord::kNoInterpreter, ENOENT, path);
  int64_t size = sys::Read(fd, record->head, sizeof record->head - 1);
  record->head[size > 0 ? size : 0] = '\0';
  ::close(fd);
}

// Until execve has succeeded, /proc/self/exe is strata itself, which nobody in there may get hold
// of. Other magic links lead to nothing that could be executed. Nothing else runs yet that could
// change a path once it was looked at. 0, -ENOENT where nothing is there, -ELOOP; 0, too, where
// openat2 is denied.
int LookForMagicLink(const char* path) noexcept {
  const int fd = sys::OpenAt2(AT_FDCWD, path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
  if (fd >= 0) ::close(fd);
  return fd == -ELOOP || fd == -ENOENT ? fd : 0;
}

// As execvp does: the first that can be executed; else `record` says what was wrong with the best
// candidate.
void TryExec(const ChildPlan& plan, ChildRecord* record) noexcept {
  FailExec(record, ChildRecord::kNotFound, ENOENT, plan.argv[0]);
  for (const char* const* path = plan.candidates; *path != nullptr; ++path) {
    int error = -LookForMagicLink(*path);
    if (error == ENOENT) continue;
    if (error == 0) {
      ::execve(*path, plan.argv, plan.envp);
      error = errno;
    }
    if (error == ENOENT || error == ENOTDIR) {
      if (record->kind == ChildRecord::kNotFound && error == ENOENT)
        CheckInterpreter(*path, record);
      continue;
    }
    FailExec(record, ChildRecord::kNotExecutable, error, *path);
    if (error != EACCES) break;
  }
}

}  // namespace

void RunCommand(const ChildPlan& plan, int ready_fd, int go_fd) noexcept {
  static ChildRecord record;
  auto require = [&](int rc, SandboxStep step = SandboxStep::kRun) noexcept {
    if (rc >= 0) return;
    record.kind = ChildRecord::kSetupFailed;
    record.step = static_cast<int32_t>(step);
    SendRecord(plan, record);
    sys::ExitNow(125);
  };
  if (plan.own_session) sys::SetSid();
  require(SetUpNetwork(plan, &record.failure), SandboxStep::kNetwork);
  char byte = 0;
  sys::Write(ready_fd, &byte, 1);

  // All this needs no root yet, so it overlaps with what pid 1 does.
  require(ReplaceStandardStreams(plan, &record.failure));
  require(SetLimits(plan, &record.failure));
  require(LimitPrivileges(plan, &record.failure), SandboxStep::kPrivileges);
  if (!plan.has_range) {
    require(KeepCapabilities(plan.capabilities, &record.failure), SandboxStep::kPrivileges);
  }
  ResetSignals(plan);
  CloseInherited(plan, go_fd);
  require(LeaveKeyring(plan, &record.failure));
  if (!plan.filter_is_foreign) require(InstallFilter(plan, &record.failure));

  if (sys::Read(go_fd, &byte, 1) != 1) sys::ExitNow(125);  // pid 1 has told the parent why
  ::close(go_fd);
  require(ReplaceDevices(plan, &record.failure));
  if (plan.terminal.socket_fd >= 0) {
    require(MakeTerminal(plan, &record.failure));
    ::close(plan.terminal.socket_fd);
  }
  if (plan.terminal_is_stdin) require(TakeTerminal(&record.failure));
  CloseStandardStreams(plan);
  // Not before: pid 1 may not look at a process of another user, whose network it joins.
  if (plan.has_range) require(BecomeUser(plan, &record.failure));
  require(EnterDirectory(plan, &record.failure));
  // A filter of the user's own may deny anything but execve.
  if (plan.filter_is_foreign) require(InstallFilter(plan, &record.failure));
  TryExec(plan, &record);
  SendRecord(plan, record);
  sys::ExitNow(127);
}

}  // namespace strata
