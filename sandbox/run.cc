// SPDX-License-Identifier: Apache-2.0
//
// The parent's side of a sandbox: plan, clone, wait, tell what happened.
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/io.h"
#include "sandbox/child_plan.h"
#include "sandbox/explain.h"
#include "sandbox/make_plan.h"
#include "sandbox/terminal.h"
#include "sandbox/wait_for_end.h"

namespace strata {
namespace {

// What of a standard stream must be as it was, when the sandbox is gone: of those that are regular
// files, terminals or other devices. Whoever has it open can change it, since it is the caller's.
struct StreamState {
  bool closed = false;
  mode_t mode = 0;  // 0: of no interest
  bool has_attribute[2] = {};
};
using StreamStates = std::array<StreamState, 3>;

// Rights of whoever runs the file, and of those who may open it.
constexpr const char* kStreamAttributes[] = {"security.capability", "system.posix_acl_access"};

Result<StreamStates> CheckStandardStreams(const std::array<int, 3>& streams) {
  StreamStates found;
  for (size_t i = 0; i < streams.size(); ++i) {
    const int fd = streams[i];
    struct stat st;
    int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fstat(fd, &st) != 0) {  // closed, and stays so
      found[i].closed = true;
      continue;
    }
    // Either would be a door out of the sandbox: openat(1, "../..").
    if (S_ISDIR(st.st_mode) || (flags & O_PATH) != 0) {
      return Fail(Errc::kInvalid, "descriptor {} is {}: it would lead out of the sandbox", fd,
                  S_ISDIR(st.st_mode) ? "a directory" : "an O_PATH descriptor");
    }
    // One that is open for reading can be opened again, for writing, by /proc/self/fd.
    if (S_ISBLK(st.st_mode)) {
      return Unexpected(
          Error(Errc::kInvalid,
                fmt::format("descriptor {} is a block device: the command could write to it", fd))
              .Hint("pass it through a pipe"));
    }
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) continue;
    found[i].mode = st.st_mode;
    for (size_t n = 0; S_ISREG(st.st_mode) && n < std::size(kStreamAttributes); ++n) {
      found[i].has_attribute[n] = ::fgetxattr(fd, kStreamAttributes[n], nullptr, 0) >= 0;
    }
  }
  return found;
}

// What the command wrote to a log is its own business, but not that the log becomes a setuid
// program, or another user's to read.
void RestoreStandardStreams(const std::array<int, 3>& streams, const StreamStates& before) {
  for (size_t i = 0; i < streams.size(); ++i) {
    struct stat st;
    const mode_t mode = before[i].mode;
    if (mode == 0) continue;
    for (size_t n = 0; S_ISREG(mode) && n < std::size(kStreamAttributes); ++n) {
      // Removing an ACL that is not there is a write all the same.
      if (before[i].has_attribute[n]) continue;
      if (::fgetxattr(streams[i], kStreamAttributes[n], nullptr, 0) < 0) continue;
      static_cast<void>(::fremovexattr(streams[i], kStreamAttributes[n]) == 0);
    }
    if (::fstat(streams[i], &st) != 0 || st.st_mode == mode) continue;
    static_cast<void>(::fchmod(streams[i], mode & 07777) == 0);
  }
}

// What the child must still have when its standard streams are in their places: a descriptor above
// those.
Result<UniqueFd> AboveStandardStreams(int fd) {
  return sys::CheckFd(sys::DuplicateFd(fd), "fcntl", "F_DUPFD_CLOEXEC");
}

// Where the child sends the terminal that it makes.
struct TerminalSocket {
  UniqueFd parent;
  UniqueFd child;
};

