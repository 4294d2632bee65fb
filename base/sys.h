// SPDX-License-Identifier: Apache-2.0
//
// The system calls that strata makes, and the only place that makes raw ones. Each function returns
// what the kernel returns: a value >= 0, or -errno. None allocates, none throws, none touches errno,
// so all may be used after clone. EINTR is retried where the comment says so.
//
// Outside a cloned child, sys::Check turns the return value into a Result that names the call:
//
//     STRATA_ASSIGN(int fd, sys::Check(sys::OpenAt(dir, path, O_PATH), "openat", path));
//
// Constants and structures that Debian 12's headers lack are defined here, with their kernel version.
#pragma once

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata::sys {

// Lifts a return value of the functions below into a Result.
inline Result<int> Check(int64_t value, std::string_view call, std::string_view argument = {}) {
  if (value < 0) return FailSys(static_cast<int>(-value), call, argument);
  return static_cast<int>(value);
}
// Another descriptor for the same, above those of standard streams.
int DuplicateFd(int fd) noexcept;

inline Result<UniqueFd> CheckFd(int64_t value, std::string_view call, std::string_view argument = {}) {
  if (value < 0) return FailSys(static_cast<int>(-value), call, argument);
  return UniqueFd(static_cast<int>(value));
}

// --- Files. O_CLOEXEC is added to the flags of everything that opens.
int OpenAt(int dir_fd, const char* path, int flags, mode_t mode = 0) noexcept;  // retries EINTR
// Linux 5.6. `resolve` is RESOLVE_*; -ENOSYS or -EPERM (a container's filter) means: use a fallback.
int OpenAt2(int dir_fd, const char* path, int flags, mode_t mode, uint64_t resolve) noexcept;
int64_t Read(int fd, void* buffer, size_t size) noexcept;          // retries EINTR
int64_t Write(int fd, const void* buffer, size_t size) noexcept;   // retries EINTR
int MkdirAt(int dir_fd, const char* path, mode_t mode) noexcept;
int MknodAt(int dir_fd, const char* path, mode_t mode, dev_t device) noexcept;
int SymlinkAt(const char* target, int dir_fd, const char* path) noexcept;
int LinkAt(int old_dir_fd, const char* old_path, int dir_fd, const char* path, int flags = 0) noexcept;
int UnlinkAt(int dir_fd, const char* path, int flags = 0) noexcept;
int RenameAt2(int old_dir_fd, const char* old_path, int dir_fd, const char* path,
              unsigned flags = 0) noexcept;
int FstatAt(int dir_fd, const char* path, struct stat* out, int flags = AT_SYMLINK_NOFOLLOW) noexcept;
int64_t ReadlinkAt(int dir_fd, const char* path, char* buffer, size_t size) noexcept;
int64_t GetDents(int fd, void* buffer, size_t size) noexcept;  // struct dirent64 records
int Flock(int fd, int operation) noexcept;  // retries EINTR
// Of the file system that `fd` is on. Since Linux 5.8 it reports what could not be written before.
int SyncFs(int fd) noexcept;
// Writes the file's pages out and waits for them; no metadata, and no commit of a journal.
int WritePagesOut(int fd) noexcept;
int FsetXattr(int fd, const char* name, const void* value, size_t size) noexcept;
int Dup3(int old_fd, int new_fd, int flags) noexcept;
int CloseRange(unsigned first, unsigned last, unsigned flags) noexcept;  // Linux 5.9
int JoinNewSessionKeyring() noexcept;
int Pipe2(int fds[2], int flags) noexcept;
// A connected pair of UNIX sockets that keep messages apart, and descriptors through it, at most four at once. ReceiveFds: how
// many came (all close-on-exec, -1 for the others), 0 when the other end is closed; it does not wait (-EAGAIN).
int SocketPair(int fds[2]) noexcept;
int SendFds(int socket, const int* fds, size_t count) noexcept;
int ReceiveFds(int socket, int* fds, size_t count) noexcept;

// --- Mounts (the new API: Linux 5.2; mount_setattr: 5.12; overlay through it with one
// fsconfig per lower layer, "lowerdir+": 6.7; by descriptor: 6.13, O_PATH ones: 6.15).
int FsOpen(const char* type, unsigned flags) noexcept;
int FsConfig(int fs_fd, unsigned command, const char* key, const void* value, int aux) noexcept;
int FsMount(int fs_fd, unsigned flags, unsigned attributes) noexcept;
int MoveMount(int from_fd, const char* from_path, int to_fd, const char* to_path,
              unsigned flags) noexcept;
int OpenTree(int dir_fd, const char* path, unsigned flags) noexcept;
int MountSetattr(int dir_fd, const char* path, unsigned flags, struct mount_attr* attr) noexcept;
int Mount(const char* source, const char* target, const char* type, unsigned long flags,
          const void* data) noexcept;
int Umount2(const char* target, int flags) noexcept;
// Linux 6.8: the id of a mount that no other ever has (statx gives it). 0 where it cannot be told.
uint64_t UniqueMountId(const char* path) noexcept;
// Linux 6.11: the id of the caller's mount namespace, or of the one that `namespace_fd` is of, that no other ever has. 0
// where it cannot be told.
uint64_t MountNamespaceId(int namespace_fd) noexcept;
// Linux 6.11 (statmount): 0 if the namespace has the mount, by their unique ids. -ENOENT if not, or if the caller has no
// CAP_SYS_ADMIN in the user namespace that owns another mount namespace than its own.
int FindMount(uint64_t unique_mount_id, uint64_t mount_namespace_id) noexcept;
int PivotRoot(const char* new_root, const char* put_old) noexcept;

// --- Processes.
// fork with the flags of clone3 (CLONE_NEW*, CLONE_PIDFD); where clone3 is denied (-ENOSYS, or -EPERM
// by a container's filter), the same by clone(2). Returns 0 in the child. `pid_fd` may be null.
// The child runs on a copy of the address space: only async-signal-safe calls, no heap.
// With an `exit_signal` of 0 it ends without SIGCHLD: a caller who ignores that, or who waits for any
// child (waitpid(-1)), does not get in the way of Process. CLONE_CLEAR_SIGHAND (Linux 5.5) works with clone(2),
// too: handlers of the caller's never run in the child, if all signals are blocked meanwhile.
int64_t Clone(uint64_t flags, int* pid_fd, int exit_signal = SIGCHLD) noexcept;
// The same into another cgroup (v2): CLONE_INTO_CGROUP, Linux 5.7. By clone3 or not at all: whatever the error,
// the child can still be made by Clone and write itself into that group's cgroup.procs.
int64_t CloneInto(uint64_t flags, int* pid_fd, int cgroup_fd, int exit_signal = SIGCHLD) noexcept;
// Whether clone3 itself is there; Clone does without it.
bool HaveClone3() noexcept;
// Linux 5.3 / 5.1. The glibc wrappers, with -errno.
int PidfdOpen(pid_t pid) noexcept;
int PidfdSendSignal(int pid_fd, int signal) noexcept;
// waitid with a rusage: glibc's wrapper has none. `id_type` is P_PID, P_PIDFD (5.4) or P_ALL.
int WaitId(int id_type, int id, siginfo_t* info, int options, struct rusage* usage) noexcept;
int Unshare(int flags) noexcept;
// `fd`: a pidfd (Linux 5.8), with the namespaces to join as CLONE_NEW* flags.
int SetNs(int fd, int flags) noexcept;
int CapGet(uint64_t* effective, uint64_t* permitted) noexcept;
int CapSet(uint64_t effective, uint64_t permitted, uint64_t inheritable) noexcept;
int Prctl(int option, unsigned long arg2 = 0, unsigned long arg3 = 0, unsigned long arg4 = 0,
          unsigned long arg5 = 0) noexcept;
int Seccomp(unsigned operation, unsigned flags, const void* args) noexcept;
int SetSid() noexcept;
int SetNoGroups() noexcept;         // takes the supplementary groups off
int SetResGid(gid_t gid) noexcept;  // this thread only: the raw call, unlike glibc's
int SetResUid(uid_t uid) noexcept;
// Of the calling thread; `mask` has `size` bytes. Get returns how many of them the kernel filled in.
int SchedGetAffinity(size_t size, void* mask) noexcept;
int SchedSetAffinity(size_t size, const void* mask) noexcept;
int Ioctl(int fd, unsigned long request, const void* arg) noexcept;
[[noreturn]] void ExitNow(int status) noexcept;  // exit_group, no handlers

}  // namespace strata::sys
