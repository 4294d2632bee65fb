// SPDX-License-Identifier: Apache-2.0
//
// The parent's side of a sandbox: plan, clone, wait, tell what happened.
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/io.h"
#include "sandbox/child_plan.h"
#include "sandbox/explain.h"

namespace strata {
namespace {

// The pieces of a ChildPlan that need an owner.
struct PlanStorage {
  ChildPlan plan{};
  std::vector<const char*> lowers;
  std::string upper;
  std::string work;
  std::string tmpfs_upper_options;
  std::vector<ChildMount> mounts;
  std::vector<std::string> mount_options;
  std::vector<std::string> candidates;
  std::vector<const char*> candidate_pointers;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<int> kept;
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Where execvp would look, as paths.
std::vector<std::string> Candidates(const SandboxSpec& spec) {
  const std::string& command = spec.argv[0];
  if (command.find('/') != std::string::npos) return {command};
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& variable : spec.env) {
    if (variable.compare(0, 5, "PATH=") == 0) path = std::string_view(variable).substr(5);
  }
  std::vector<std::string> candidates;
  while (true) {
    size_t colon = path.find(':');
    std::string_view directory = path.substr(0, colon);
    candidates.push_back(fmt::format("{}/{}", directory.empty() ? "." : directory, command));
    if (colon == std::string_view::npos) return candidates;
    path.remove_prefix(colon + 1);
  }
}

uint64_t MemoryBytes() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return uint64_t{1} << 30;
  return uint64_t{info.totalram} * info.mem_unit;
}

// pid_max belongs to the pid namespace since Linux 6.14. This is the one thing that cannot be
// tried: on an older kernel, host root's write would change the limit of the whole machine.
bool PidMaxIsNamespaced() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 14);
}

// Of the standard streams that are regular files; 0 for the others.
struct StreamModes {
  mode_t mode[3] = {};
};

Result<StreamModes> CheckStandardStreams(const std::array<int, 3>& streams) {
  StreamModes found;
  for (size_t i = 0; i < streams.size(); ++i) {
    const int fd = streams[i];
    struct stat st;
    int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fstat(fd, &st) != 0) continue;  // closed, and stays so
    // Either would be a door out of the sandbox: openat(1, "../..").
    if (S_ISDIR(st.st_mode) || (flags & O_PATH) != 0) {
      return Fail(Errc::kInvalid, "descriptor {} is {}: it would lead out of the sandbox", fd,
                  S_ISDIR(st.st_mode) ? "a directory" : "an O_PATH descriptor");
    }
    if (S_ISREG(st.st_mode)) found.mode[i] = st.st_mode;
  }
  return found;
}

// What the command wrote to a log is its own business, but not that the log becomes a setuid
// program.
void RestoreStandardStreams(const std::array<int, 3>& streams, const StreamModes& before) {
  for (size_t i = 0; i < streams.size(); ++i) {
    struct stat st;
    const mode_t mode = before.mode[i];
    if (mode == 0 || ::fstat(streams[i], &st) != 0 || st.st_mode == mode) continue;
    static_cast<void>(::fchmod(streams[i], mode & 07777) == 0);
  }
}

void PlanRoot(const SandboxRoot& root, PlanStorage* storage) {
  ChildPlan& plan = storage->plan;
  plan.directory = root.directory.c_str();
  plan.attach_at = root.attach_at.c_str();
  for (const std::string& lower : root.lowers) storage->lowers.push_back(lower.c_str());
  plan.overlay.lowers = storage->lowers.data();
  plan.overlay.lower_count = storage->lowers.size();
  plan.overlay.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  storage->upper = root.upper;
  storage->work = root.work;
  if (root.tmpfs_upper) {
    storage->upper = root.attach_at + "/upper";
    storage->work = root.attach_at + "/work";
    storage->tmpfs_upper_options =
        root.tmpfs_size == 0 ? "mode=0700" : fmt::format("mode=0700,size={}", root.tmpfs_size);
    plan.tmpfs_upper_options = storage->tmpfs_upper_options.c_str();
  }
  plan.overlay.uniform_inodes = root.uniform_inodes;
  if (!storage->upper.empty()) {
    plan.overlay.upper = storage->upper.c_str();
    plan.overlay.work = storage->work.c_str();
  } else {
    plan.overlay.attributes |= MOUNT_ATTR_RDONLY;
  }
}

