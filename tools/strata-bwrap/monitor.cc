// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/monitor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/sys.h"
#include "sandbox/privileges.h"
#include "tools/strata-bwrap/message.h"
#include "tools/strata-bwrap/sandbox_plan.h"
#include "tools/strata-bwrap/status.h"

namespace strata::bwrap {
namespace {

int NewEvent(int flags) {
  const int fd = ::eventfd(0, EFD_CLOEXEC | flags);
  if (fd < 0) DieWith(errno, "eventfd()");
  return fd;
}

// What the two sides tell each other, as far as the options need it.
void OpenChannels(SandboxPlan* plan) {
  const Options& o = plan->options;
  if (o.unshare_pid && !o.as_pid_1) plan->ended_fd = NewEvent(EFD_NONBLOCK);
  if (o.info_fd >= 0 || o.json_status_fd >= 0) {
    int rc = sys::Pipe2(plan->go, 0);
    if (rc < 0) DieWith(rc, "pipe2()");
  }
  if (o.json_status_fd >= 0) {
    int rc = sys::Pipe2(plan->exec_pipe, 0);
    if (rc < 0) DieWith(rc, "pipe2()");
  }
  if (o.die_with_parent) {
    int rc = sys::Pipe2(plan->lifeline, O_NONBLOCK);
    if (rc < 0) DieWith(rc, "pipe2()");
  }
  if (o.pidns_fd >= 0 && o.unshare_pid &&
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, plan->pid_socket) != 0) {
    DieWith(errno, "Can't create intermediate pids socket");
  }
  plan->init_keeps = o.leases;
  plan->init_keeps.insert(plan->init_keeps.end(), {plan->ended_fd, o.sync_fd, plan->lifeline[0]});
  std::sort(plan->init_keeps.begin(), plan->init_keeps.end());
}

uint64_t CloneFlags(const Options& o) {
  uint64_t flags = CLONE_NEWNS;
  if (o.unshare_user) flags |= CLONE_NEWUSER;
  if (o.unshare_pid && o.pidns_fd < 0) flags |= CLONE_NEWPID;
  if (o.unshare_net) flags |= CLONE_NEWNET;
  if (o.unshare_ipc) flags |= CLONE_NEWIPC;
  if (o.unshare_uts) flags |= CLONE_NEWUTS;
  if (o.unshare_cgroup) flags |= CLONE_NEWCGROUP;
  return flags;
}

[[noreturn]] void DieOfClone(int rc, const Options& o) {
  if (o.unshare_user && rc == -EINVAL) {
    Die("Creating new namespace failed, likely because the kernel does not support user "
        "namespaces.");
  }
  if (o.unshare_user && rc == -EPERM) {
    Die("No permissions to create a new namespace, likely because the kernel does not allow "
        "non-privileged user namespaces. (Hint: `strata doctor` says what to change.)");
  }
  if (rc == -ENOSPC) {
    Die("Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded "
        "(ENOSPC)");
  }
  DieWith(rc, "Creating new namespace failed");
}

void JoinNamespaces(const Options& o) {
  if (o.userns_fd >= 0) {
    int rc = sys::SetNs(o.userns_fd, CLONE_NEWUSER);
    if (rc == -EINVAL) {
      Die("Joining the specified user namespace failed, it might not be a descendant of the "
          "current "
          "user namespace.");
    }
    if (rc < 0) DieWith(rc, "Joining specified user namespace failed");
  }
  // For the children only.
  if (o.pidns_fd >= 0) {
    int rc = sys::SetNs(o.pidns_fd, CLONE_NEWPID);
    if (rc < 0) DieWith(rc, "Setting pidns failed");
  }
}

int WaitFor(int id_type, int id) {
  siginfo_t info{};
  int rc = sys::WaitId(id_type, id, &info, WEXITED, nullptr);
  if (rc < 0) DieWith(rc, "waitid");
  return ExitStatusOf(info);
}

// --pidns with --unshare-pid: a process can only make a pid namespace in the one it is in. So a
// child in the given one makes it, and waits. The kernel translates the pid in the credentials.
[[noreturn]] void RunBetween(const SandboxPlan& plan) noexcept {
  const int64_t pid = sys::Clone(CLONE_NEWPID, nullptr);
  if (pid < 0) DieWith(static_cast<int>(pid), "unshare pid ns");
  if (pid == 0) {
    ucred credentials{::getpid(), ::getuid(), ::getgid()};
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof credentials)] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof credentials);
    std::memcpy(CMSG_DATA(header), &credentials, sizeof credentials);
    if (::sendmsg(plan.pid_socket[1], &message, 0) < 0) DieWith(errno, "Can't send pid");
    ::close(plan.pid_socket[1]);
    RunChild(plan);
  }
  const int lifeline = plan.lifeline[0];
  CloseAllBut(&lifeline, 1);
  DieWithParent(plan);
  sys::ExitNow(WaitFor(P_PID, static_cast<int>(pid)));
}

