// SPDX-License-Identifier: Apache-2.0
#include "sandbox/stage_command.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "base/child_report.h"
#include "base/io.h"
#include "base/path.h"
#include "base/process.h"
#include "base/sys.h"
#include "sandbox/child_plan.h"
#include "sandbox/explain.h"
#include "sandbox/privileges.h"
#include "sandbox/sandbox.h"
#include "stager/overlay.h"

namespace strata {
namespace {

struct Report {
  enum Kind : int32_t { kSetupFailed, kExecFailed };
  Kind kind = kSetupFailed;
  ChildFailure failure;
};

// What the child needs, as plain data.
struct Plan {
  OverlayPlan overlay;
  const char* store = nullptr;
  const char* directory = nullptr;
  const char* working_directory = nullptr;
  char* const* argv = nullptr;
  const int* held = nullptr;
  size_t held_count = 0;
  const struct rlimit* open_files = nullptr;
  uint64_t capabilities = 0;
  bool mounts = false;
  int go_fd = -1;
  int report_fd = -1;
  sigset_t signal_mask;
};

int MountRoot(const Plan& plan, ChildFailure* failure) noexcept {
  int rc = sys::Mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (rc < 0) {
    failure->Set(-rc, "mount", "/ private");
    return rc;
  }
  // By path: a descriptor from outside would lead to the mounts of the other namespace.
  if (::chdir(plan.store) != 0) {
    failure->Set(errno, "chdir", plan.store);
    return -failure->sys_errno;
  }
  int fd = MountOverlay(plan.overlay, plan.directory, failure);
  if (fd < 0) return fd;
  ::close(fd);
  // By path: it may be the directory that now has the root.
  if (::chdir(plan.working_directory) != 0) {
    failure->Set(errno, "chdir", plan.working_directory);
    return -failure->sys_errno;
  }
  return 0;
}

// The right to mount and to remount goes, also for root. Another user loses all at execve.
int DropRights(const Plan& plan, ChildFailure* failure) noexcept {
  int rc = DropBoundingSet(plan.capabilities, failure);
  if (rc < 0) return rc;
  rc = sys::CapSet(plan.capabilities, plan.capabilities, 0);
  if (rc < 0) failure->Set(-rc, "capset", "");
  return rc;
}

[[noreturn]] void RunChild(const Plan& plan) noexcept {
  static Report report;
  auto require = [&](int rc) noexcept {
    if (rc >= 0) return;
    sys::Write(plan.report_fd, &report, sizeof report);
    sys::ExitNow(125);
  };
  sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte;
  if (sys::Read(plan.go_fd, &byte, 1) != 1) sys::ExitNow(125);  // the parent gave up, or is dead
  if (plan.mounts) {
    require(MountRoot(plan, &report.failure));
    require(DropRights(plan, &report.failure));
    // A change of credentials may have cleared it.
    sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  if (plan.open_files != nullptr) ::setrlimit(RLIMIT_NOFILE, plan.open_files);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGXFSZ, SIGPWR}) {
    ::sigaction(signal, &standard, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &plan.signal_mask, nullptr);
  for (size_t i = 0; i < plan.held_count; ++i) ::fcntl(plan.held[i], F_SETFD, 0);
  ::execvp(plan.argv[0], plan.argv);
  report.kind = Report::kExecFailed;
  report.failure.Set(errno, "execve", plan.argv[0]);
  require(-1);
  sys::ExitNow(125);
}

Result<void> WriteProcFile(pid_t pid, const char* name, const std::string& text) {
  std::string path = fmt::format("/proc/{}/{}", pid, name);
  STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
  return WriteAll(fd.get(), text, path);
}

// All ids for who may map them; else the caller's own.
Result<void> MapIds(pid_t pid) {
  if (::geteuid() == 0 && WriteProcFile(pid, "uid_map", "0 0 4294967295\n") &&
      WriteProcFile(pid, "gid_map", "0 0 4294967295\n")) {
    return {};
  }
  // A map is written once: where the first of the two is there already, so it stays.
  Result<void> uids = WriteProcFile(pid, "uid_map", fmt::format("{0} {0} 1\n", ::geteuid()));
  if (!uids && ::geteuid() != 0) return uids;
  STRATA_TRY(WriteProcFile(pid, "setgroups", "deny"));
  return WriteProcFile(pid, "gid_map", fmt::format("{0} {0} 1\n", ::getegid()));
}

std::atomic<pid_t> g_child{0};
std::atomic<bool> g_orphaned{false};  // in the guardian: strata is dead

extern "C" void EndWithStrata(int) {
  g_orphaned.store(true, std::memory_order_relaxed);
  pid_t child = g_child.load(std::memory_order_relaxed);
  if (child > 0) ::kill(child, SIGKILL);
}

extern "C" void PassOn(int signal) {
  int saved = errno;
  pid_t child = g_child.load(std::memory_order_relaxed);
  if (child > 0) ::kill(child, signal);
  errno = saved;
}

// While the command runs, signals that would end us are passed on to it; those that a terminal
// sends reach it anyway. As found afterwards.
class SignalsPassedOn {
 public:
  explicit SignalsPassedOn(pid_t child) {
    g_child.store(child, std::memory_order_relaxed);
    if (g_orphaned.load(std::memory_order_relaxed)) ::kill(child, SIGKILL);
    struct sigaction action {};
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      action.sa_handler = i < 2 ? SIG_IGN : PassOn;
      ::sigaction(kSignals[i], &action, &before_[i]);
    }
  }
  ~SignalsPassedOn() {
    g_child.store(0, std::memory_order_relaxed);
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], &before_[i], nullptr);
    }
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
  struct sigaction before_[std::size(kSignals)];
};

