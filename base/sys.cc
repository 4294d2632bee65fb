// SPDX-License-Identifier: Apache-2.0
#include "base/sys.h"

#include <linux/keyctl.h>
#include <linux/capability.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace strata::sys {
namespace {

// Keeps the caller's errno and returns -errno on failure.
template <typename Call>
int64_t Kernel(Call call) noexcept {
  const int saved = errno;
  int64_t value = call();
  if (value < 0) value = -errno;
  errno = saved;
  return value;
}

template <typename Call>
int KernelInt(Call call) noexcept {
  return static_cast<int>(Kernel(call));
}

template <typename Call>
int64_t Retrying(Call call) noexcept {
  int64_t value;
  do {
    value = Kernel(call);
  } while (value == -EINTR);
  return value;
}

}  // namespace

int OpenAt(int dir_fd, const char* path, int flags, mode_t mode) noexcept {
  return static_cast<int>(
      Retrying([&] { return ::openat(dir_fd, path, flags | O_CLOEXEC, mode); }));
}

int OpenAt2(int dir_fd, const char* path, int flags, mode_t mode, uint64_t resolve) noexcept {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  int fd;
  do {  // EAGAIN: a rename raced with the resolution of a "..", see openat2(2)
    fd = KernelInt([&] { return ::syscall(SYS_openat2, dir_fd, path, &how, sizeof how); });
  } while (fd == -EINTR || fd == -EAGAIN);
  return fd;
}

int DuplicateFd(int fd) noexcept {
  return KernelInt([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 3); });
}

int64_t Read(int fd, void* buffer, size_t size) noexcept {
  return Retrying([&] { return ::read(fd, buffer, size); });
}

int64_t Write(int fd, const void* buffer, size_t size) noexcept {
  return Retrying([&] { return ::write(fd, buffer, size); });
}

int MkdirAt(int dir_fd, const char* path, mode_t mode) noexcept {
  return KernelInt([&] { return ::mkdirat(dir_fd, path, mode); });
}

int MknodAt(int dir_fd, const char* path, mode_t mode, dev_t device) noexcept {
  return KernelInt([&] { return ::mknodat(dir_fd, path, mode, device); });
}

int SymlinkAt(const char* target, int dir_fd, const char* path) noexcept {
  return KernelInt([&] { return ::symlinkat(target, dir_fd, path); });
}

int LinkAt(int old_dir_fd, const char* old_path, int dir_fd, const char* path, int flags) noexcept {
  return KernelInt([&] { return ::linkat(old_dir_fd, old_path, dir_fd, path, flags); });
}

int UnlinkAt(int dir_fd, const char* path, int flags) noexcept {
  return KernelInt([&] { return ::unlinkat(dir_fd, path, flags); });
}

int RenameAt2(int old_dir_fd, const char* old_path, int dir_fd, const char* path,
              unsigned flags) noexcept {
  return KernelInt([&] { return ::renameat2(old_dir_fd, old_path, dir_fd, path, flags); });
}

int FstatAt(int dir_fd, const char* path, struct stat* out, int flags) noexcept {
  return KernelInt([&] { return ::fstatat(dir_fd, path, out, flags); });
}

int64_t ReadlinkAt(int dir_fd, const char* path, char* buffer, size_t size) noexcept {
  return Kernel([&] { return ::readlinkat(dir_fd, path, buffer, size); });
}

int64_t GetDents(int fd, void* buffer, size_t size) noexcept {
  return Kernel([&] { return ::syscall(SYS_getdents64, fd, buffer, size); });
}

int Flock(int fd, int operation) noexcept {
  return static_cast<int>(Retrying([&] { return ::flock(fd, operation); }));
}

int SyncFs(int fd) noexcept {
  return KernelInt([&] { return ::syncfs(fd); });
}

int WritePagesOut(int fd) noexcept {
  constexpr unsigned kAll =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return KernelInt([&] { return ::sync_file_range(fd, 0, 0, kAll); });
}

int FsetXattr(int fd, const char* name, const void* value, size_t size) noexcept {
  return KernelInt([&] { return ::fsetxattr(fd, name, value, size, 0); });
}

int Dup3(int old_fd, int new_fd, int flags) noexcept {
  return KernelInt([&] { return ::dup3(old_fd, new_fd, flags); });
}

int CloseRange(unsigned first, unsigned last, unsigned flags) noexcept {
  return KernelInt([&] { return ::syscall(SYS_close_range, first, last, flags); });
}

int JoinNewSessionKeyring() noexcept {
  return KernelInt([&] { return ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr); });
}

int Pipe2(int fds[2], int flags) noexcept {
  return KernelInt([&] { return ::pipe2(fds, flags | O_CLOEXEC); });
}

int SocketPair(int fds[2]) noexcept {
  return KernelInt([&] { return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds); });
}