Result<TerminalSocket> PlanTerminal(const Terminal* terminal, ChildTerminal* plan) {
  if (terminal == nullptr) return TerminalSocket{};
  int ends[2];
  STRATA_TRY(sys::Check(sys::SocketPair(ends), "socketpair"));
  TerminalSocket socket{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (ends[1] < 3) {
    STRATA_ASSIGN(socket.child, AboveStandardStreams(ends[1]));
  }
  plan->socket_fd = socket.child.get();
  plan->settings = terminal->settings();
  plan->size = terminal->size();
  for (int fd = 0; fd <= 2; ++fd) plan->streams[fd] = terminal->IsStream(fd);
  return socket;
}

void FillSteps(const ChildRecord& record, int64_t start_ns, SandboxResult* result) {
  int64_t before = start_ns;
  for (size_t i = 0; i + 1 < kSteps; ++i) {
    if (record.step_end_ns[i] == 0) break;
    result->step_ns[i] = record.step_end_ns[i] - before;
    before = record.step_end_ns[i];
  }
  result->step_ns[kSteps - 1] = MonotonicNs() - before;
}

}  // namespace

const char* SandboxStepName(SandboxStep step) {
  static constexpr const char* kNames[] = {"clone",      "ids", "fork",   "overlay", "proc",
                                           "dev",        "tmp", "mounts", "pivot",   "network",
                                           "privileges", "run", "cleanup"};
  static_assert(std::size(kNames) == kSteps);
  return kNames[static_cast<size_t>(step)];
}

uint64_t DefaultCapabilities() {
  uint64_t mask = 0;
  for (int cap : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETUID,
                  CAP_SETGID, CAP_SETPCAP, CAP_SETFCAP, CAP_SYS_CHROOT}) {
    mask |= uint64_t{1} << cap;
  }
  return mask;
}

std::vector<std::string> DefaultEnvironment(uid_t uid, std::string_view terminal) {
  return {
      std::string("HOME=") + (uid == 0 ? "/root" : "/tmp"),
      "LANG=C.UTF-8",
      std::string("LOGNAME=") + (uid == 0 ? "root" : "user"),
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "SHELL=/bin/sh",
      "TERM=" + std::string(terminal.empty() ? "dumb" : terminal),
      std::string("USER=") + (uid == 0 ? "root" : "user"),
  };
}

int SandboxResult::ShellCode() const {
  switch (outcome) {
    case Outcome::kTimedOut:
      return 124;
    case Outcome::kCancelled:
      return 128 + SIGTERM;
    case Outcome::kNotExecutable:
      return 126;
    case Outcome::kNotFound:
      return 127;
    case Outcome::kEnded:
      break;
  }
  return status.ShellCode();
}

namespace {

// Those of `fds` that are among the standard streams get another number; `moved` owns it.
Result<std::vector<int>> AboveStandardStreams(std::vector<int> fds, std::vector<UniqueFd>* moved) {
  for (int& fd : fds) {
    if (fd > 2) continue;
    STRATA_ASSIGN(moved->emplace_back(), AboveStandardStreams(fd));
    fd = moved->back().get();
  }
  return fds;
}

// `lifeline` is the parent's end of that pipe.
Result<Process> StartPid1(Confinement& confinement, ChildPlan* plan, int lifeline) {
  const uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                         CLONE_NEWCGROUP | CLONE_CLEAR_SIGHAND;
  // What comes during the set-up, a timeout for instance, stays pending in pid 1 until it can pass
  // it on.
  sigset_t all;
  sigset_t mask;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &mask);
  int pid_fd = -1;
  const int64_t pid = confinement.Clone(flags, &pid_fd, plan);
  if (pid == 0) {
    ::close(lifeline);  // held open here it would hide the parent's death
    RunPid1(*plan);
  }
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  if (pid < 0) return Unexpected(ExplainClone(static_cast<int>(-pid)));
  return Process(static_cast<pid_t>(pid), UniqueFd(pid_fd));
}

// What pid 1 has told of the command.
ChildRecord ReadRecord(int status_fd, const ExitStatus& pid1_status) {
  ChildRecord record;
  if (sys::Read(status_fd, &record, sizeof record) == sizeof record) return record;
  // pid 1 was killed: by the timeout, by hand, or by the kernel's out-of-memory killer.
  record = ChildRecord{};
  record.kind = ChildRecord::kEnded;
  record.signaled = 1;
  record.value = pid1_status.signaled ? pid1_status.value : SIGKILL;
  return record;
}