// What the command left running has become our children (PR_SET_CHILD_SUBREAPER).
void EndTheRest() {
  for (;;) {
    auto children = ReadFile(AT_FDCWD, fmt::format("/proc/self/task/{}/children", ::getpid()));
    if (children) {
      const char* at = children->c_str();
      for (char* end; long pid = std::strtol(at, &end, 10); at = end) {
        ::kill(static_cast<pid_t>(pid), SIGKILL);
      }
    }
    siginfo_t info{};
    // Where the kernel has no list of children, those that still run are left alone.
    int rc = sys::WaitId(P_ALL, 0, &info, WEXITED | (children ? 0 : WNOHANG), nullptr);
    if (rc < 0 || info.si_pid == 0) return;
  }
}

bool IsDenied(int sys_errno) {
  return sys_errno == EPERM || sys_errno == EACCES || sys_errno == ENOSYS || sys_errno == EINVAL ||
         sys_errno == ENODEV || sys_errno == ENOSPC || sys_errno == EUSERS ||
         sys_errno == EOPNOTSUPP;
}

Error Denied(Error error, std::string_view clause) {
  Error result(IsDenied(error.sys_errno()) ? Errc::kUnsupported : error.code(),
               fmt::format("{}: {}", clause, error.message()));
  std::string hint = UserNamespaceHint();
  return hint.empty() ? result : std::move(result).Hint(std::move(hint));
}

Result<int> WaitForCommand(Process& child, int report_fd, std::optional<Error>* problem) {
  Report report;
  const bool failed = sys::Read(report_fd, &report, sizeof report) == sizeof report;
  SignalsPassedOn signals(child.pid());
  STRATA_ASSIGN(ExitStatus status, child.Wait());
  EndTheRest();
  if (!failed) return status.ShellCode();
  Error error = report.failure.ToError();
  if (report.kind == Report::kSetupFailed) return Unexpected(Denied(std::move(error), "stage"));
  const bool missing = error.sys_errno() == ENOENT;
  *problem = missing ? Error(Errc::kNotFound,
                             fmt::format("{}: command not found", report.failure.argument))
                     : std::move(error);
  return missing ? 127 : 126;
}

// How it ended in the guardian: plain data that fits a pipe.
struct Ending {
  enum Kind : int32_t { kStatus, kProblem, kError };
  Kind kind = kStatus;
  int32_t status = 0;
  Errc code = Errc::kSystem;
  char message[1024] = {};
  char hint[512] = {};

  void Set(Kind what, const Error& error) {
    kind = what;
    code = error.code();
    error.message().copy(message, sizeof message - 1);
    error.hint().copy(hint, sizeof hint - 1);
  }
  Error ToError() const {
    Error error(code, message);
    return hint[0] == '\0' ? error : std::move(error).Hint(hint);
  }
};
static_assert(sizeof(Ending) <= 4096, "must fit PIPE_BUF, to be written at once");