pid_t ReceivePid(const SandboxPlan& plan) {
  const int on = 1;
  char byte;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::setsockopt(plan.pid_socket[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    DieWith(errno, "setsockopt");
  }
  if (::recvmsg(plan.pid_socket[0], &message, 0) <= 0) sys::ExitNow(1);  // it has said why
  ucred credentials;
  std::memcpy(&credentials, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof credentials);
  return credentials.pid;
}

void WaitForMaps(const Options& o) {
  if (o.userns_block_fd < 0) return;
  char byte;
  sys::Read(o.userns_block_fd, &byte, 1);
  ::close(o.userns_block_fd);
}

// No rights are needed here any more; some filters deny capset to root.
void DropMonitorRights(const SandboxPlan& plan) {
  const Options& o = plan.options;
  if (o.userns2_fd >= 0) {
    int rc = sys::SetNs(o.userns2_fd, CLONE_NEWUSER);
    if (rc < 0) DieWith(rc, "Setting userns2 failed");
  }
  int rc = sys::CapSet(0, 0, 0);
  if (rc < 0 && !(rc == -EPERM && plan.uid == 0)) DieWith(rc, "capset failed");
  rc = sys::Prctl(PR_SET_DUMPABLE, 1);
  if (rc < 0) DieWith(rc, "can't set dumpable");
}

// The caller may have ended before the kernel was told to end us with it.
void DieWithCaller(const Options& o, pid_t caller) {
  if (!o.die_with_parent) return;
  int rc = sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (rc < 0) DieWith(rc, "prctl");
  if (::getppid() != caller) sys::ExitNow(1);
}

// Until the command has ended. pid 1 may live on for what the command left running, so it tells.
int WaitForEnd(const SandboxPlan& plan, int pid_fd) {
  if (plan.ended_fd < 0) return WaitFor(P_PIDFD, pid_fd);
  for (;;) {
    pollfd fds[2] = {{plan.ended_fd, POLLIN, 0}, {pid_fd, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) DieWith(errno, "poll");
    // First: pid 1 ends soon after it has told.
    uint64_t value;
    if (sys::Read(plan.ended_fd, &value, sizeof value) == sizeof value) {
      return static_cast<int>(value - 1);
    }
    if ((fds[1].revents & POLLIN) != 0) return WaitFor(P_PIDFD, pid_fd);
  }
}

// isatty first: ttyname is slow.
const char* TerminalOf(const Options& o) {
  return o.needs_devpts && ::isatty(1) != 0 ? ::ttyname(1) : nullptr;
}

}  // namespace

int RunSandbox(const Options& options) {
  const pid_t caller = ::getppid();
  SandboxPlan plan{.options = options,
                   .uid = ::getuid(),
                   .gid = ::getgid(),
                   .proc_fd = sys::OpenAt(AT_FDCWD, "/proc", O_PATH),
                   .working_directory = ::get_current_dir_name(),
                   .terminal = TerminalOf(options)};
  if (plan.proc_fd < 0) DieWith(plan.proc_fd, "Can't open /proc");
  // The child only replaces it.
  if (::setenv("PWD", "", 1) != 0) DieWith(errno, "setenv failed");
  OpenChannels(&plan);
  JoinNamespaces(options);

  int pid_fd = -1;
  const int64_t cloned = sys::Clone(CloneFlags(options), &pid_fd);
  if (cloned < 0) DieOfClone(static_cast<int>(cloned), options);
  if (cloned == 0) {
    if (plan.pid_socket[1] >= 0) RunBetween(plan);
    RunChild(plan);
  }
  pid_t pid = static_cast<pid_t>(cloned);
  if (plan.pid_socket[0] >= 0) {
    ::close(plan.pid_socket[1]);
    pid = ReceivePid(plan);
  }
  ReportStart(plan, pid);  // to see the child's namespaces takes the rights over it
  DropMonitorRights(plan);
  DieWithCaller(options, caller);
  WaitForMaps(options);
  if (plan.go[1] >= 0) sys::Write(plan.go[1], "", 1);
  // The sandbox has its own; whoever waits for the end of a pipe must not wait for us.
  std::vector<int> own = options.leases;
  own.insert(own.end(),
             {plan.ended_fd, options.json_status_fd, plan.exec_pipe[0], plan.lifeline[1], pid_fd});
  std::sort(own.begin(), own.end());
  CloseAllBut(own.data(), own.size());
  const int status = WaitForEnd(plan, pid_fd);
  ReportEnd(plan, status);
  return status;
}

}  // namespace strata::bwrap
