// SPDX-License-Identifier: Apache-2.0
//
// Runs one command in a staged root: fresh namespaces, an overlay of layers as /, a seccomp filter, few
// capabilities, a pid 1 that reaps and forwards signals.
//
// RunSandbox blocks until every process of the sandbox is gone: when it returns, the overlay is
// unmounted and its upper directory is still, ready to be captured. Nothing of the sandbox outlives
// the caller either: when the calling thread dies, however it dies, the kernel kills pid 1, and with it
// everything in its pid namespace.
//
// What pid 1 sets up, in this order (child.cc): ids, overlay, /proc, /dev, /tmp, the mounts asked for,
// pivot_root, capabilities. Meanwhile the process that becomes the command (command.cc) makes the network
// namespace, sets limits and installs the filter. SandboxResult says how long each step took.
//
// A call may be made from any thread, of a process with many; calls are independent. It is the calling *thread*
// whose end ends the sandbox (PR_SET_PDEATHSIG counts threads): RunSandbox blocks it, so only an end of the whole process, or a
// pthread_exit out of `meanwhile`, can come first. The caller itself has no such tie to its own parent; a program
// that wants one sets PR_SET_PDEATHSIG before (strata run --die-with-parent).
//
// Of the process nothing is changed: no disposition, no mask (that of the calling thread is restored within the
// call). pid 1 ends without SIGCHLD, so that it does not matter what becomes of that, and waitpid(-1) does not find it; none
// of the caller's signal handlers runs in it.
//
// Standard streams may be closed, and are so for the command then; nothing that is opened in the
// sandbox takes their numbers.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id_map.h"
#include "base/process.h"
#include "base/result.h"
#include "sandbox/limits.h"
#include "sandbox/seccomp_filter.h"

