// SPDX-License-Identifier: Apache-2.0
//
// What the parent hands to the cloned child: plain data, made before clone, read after it. And what
// the child sends back through the status pipe.
#pragma once

#include <linux/filter.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <termios.h>

#include <cstdint>

#include "base/child_report.h"
#include "sandbox/sandbox.h"
#include "stager/overlay.h"

namespace strata {

inline constexpr size_t kSteps = static_cast<size_t>(SandboxStep::kCount);

struct ChildMount {
  SandboxMount::Kind kind;
  const char* source;
  const char* target;
  SandboxMount::MakeTarget make_target;
  bool read_only;
  const char* tmpfs_options;
  const char* upper;
  const char* work;
};

// The command's own terminal.
struct ChildTerminal {
  int socket_fd;    // where its master and slave go; or -1: it has none
  bool streams[3];  // which standard streams it becomes
  termios settings;
  winsize size;
};

struct ChildPlan {
  const char* directory;
  const char* attach_at;
  OverlayPlan overlay;
  const char* tmpfs_upper_options;  // null: the upper is a directory
  const ChildMount* mounts;
  size_t mount_count;
  // The command. `candidates` are the paths to try, in order, NULL-terminated.
  const char* const* candidates;
  char* const* argv;
  char* const* envp;
  const char* working_directory;
  const char* hostname;
  int stdio[3];
  bool closed_stdio[3];  // to be closed when the command is executed
  ChildTerminal terminal;
  bool terminal_is_stdin;
  char uid_map[64];  // written by pid 1; empty with a range of ids, which the parent maps
  char gid_map[64];
  bool has_range;
  uid_t uid;  // with a range: what the command becomes
  gid_t gid;
  bool has_groups;  // gids are a range too
  bool host_is_root;  // the sandbox's uid 0 is the host's: protect /proc
  bool private_network;
  bool nested_userns;
  bool own_session;
  char pts_options[64];
  bool stop_is_end;
  bool in_library;
  const char* shm_options;
  const char* tmp_options;
  sock_fprog filter;  // len 0: none
  bool filter_is_foreign;  // not one of ours: nothing but exec may follow it
  uint64_t capabilities;
  const rlimit* open_files;  // null: as it is
  // Limits (sandbox/limits.h). pid 1 enters the cgroups by writing to their cgroup.procs.
  const int* cgroup_entrances;
  size_t cgroup_entrance_count;
  bool new_cgroup_namespace;  // to be made by pid 1 when it is in them
  const uint8_t* processors;  // to run on: a mask as sched_setaffinity has it
  size_t processors_size;     // 0: as it is
  char pid_max[24];           // of the pid namespace; empty where it is the host's
  uint64_t max_processes;     // RLIMIT_NPROC; 0: as it is
  uint64_t data_limit;        // RLIMIT_DATA; 0: as it is
  const int* kept;  // descriptors that pid 1 keeps, ascending; the status pipe is among them
  size_t kept_count;
  int status_fd;    // write end
  // Read end of a pipe whose write end the parent holds. One byte in it says that it has mapped the ids.
  int lifeline_fd;
};

struct ChildRecord {
  enum Kind : int32_t {
    kSetupFailed = 1,
    kNotFound = 2,       // failure.argument: the command
    kNotExecutable = 3,  // failure.sys_errno, failure.argument: the path
    kNoInterpreter = 4,  // execve said ENOENT, but the file is there; `head` starts it
    kEnded = 5,
  };
  int32_t kind = 0;
  int32_t signaled = 0;
  int32_t value = 0;
  int32_t step = 0;  // kSetupFailed: a SandboxStep
  ChildFailure failure;
  char head[1024] = {};  // the start of a file whose interpreter is missing
  int64_t step_end_ns[kSteps] = {};  // CLOCK_MONOTONIC
};
static_assert(sizeof(ChildRecord) <= 4096, "must fit PIPE_BUF, to be written at once");

// pid 1 of the sandbox. Runs in the cloned child.
[[noreturn]] void RunPid1(const ChildPlan& plan) noexcept;

// The process that becomes the command; pid 1 forks it. `ready_fd`: gets a byte when the network
// namespace is there. `go_fd`: gives one when the root is there.
[[noreturn]] void RunCommand(const ChildPlan& plan, int ready_fd, int go_fd) noexcept;

// No program that is executed can have more than `plan.capabilities` again.
int LimitPrivileges(const ChildPlan& plan, ChildFailure* failure) noexcept;
int KeepCapabilities(uint64_t capabilities, ChildFailure* failure) noexcept;
void SendRecord(const ChildPlan& plan, const ChildRecord& record) noexcept;

// The mounts of the root, called by pid 1 in order. 0 or -errno with `failure` set.
int MountRoot(const ChildPlan& plan, ChildFailure* failure) noexcept;  // the root's descriptor
int MountProc(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept;
int MountDev(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept;
int MountTmp(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept;
int MountExtras(const ChildPlan& plan, int root_fd, ChildFailure* failure) noexcept;

// Of the command's process, in its root: makes its controlling terminal, and hands it to the parent.
int MakeTerminal(const ChildPlan& plan, ChildFailure* failure) noexcept;
// Of the leader of a session, whose standard input is one that no session has.
int TakeTerminal(ChildFailure* failure) noexcept;

int64_t MonotonicNs() noexcept;

}  // namespace strata