void PlanMounts(const SandboxSpec& spec, uint64_t memory, PlanStorage* storage) {
  storage->mount_options.reserve(spec.mounts.size());  // pointers into it must stay
  for (const SandboxMount& mount : spec.mounts) {
    storage->mount_options.push_back(
        fmt::format("mode=1777,size={}", mount.size == 0 ? memory / 4 : mount.size));
    storage->mounts.push_back(
        {mount.kind, mount.source.c_str(), mount.target.c_str(), mount.make_target, mount.read_only,
         storage->mount_options.back().c_str(), mount.upper.c_str(), mount.work.c_str()});
  }
  storage->plan.mounts = storage->mounts.data();
  storage->plan.mount_count = storage->mounts.size();
}

void MakePlan(const SandboxSpec& spec, int status_fd, int lifeline_fd, PlanStorage* storage) {
  ChildPlan& plan = storage->plan;
  const uint64_t memory = MemoryBytes();
  PlanRoot(spec.root, storage);
  PlanMounts(spec, memory, storage);
  storage->candidates = Candidates(spec);
  for (const std::string& path : storage->candidates) {
    storage->candidate_pointers.push_back(path.c_str());
  }
  storage->candidate_pointers.push_back(nullptr);
  storage->argv = Pointers(spec.argv);
  storage->envp = Pointers(spec.env);
  plan.candidates = storage->candidate_pointers.data();
  plan.argv = storage->argv.data();
  plan.envp = storage->envp.data();
  plan.working_directory = spec.directory.c_str();
  plan.hostname = spec.hostname.c_str();
  std::copy(spec.stdio.begin(), spec.stdio.end(), plan.stdio);
  std::snprintf(plan.uid_map, sizeof plan.uid_map, "%u %u 1\n", spec.uid, ::geteuid());
  std::snprintf(plan.gid_map, sizeof plan.gid_map, "%u %u 1\n", spec.gid, ::getegid());
  plan.host_is_root = ::geteuid() == 0;
  plan.private_network = spec.network == Network::kNone;
  plan.nested_userns = spec.nested_userns;
  plan.own_session = spec.own_session;
  plan.namespaced_pid_max = PidMaxIsNamespaced();
  std::snprintf(plan.shm_options, sizeof plan.shm_options, "mode=1777,size=%llu",
                static_cast<unsigned long long>(memory / 8));
  std::snprintf(plan.tmp_options, sizeof plan.tmp_options, "mode=1777,size=%llu",
                static_cast<unsigned long long>(memory / 4));
  if (spec.seccomp) plan.filter = spec.seccomp->Program();
  plan.filter_is_foreign = spec.seccomp_is_foreign;
  plan.capabilities = spec.capabilities;
  plan.open_files = spec.open_files ? &*spec.open_files : nullptr;
  storage->kept = spec.held;
  storage->kept.push_back(status_fd);
  std::sort(storage->kept.begin(), storage->kept.end());
  plan.kept = storage->kept.data();
  plan.kept_count = storage->kept.size();
  plan.status_fd = status_fd;
  plan.lifeline_fd = lifeline_fd;
}

// What was read from a signalfd, passed on.
Result<void> Forward(int signal_fd, Process& pid1) {
  signalfd_siginfo info;
  int64_t size = sys::Read(signal_fd, &info, sizeof info);
  if (size != sizeof info) return {};
  int signal = static_cast<int>(info.ssi_signo);
  STRATA_TRY(pid1.Signal(signal));
  if (signal == SIGTSTP) {
    // Ctrl-Z, as the shell that started us expects it. SIGCONT, when it comes, is read here next.
    ::raise(SIGSTOP);
  }
  return {};
}