namespace strata {

class Terminal;

// The root file system. Paths are relative to `directory` or absolute.
struct SandboxRoot {
  std::string directory;            // the store
  std::string attach_at;            // an empty directory in it; mounted over in the sandbox's own namespace
  std::vector<std::string> lowers;  // bottom first, at least two of them where there is no upper
  std::string upper;                // empty: a read-only root, unless tmpfs_upper
  std::string work;
  bool tmpfs_upper = false;         // upper and work on a tmpfs that goes with the sandbox
  uint64_t tmpfs_size = 0;          // bytes; 0: the kernel's default, half of memory
  bool uniform_inodes = false;      // upper and lowers are on different file systems
};

struct SandboxMount {
  enum class Kind { kBind, kTmpfs, kCopyOnWrite };
  Kind kind = Kind::kBind;
  std::string source;      // kBind, kCopyOnWrite: relative to SandboxRoot::directory, or absolute
  std::string target;      // in the sandbox, resolved inside it
  // What to make of a target that is missing: for one below a tmpfs; anywhere else it must exist.
  enum class MakeTarget { kNo, kDirectory, kFile };
  MakeTarget make_target = MakeTarget::kNo;
  bool read_only = false;  // with every mount below the source
  uint64_t size = 0;       // kTmpfs: bytes; 0: a quarter of memory
  std::string upper;       // kCopyOnWrite
  std::string work;
};

enum class Network { kNone, kHost };  // kNone: a loopback interface that is up, nothing else

struct SandboxSpec {
  SandboxRoot root;
  std::vector<SandboxMount> mounts;  // in this order
  std::vector<std::string> argv;     // argv[0] is looked up in PATH of `env` unless it has a '/'
  std::vector<std::string> env;      // K=V, all of it
  std::string directory = "/";       // to start in; must exist in the sandbox
  std::string hostname = "strata";
  uid_t uid = 0;                     // what the command is in the sandbox
  gid_t gid = 0;
  // The ids that there are. None: the caller's own, as `uid` and `gid`. With a range, pid 1 is uid 0,
  // and the command becomes `uid` and `gid`, which the range must have, without other groups.
  std::optional<IdMapping> ids;
  Network network = Network::kNone;
  bool nested_userns = false;
  std::optional<SeccompFilter> seccomp;  // none: no filter
  bool seccomp_is_foreign = false;       // a filter of the user's, which may deny what BuildFilter's do not
  uint64_t capabilities = 0;             // the most that the command can have: a mask of 1 << CAP_*
  // What becomes its standard input, output and error: itself, or a descriptor above 2. Not owned.
  std::array<int, 3> stdio = {0, 1, 2};
  bool own_session = true;               // false: it shares the caller's terminal and session
  // With own_session: the command gets a controlling terminal of its own, in place of those of its
  // standard streams that are this one (sandbox/terminal.h). Not owned.
  Terminal* terminal = nullptr;
  // With own_session, without `terminal`: its standard input, a terminal that no session has, is the controlling one.
  bool terminal_is_stdin = false;
  // Nobody is there to continue it: a command that stops itself (SIGSTOP, SIGTSTP ...) has ended by that signal.
  bool stop_is_end = false;
  std::optional<rlimit> open_files;      // RLIMIT_NOFILE of the command; else the caller's
  SandboxLimits limits;
  int64_t timeout_ms = 0;                // 0: none. Then TERM to everything, and KILL:
  int64_t grace_ms = 10000;
  // Descriptors that pid 1 holds (and the command does not) for as long as it lives: leases, locks.
  std::vector<int> held;
  // A signalfd from which signals to forward are read, or -1. SIGTSTP stops the sandbox and then the
  // caller; SIGCONT reverses it; SIGINT and SIGQUIT go to the command and its process group, as keys at a
  // terminal send them; the others go to the command. With `terminal`: SIGTERM and SIGHUP hang it up, and
  // what has not ended after the grace is killed; SIGTSTP stops the caller only, since SIGCONT would also continue
  // what was stopped inside.
  int signal_fd = -1;
  // A pipe or socket, or -1: each byte that comes is the number of a signal for the sandbox (SIGTSTP and SIGSTOP stop
  // all of it, SIGINT and SIGQUIT go to the command's process group, SIGKILL ends all; those that pid 1 does
  // not forward are dropped). Its end, or an error, cancels: as the timeout ends it.
  int control_fd = -1;
  // The process is not strata's own: a library's caller. The command starts with all signals at their defaults (else those
  // that are ignored here stay so, which is what nohup counts on), and pid 1 takes the name "strata".
  bool in_library = false;
  // Called once, in the caller's thread, when the command has been let go: for work that can be done
  // meanwhile. (Earlier it would take a processor from the set-up, or what that needs: work in the
  // store next to an upper made the mount wait.) Signals and timeouts wait for it, so it should
  // return soon after `ended()`, which is true when anything else is to be done.
  std::function<void(const std::function<bool()>& ended)> meanwhile;
};

// In order of time. Each step's duration ends where the next one's starts.
enum class SandboxStep {
  kClone,       // until pid 1 runs
  kIds,         // user namespace set up
  kFork,        // the command's process started: it makes the network and compiles the filter
  kOverlay,     // root mounted
  kProc,
  kDev,
  kTmp,
  kMounts,      // binds, tmpfs
  kPivot,
  kNetwork,     // until the network is there, and pid 1 in it
  kPrivileges,
  kRun,         // from the moment the command may go until it has ended
  kCleanup,     // until every process and mount is gone
  kCount
};
const char* SandboxStepName(SandboxStep step);

struct SandboxResult {
  enum class Outcome {
    kEnded,          // exited or was killed: see `status`
    kTimedOut,
    kCancelled,      // by the end of control_fd
    kNotFound,       // no such command: nothing ran
    kNotExecutable,  // it is there but cannot be executed: nothing ran
  };
  Outcome outcome = Outcome::kEnded;
  ExitStatus status;
  std::string reason;  // kNotFound, kNotExecutable: a sentence
  std::string hint;
  rusage usage{};
  LimitOutcome limits;
  std::array<int64_t, static_cast<size_t>(SandboxStep::kCount)> step_ns{};

  // 124 timed out, 126 not executable, 127 not found, 143 (as SIGTERM) cancelled; else as a shell says it.
  int ShellCode() const;
};

// An error means that nothing was run; one of code kUnsupported, that the file system of the upper cannot
// carry one, as far as the kernel lets that be told.
Result<SandboxResult> RunSandbox(const SandboxSpec& spec);

// The capabilities of design section 6, as a mask.
uint64_t DefaultCapabilities();
// The variables that a command finds unless the caller wants others; `terminal` becomes TERM.
std::vector<std::string> DefaultEnvironment(uid_t uid, std::string_view terminal);

}  // namespace strata