// `entered`: false when that failed because a cgroup could not be entered.
Result<SandboxResult> RunIn(const SandboxSpec& spec, CgroupUse use, bool* entered) {
  STRATA_ASSIGN(StreamStates streams, CheckStandardStreams(spec.stdio));
  STRATA_ASSIGN(Confinement confinement, Confinement::Make(spec.limits, ::geteuid(), use));
  // Read when pid 1 is gone. Whoever else has got hold of the other end, by a fork of the caller's
  // in another thread, must not keep us waiting.
  STRATA_ASSIGN(Pipe status, MakePipe(O_NONBLOCK));
  STRATA_ASSIGN(Pipe lifeline, MakePipe());
  if (status.write.get() < 3) {
    STRATA_ASSIGN(status.write, AboveStandardStreams(status.write.get()));
  }
  std::vector<UniqueFd> moved;
  STRATA_ASSIGN(std::vector<int> held, AboveStandardStreams(spec.held, &moved));
  PlanStorage storage;
  MakePlan(spec, std::move(held), status.write.get(), lifeline.read.get(), &storage);
  confinement.FillPlan(&storage.plan);
  for (int fd = 0; fd <= 2; ++fd) {
    const auto i = static_cast<size_t>(fd);
    storage.plan.closed_stdio[fd] = spec.stdio[i] == fd && streams[i].closed;
  }
  STRATA_ASSIGN(TerminalSocket terminal, PlanTerminal(spec.terminal, &storage.plan.terminal));

  const int64_t start_ns = MonotonicNs();
  STRATA_ASSIGN(Process pid1, StartPid1(confinement, &storage.plan, lifeline.write.get()));
  status.write.reset();
  terminal.child.reset();
  if (storage.plan.has_range) {
    // On failure pid 1, which waits for its ids, is killed by its owner.
    Result<void> mapped = WriteIdMaps(pid1.pid(), *spec.ids);
    if (!mapped) return Unexpected(ExplainIds(std::move(mapped).error()));
    STRATA_TRY(WriteAll(lifeline.write.get(), std::string_view("", 1), "pipe"));
  }
  lifeline.read.reset();  // not before: nobody to read a byte means SIGPIPE
  STRATA_ASSIGN(EndedBy ended_by,
                WaitForEnd(spec, terminal.parent.get(), lifeline.write.get(), pid1));
  if (spec.terminal != nullptr) spec.terminal->Suspend();
  SandboxResult result;
  STRATA_ASSIGN(ExitStatus pid1_status, pid1.Wait(&result.usage));
  RestoreStandardStreams(spec.stdio, streams);
  const ChildRecord record = ReadRecord(status.read.get(), pid1_status);
  FillSteps(record, start_ns, &result);
  if (record.kind == ChildRecord::kSetupFailed) {
    *entered = !FailedToEnterCgroup(record.failure);
    return Unexpected(ExplainSetup(record, spec));
  }
  ExplainOutcome(record, spec, &result);
  result.status = {record.signaled != 0, record.value};
  result.limits = confinement.Outcome();
  if (ended_by == EndedBy::kTimeout) result.outcome = SandboxResult::Outcome::kTimedOut;
  if (ended_by == EndedBy::kCancel) result.outcome = SandboxResult::Outcome::kCancelled;
  return result;
}

}  // namespace

Result<SandboxResult> RunSandbox(const SandboxSpec& spec) {
  bool entered = true;
  Result<SandboxResult> result = RunIn(spec, CgroupUse::kTry, &entered);
  // A cgroup that can be made but not entered is as good as none.
  return entered ? std::move(result) : RunIn(spec, CgroupUse::kNever, &entered);
}

}  // namespace strata