namespace {

// A message of one byte with room for descriptors.
struct FdMessage {
  static constexpr size_t kMost = 4;
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kMost * sizeof(int))] = {};
  msghdr header{};

  explicit FdMessage(size_t room) noexcept {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(room * sizeof(int));
  }
};

}  // namespace

int SendFds(int socket, const int* fds, size_t count) noexcept {
  if (count > FdMessage::kMost) return -EINVAL;
  FdMessage message(count);
  cmsghdr* rights = CMSG_FIRSTHDR(&message.header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(count * sizeof(int));
  std::memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
  int64_t rc = Retrying([&] { return ::sendmsg(socket, &message.header, MSG_NOSIGNAL); });
  return rc < 0 ? static_cast<int>(rc) : 0;
}

int ReceiveFds(int socket, int* fds, size_t count) noexcept {
  if (count > FdMessage::kMost) return -EINVAL;
  for (size_t i = 0; i < count; ++i) fds[i] = -1;
  FdMessage message(count);
  int64_t rc = Retrying(
      [&] { return ::recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
  if (rc <= 0) return static_cast<int>(rc);
  const cmsghdr* rights = CMSG_FIRSTHDR(&message.header);
  if (rights == nullptr || rights->cmsg_type != SCM_RIGHTS) return 0;
  const size_t came = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  std::memcpy(fds, CMSG_DATA(rights), std::min(came, count) * sizeof(int));
  return static_cast<int>(std::min(came, count));
}

int FsOpen(const char* type, unsigned flags) noexcept {
  return KernelInt([&] { return ::syscall(SYS_fsopen, type, flags | FSOPEN_CLOEXEC); });
}

int FsConfig(int fs_fd, unsigned command, const char* key, const void* value, int aux) noexcept {
  return KernelInt([&] { return ::syscall(SYS_fsconfig, fs_fd, command, key, value, aux); });
}

int FsMount(int fs_fd, unsigned flags, unsigned attributes) noexcept {
  return KernelInt(
      [&] { return ::syscall(SYS_fsmount, fs_fd, flags | FSMOUNT_CLOEXEC, attributes); });
}

int MoveMount(int from_fd, const char* from_path, int to_fd, const char* to_path,
              unsigned flags) noexcept {
  return KernelInt(
      [&] { return ::syscall(SYS_move_mount, from_fd, from_path, to_fd, to_path, flags); });
}

int OpenTree(int dir_fd, const char* path, unsigned flags) noexcept {
  return KernelInt(
      [&] { return ::syscall(SYS_open_tree, dir_fd, path, flags | OPEN_TREE_CLOEXEC); });
}

int MountSetattr(int dir_fd, const char* path, unsigned flags, struct mount_attr* attr) noexcept {
  return KernelInt(
      [&] { return ::syscall(SYS_mount_setattr, dir_fd, path, flags, attr, sizeof *attr); });
}

int Mount(const char* source, const char* target, const char* type, unsigned long flags,
          const void* data) noexcept {
  return KernelInt([&] { return ::mount(source, target, type, flags, data); });
}

int Umount2(const char* target, int flags) noexcept {
  return KernelInt([&] { return ::umount2(target, flags); });
}

uint64_t UniqueMountId(const char* path) noexcept {
  constexpr unsigned kStatxMntIdUnique = 0x4000;
  struct statx st;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  int rc = KernelInt([&] { return ::statx(AT_FDCWD, path, flags, kStatxMntIdUnique, &st); });
  return rc == 0 && (st.stx_mask & kStatxMntIdUnique) != 0 ? st.stx_mnt_id : 0;
}

uint64_t MountNamespaceId(int namespace_fd) noexcept {
  constexpr unsigned long kGetMountNamespaceId = _IOR(0xb7, 0x5, uint64_t);  // NS_GET_MNTNS_ID
  uint64_t id = 0;
  return Ioctl(namespace_fd, kGetMountNamespaceId, &id) == 0 ? id : 0;
}

int FindMount(uint64_t unique_mount_id, uint64_t mount_namespace_id) noexcept {
  constexpr long kStatmount = 457;
  constexpr uint64_t kMountBasic = 2;
  struct {
    uint32_t size;
    uint32_t spare;
    uint64_t mount;
    uint64_t what;
    uint64_t mount_namespace;
  } request{sizeof request, 0, unique_mount_id, kMountBasic, mount_namespace_id};
  alignas(8) char told[1024];
  return KernelInt([&] { return ::syscall(kStatmount, &request, told, sizeof told, 0); });
}

int PivotRoot(const char* new_root, const char* put_old) noexcept {
  return KernelInt([&] { return ::syscall(SYS_pivot_root, new_root, put_old); });
}

namespace {

// What CLONE_CLEAR_SIGHAND does: ignored signals stay ignored.
void ClearSignalHandlers() noexcept {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction found {};
    if (::sigaction(signal, nullptr, &found) != 0 || found.sa_handler == SIG_IGN) continue;
    ::sigaction(signal, &standard, nullptr);
  }
}

}  // namespace

int64_t Clone(uint64_t flags, int* pid_fd, int exit_signal) noexcept {
  clone_args args{};
  args.flags = flags | (pid_fd != nullptr ? CLONE_PIDFD : 0U);
  args.pidfd = reinterpret_cast<uintptr_t>(pid_fd);
  args.exit_signal = static_cast<unsigned>(exit_signal);
  int64_t pid = Kernel([&] { return ::syscall(SYS_clone3, &args, sizeof args); });
  if (pid == -ENOSYS || pid == -EPERM) {
    // A container's seccomp filter cannot look into clone3's structure, so many deny it whole. An
    // honest EPERM (no user namespaces) comes back from clone as well.
    pid = Kernel([&] {
      return ::syscall(SYS_clone, (args.flags & 0xffffffffU) | args.exit_signal, nullptr, pid_fd,
                       nullptr, 0);
    });
    if (pid == 0 && (flags & CLONE_CLEAR_SIGHAND) != 0) ClearSignalHandlers();
  }
  return pid;
}

int64_t CloneInto(uint64_t flags, int* pid_fd, int cgroup_fd, int exit_signal) noexcept {
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | CLONE_INTO_CGROUP;
  args.pidfd = reinterpret_cast<uintptr_t>(pid_fd);
  args.exit_signal = static_cast<unsigned>(exit_signal);
  args.cgroup = static_cast<unsigned>(cgroup_fd);
  return Kernel([&] { return ::syscall(SYS_clone3, &args, sizeof args); });
}

bool HaveClone3() noexcept {
  // A structure of no size is refused (EINVAL) before anything is made of it.
  return Kernel([] { return ::syscall(SYS_clone3, nullptr, 0); }) == -EINVAL;
}

int PidfdOpen(pid_t pid) noexcept {
  return KernelInt([&] { return ::syscall(SYS_pidfd_open, pid, 0); });
}

int PidfdSendSignal(int pid_fd, int signal) noexcept {
  return KernelInt([&] { return ::syscall(SYS_pidfd_send_signal, pid_fd, signal, nullptr, 0); });
}

int WaitId(int id_type, int id, siginfo_t* info, int options, struct rusage* usage) noexcept {
  return static_cast<int>(
      Retrying([&] { return ::syscall(SYS_waitid, id_type, id, info, options, usage); }));
}

int Unshare(int flags) noexcept {
  return KernelInt([&] { return ::unshare(flags); });
}

int SetNs(int fd, int flags) noexcept {
  return KernelInt([&] { return ::setns(fd, flags); });
}

int CapGet(uint64_t* effective, uint64_t* permitted) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  int rc = KernelInt([&] { return ::syscall(SYS_capget, &header, data); });
  *effective = data[0].effective | uint64_t{data[1].effective} << 32;
  *permitted = data[0].permitted | uint64_t{data[1].permitted} << 32;
  return rc;
}

int CapSet(uint64_t effective, uint64_t permitted, uint64_t inheritable) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int half = 0; half < 2; ++half) {
    data[half].effective = static_cast<uint32_t>(effective >> (32 * half));
    data[half].permitted = static_cast<uint32_t>(permitted >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>(inheritable >> (32 * half));
  }
  return KernelInt([&] { return ::syscall(SYS_capset, &header, data); });
}

int Prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
          unsigned long arg5) noexcept {
  return KernelInt([&] { return ::prctl(option, arg2, arg3, arg4, arg5); });
}

int Seccomp(unsigned operation, unsigned flags, const void* args) noexcept {
  return KernelInt([&] { return ::syscall(SYS_seccomp, operation, flags, args); });
}

int SetSid() noexcept {
  return KernelInt([] { return ::setsid(); });
}

int SetNoGroups() noexcept {
  return KernelInt([] { return ::syscall(SYS_setgroups, 0, nullptr); });
}

int SetResGid(gid_t gid) noexcept {
  return KernelInt([&] { return ::syscall(SYS_setresgid, gid, gid, gid); });
}

int SetResUid(uid_t uid) noexcept {
  return KernelInt([&] { return ::syscall(SYS_setresuid, uid, uid, uid); });
}

int SchedGetAffinity(size_t size, void* mask) noexcept {
  return KernelInt([&] { return ::syscall(SYS_sched_getaffinity, 0, size, mask); });
}

int SchedSetAffinity(size_t size, const void* mask) noexcept {
  return KernelInt([&] { return ::syscall(SYS_sched_setaffinity, 0, size, mask); });
}

int Ioctl(int fd, unsigned long request, const void* arg) noexcept {
  return KernelInt([&] { return ::ioctl(fd, request, arg); });
}

void ExitNow(int status) noexcept { ::_exit(status); }

}  // namespace strata::sys