// Until pid 1 has ended. Returns whether the time was up before that.
Result<bool> WaitForEnd(const SandboxSpec& spec, Process& pid1) {
  bool timed_out = false;
  int64_t deadline_ns = spec.timeout_ms > 0 ? MonotonicNs() + spec.timeout_ms * 1000000 : 0;
  for (;;) {
    pollfd fds[2] = {{pid1.pid_fd(), POLLIN, 0}, {spec.signal_fd, POLLIN, 0}};
    int wait_ms = -1;
    if (deadline_ns != 0) {
      int64_t left = (deadline_ns - MonotonicNs() + 999999) / 1000000;
      wait_ms = static_cast<int>(std::clamp<int64_t>(left, 0, 1000000000));
    }
    int ready = ::poll(fds, 2, wait_ms);
    if (ready < 0 && errno != EINTR) return FailSys(errno, "poll");
    if (ready <= 0 && deadline_ns != 0 && MonotonicNs() >= deadline_ns) {
      // First everything is asked to end, then, after the grace, pid 1 is killed and all with it.
      STRATA_TRY(pid1.Signal(timed_out ? SIGKILL : SIGPWR));
      deadline_ns = timed_out ? 0 : MonotonicNs() + spec.grace_ms * 1000000;
      timed_out = true;
    }
    if (ready <= 0) continue;
    if ((fds[0].revents & POLLIN) != 0) return timed_out;
    if ((fds[1].revents & POLLIN) != 0) STRATA_TRY(Forward(spec.signal_fd, pid1));
  }
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
                                           "dev",        "tmp", "mounts", "network", "pivot",
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
    case Outcome::kNotExecutable:
      return 126;
    case Outcome::kNotFound:
      return 127;
    case Outcome::kEnded:
      break;
  }
  return status.ShellCode();
}

Result<SandboxResult> RunSandbox(const SandboxSpec& spec) {
  STRATA_ASSIGN(StreamModes streams, CheckStandardStreams(spec.stdio));
  STRATA_ASSIGN(Pipe status, MakePipe());
  STRATA_ASSIGN(Pipe lifeline, MakePipe());
  PlanStorage storage;
  MakePlan(spec, status.write.get(), lifeline.read.get(), &storage);

  uint64_t flags =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  const int64_t start_ns = MonotonicNs();
  int pid_fd = -1;
  // A timeout during the set-up stays pending in pid 1 until it can pass it on.
  sigset_t timeout_signal;
  sigset_t mask;
  ::sigemptyset(&timeout_signal);
  ::sigaddset(&timeout_signal, SIGPWR);
  ::pthread_sigmask(SIG_BLOCK, &timeout_signal, &mask);
  const int64_t pid = sys::Clone(flags, &pid_fd);
  if (pid != 0) ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  if (pid == 0) {
    // The parent's end: held open here it would hide the parent's death.
    ::close(lifeline.write.get());
    RunPid1(storage.plan);
  }
  if (pid < 0) return Unexpected(ExplainClone(static_cast<int>(-pid)));
  Process pid1(static_cast<pid_t>(pid), UniqueFd(pid_fd));
  status.write.reset();
  lifeline.read.reset();

  if (spec.meanwhile) {
    spec.meanwhile([&] {
      pollfd end{pid1.pid_fd(), POLLIN, 0};
      return ::poll(&end, 1, 0) != 0;
    });
  }
  STRATA_ASSIGN(bool timed_out, WaitForEnd(spec, pid1));
  SandboxResult result;
  STRATA_ASSIGN(ExitStatus pid1_status, pid1.Wait(&result.usage));
  RestoreStandardStreams(spec.stdio, streams);
  ChildRecord record;
  if (sys::Read(status.read.get(), &record, sizeof record) != sizeof record) {
    // pid 1 was killed: by the timeout, by hand, or by the kernel's out-of-memory killer.
    record = ChildRecord{};
    record.kind = ChildRecord::kEnded;
    record.signaled = 1;
    record.value = pid1_status.signaled ? pid1_status.value : SIGKILL;
  }
  FillSteps(record, start_ns, &result);
  if (record.kind == ChildRecord::kSetupFailed) return Unexpected(ExplainSetup(record, spec));
  ExplainOutcome(record, spec, &result);
  result.status = {record.signaled != 0, record.value};
  if (timed_out) result.outcome = SandboxResult::Outcome::kTimedOut;
  return result;
}

}  // namespace strata