Result<int> RunHere(const StageCommand& command, std::optional<Error>* problem) {
  STRATA_ASSIGN(Pipe go, MakePipe());
  STRATA_ASSIGN(Pipe report, MakePipe());
  STRATA_ASSIGN(const std::string working_directory, AbsolutePath("."));
  std::vector<const char*> lowers;
  for (const std::string& lower : command.lowers) lowers.push_back(lower.c_str());
  std::vector<char*> argv;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  Plan plan;
  plan.mounts = !lowers.empty();
  plan.overlay.lowers = lowers.data();
  plan.overlay.lower_count = lowers.size();
  plan.overlay.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (command.upper.empty()) {
    plan.overlay.attributes |= MOUNT_ATTR_RDONLY;
  } else {
    plan.overlay.upper = command.upper.c_str();
    plan.overlay.work = command.work.c_str();
  }
  plan.store = command.store.c_str();
  plan.directory = command.directory.c_str();
  plan.working_directory = working_directory.c_str();
  plan.argv = argv.data();
  plan.held = command.held.data();
  plan.held_count = command.held.size();
  plan.open_files = command.open_files ? &*command.open_files : nullptr;
  plan.capabilities = DefaultCapabilities();
  plan.go_fd = go.read.get();
  plan.report_fd = report.write.get();
  ::sigprocmask(SIG_SETMASK, nullptr, &plan.signal_mask);

  sys::Prctl(PR_SET_CHILD_SUBREAPER, 1);
  int pid_fd = -1;
  int64_t pid = sys::Clone(plan.mounts ? CLONE_NEWUSER | CLONE_NEWNS : 0, &pid_fd);
  if (pid == 0) {
    ::close(go.write.get());  // held open here it would hide the parent's death
    RunChild(plan);
  }
  if (pid < 0) return Unexpected(Denied(Error::Sys(static_cast<int>(-pid), "clone"), "stage"));
  Process child(static_cast<pid_t>(pid), UniqueFd(pid_fd));
  report.write.reset();
  if (plan.mounts) {
    Result<void> mapped = MapIds(child.pid());
    if (!mapped) return Unexpected(Denied(std::move(mapped).error(), "stage: map ids"));
  }
  char byte = 0;
  sys::Write(go.write.get(), &byte, 1);
  return WaitForCommand(child, report.read.get(), problem);
}

// The command is the child of a guardian, and all that it starts is the guardian's when it loses
// its own parent. So when strata is killed, there is somebody who is told by the kernel and can end
// all of it.
[[noreturn]] void RunGuardian(const StageCommand& command, pid_t parent, int ending_fd) {
  struct sigaction action {};
  action.sa_handler = EndWithStrata;
  ::sigaction(SIGPWR, &action, nullptr);
  sys::Prctl(PR_SET_PDEATHSIG, SIGPWR);
  if (::getppid() != parent)
    sys::ExitNow(125);  // dead before the kernel knew that we want to hear of it
  std::optional<Error> problem;
  Result<int> status = RunHere(command, &problem);
  Ending ending;
  if (status) ending.status = *status;
  if (problem) ending.Set(Ending::kProblem, *problem);
  if (!status) ending.Set(Ending::kError, status.error());
  sys::Write(ending_fd, &ending, sizeof ending);
  sys::ExitNow(0);
}

}  // namespace

Result<int> RunStageCommand(const StageCommand& command, std::optional<Error>* problem) {
  STRATA_ASSIGN(Pipe pipe, MakePipe());
  sys::Prctl(PR_SET_CHILD_SUBREAPER, 1);  // should the guardian be killed
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();  // glibc's, so that the guardian has a heap that works
  if (pid < 0) return FailSys(errno, "fork");
  if (pid == 0) RunGuardian(command, parent, pipe.write.get());
  Process guardian(pid, UniqueFd());
  pipe.write.reset();
  SignalsPassedOn signals(pid);
  STRATA_ASSIGN(ExitStatus exit, guardian.Wait());
  EndTheRest();
  Ending ending;
  if (sys::Read(pipe.read.get(), &ending, sizeof ending) != sizeof ending) return exit.ShellCode();
  if (ending.kind == Ending::kError) return Unexpected(ending.ToError());
  if (ending.kind == Ending::kProblem) *problem = ending.ToError();
  return ending.status;
}

}  // namespace strata
