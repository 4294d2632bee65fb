// SPDX-License-Identifier: Apache-2.0
//
// System calls that a build has no business with: namespaces, mounts, keys, sockets, the machine.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acct.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#define SYS_OPEN_TREE_ATTR 467

// --- namespaces
// --------------------------------------------------------------------------------------

// unshare=FLAG, clone=FLAG: a hexadecimal CLONE_NEW*
static int attack_unshare(const char* flag) {
  return TRY(syscall(SYS_unshare, strtoul(flag, NULL, 16)));
}

static int attack_clone(const char* flag) {
  const long pid = syscall(SYS_clone, strtoul(flag, NULL, 16) | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return TRY(pid);
}

static int attack_clone3(const char* flag) {
  struct clone_args args = {.flags = flag != NULL ? strtoul(flag, NULL, 16) : 0,
                            .exit_signal = SIGCHLD};
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(0);
  return TRY(pid);
}

// setns=NAME: into the namespace that pid 1 is in
static int attack_setns(const char* name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  const int fd = open(path, O_RDONLY);
  return fd < 0 ? errno : TRY(syscall(SYS_setns, fd, 0));
}

static int attack_user_namespace_parent(const char* unused) {
  (void)unused;
  const int fd = open("/proc/self/ns/user", O_RDONLY);
  return TRY(ioctl(fd, 0xb702 /* NS_GET_PARENT */));
}

static int attack_chroot_out(const char* marker) {
  // The classic: a root below the working directory, and up from there.
  mkdir("/tmp/jail", 0700);
  if (chroot("/tmp/jail") != 0) return errno;
  for (int i = 0; i < 64; ++i) {
    if (chdir("..") != 0) return errno;
  }
  if (chroot(".") != 0) return errno;
  return TRY(open(marker, O_RDONLY));
}

// --- mounts
// ------------------------------------------------------------------------------------------

static int attack_mount_tmpfs(const char* unused) {
  (void)unused;
  return TRY(mount("t", "/tmp", "tmpfs", 0, NULL));
}
static int attack_mount_proc(const char* unused) {
  (void)unused;
  return TRY(mount("p", "/proc", "proc", 0, NULL));
}
static int attack_mount_bind(const char* unused) {
  (void)unused;
  return TRY(mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL));
}
static int attack_mount_move(const char* unused) {
  (void)unused;
  return TRY(mount("/dev/shm", "/tmp", NULL, MS_MOVE, NULL));
}
static int attack_mount_shared(const char* unused) {
  (void)unused;
  return TRY(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL));
}
// remount=PATH: writable, with devices and setuid programs
static int attack_remount(const char* path) {
  return TRY(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL));
}
static int attack_umount(const char* path) {
  return TRY(umount2(path, MNT_DETACH));
}
static int attack_umount_unfollowed(const char* path) {
  return TRY(umount2(path, UMOUNT_NOFOLLOW));
}
static int attack_pivot_root(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_pivot_root, ".", "."));
}
static int attack_open_tree(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE));
}
static int attack_open_tree_attr(const char* unused) {
  (void)unused;
  struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};
  return TRY(syscall(SYS_OPEN_TREE_ATTR, AT_FDCWD, "/proc", OPEN_TREE_CLONE, &attr, sizeof attr));
}
static int attack_move_mount(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/dev/shm", 0));
}
static int attack_fsopen(const char* type) {
  return TRY(syscall(SYS_fsopen, type, 0));
}
static int attack_fspick(const char* path) {
  return TRY(syscall(SYS_fspick, AT_FDCWD, path, 0));
}
static int attack_fsmount(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_fsmount, 0, 0, 0));
}
static int attack_fsconfig(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_fsconfig, 0, 6, NULL, NULL, 0));
}
static int attack_mount_setattr(const char* path) {
  struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                        MOUNT_ATTR_NOEXEC};
  return TRY(syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &attr, sizeof attr));
}

static int attack_open_by_handle(const char* path) {
  char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  struct file_handle* handle = (struct file_handle*)room;
  int mount_id;
  handle->handle_bytes = MAX_HANDLE_SZ;
  if (name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0) != 0) {
    memset(room, 0, sizeof room);
    handle->handle_bytes = 8;
    handle->handle_type = 1;
  }
  return TRY(open_by_handle_at(open(path, O_RDONLY), handle, O_RDONLY));
}

// --- keys, programs and counters of the kernel
// ------------------------------------------------------

static int attack_add_key(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_add_key, "user", "k", "v", 1, KEY_SPEC_PROCESS_KEYRING));
}
static int attack_request_key(const char* name) {
  return TRY(syscall(SYS_request_key, "user", name, NULL, KEY_SPEC_PROCESS_KEYRING));
}
// session_key=NAME: of the session that strata was started in
static int attack_session_key(const char* name) {
  const long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);
  char value[64] = "";
  if (key < 0) return errno;
  if (syscall(SYS_keyctl, KEYCTL_READ, key, value, sizeof value - 1) < 0) return errno;
  reach("%s", value);
  return 0;
}
static int attack_bpf(const char* unused) {
  (void)unused;
  char attr[128] = {2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1};  // an array of one
  return TRY(syscall(SYS_bpf, 0, attr, sizeof attr));
}
static int attack_perf(const char* unused) {
  (void)unused;
  struct perf_event_attr attr = {
      .type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .exclude_kernel = 1};
  return TRY(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}
static int attack_userfaultfd(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_userfaultfd, 1));
}
static int attack_io_uring(const char* unused) {
  (void)unused;
  struct io_uring_params params = {0};
  return TRY(syscall(SYS_io_uring_setup, 4, &params));
}
static int attack_io_uring_enter(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0));
}

// --- the machine
// -------------------------------------------------------------------------------------

static int attack_reboot(const char* unused) {
  (void)unused;
  return TRY(reboot(RB_DISABLE_CAD));
}
static int attack_kexec(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}
static int attack_module(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_init_module, "", 0, ""));
}
static int attack_finit_module(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_finit_module, 0, "", 0));
}
static int attack_swap(const char* unused) {
  (void)unused;
  return TRY(swapon("/tmp/none", 0));
}
static int attack_acct(const char* unused) {
  (void)unused;
  return TRY(acct(NULL));
}
static int attack_quota(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_quotactl, 0x80000100, NULL, 0, NULL));  // Q_SYNC
}
static int attack_quota_fd(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_quotactl_fd, open("/", O_RDONLY), 0x80000700, 0, NULL));
}
static int attack_clock(const char* unused) {
  (void)unused;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return TRY(clock_settime(CLOCK_REALTIME, &now));
}
static int attack_adjtime(const char* unused) {
  (void)unused;
  struct timex change = {.modes = ADJ_TICK, .tick = 10000};
  return TRY(adjtimex(&change));
}
#ifdef SYS_iopl
static int attack_iopl(const char* unused) {
  (void)unused;
  return TRY(syscall(SYS_iopl, 3));
}
#endif
static int attack_hostname(const char* unused) {
  (void)unused;
  return TRY(sethostname("x", 1));
}
static int attack_domainname(const char* unused) {
  (void)unused;
  return TRY(setdomainname("x", 1));
}
static int attack_kernel_log(const char* unused) {
  (void)unused;
  return TRY(klogctl(5 /* clear */, NULL, 0));
}

// --- sockets
// -----------------------------------------------------------------------------------------

// Of all families but those that builds need: any that can be had.
static int any_socket(unsigned long high) {
  int error = 0;
  for (unsigned long family = 0; family < 64; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
      continue;
    for (int type = SOCK_STREAM; type <= SOCK_PACKET; ++type) {
      if (syscall(SYS_socket, family | high, type, 0) >= 0) {
        reach("%lu:%d ", family, type);
      } else if (errno != EAFNOSUPPORT || error == 0) {
        error = errno;
      }
    }
  }
  return reached[0] != '\0' ? 0 : error;
}
static int attack_socket_families(const char* unused) {
  (void)unused;
  return any_socket(0);
}
static int attack_socket_families_high(const char* unused) {
  (void)unused;
  return any_socket(1UL << 32);
}
static int attack_socketpair(const char* unused) {
  (void)unused;
  int fds[2];
  return TRY(syscall(SYS_socketpair, AF_VSOCK, SOCK_STREAM, 0, fds));
}
static int attack_vsock(const char* unused) {
  (void)unused;
  return TRY(socket(AF_VSOCK, SOCK_STREAM, 0));
}
static int attack_raw_socket(const char* unused) {
  (void)unused;
  return TRY(socket(AF_INET, SOCK_RAW, 1));
}
static int attack_packet_socket(const char* unused) {
  (void)unused;
  return TRY(socket(AF_INET, SOCK_PACKET, 0));  // which the kernel takes for AF_PACKET
}
static int attack_abstract_socket(const char* name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
  const socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
  return TRY(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr*)&address, size));
}
// Sets the MTU of lo to what nobody else would take.
static int attack_change_network(const char* unused) {
  (void)unused;
  struct {
    struct nlmsghdr header;
    struct ifinfomsg info;
  } request = {{sizeof request, RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0},
               {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char more[256];
  } answer;
  const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (send(fd, &request, sizeof request, 0) < 0) return errno;
  if (recv(fd, &answer, sizeof answer, 0) < 0) return errno;
  return -answer.error.error;
}
static int attack_audit(const char* unused) {
  (void)unused;
  struct {
    struct nlmsghdr header;
    char text[16];
  } request = {{sizeof request, 1005 /* AUDIT_USER */, NLM_F_REQUEST | NLM_F_ACK, 1, 0}, "x"};
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char more[256];
  } answer;
  const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
  if (fd < 0) return errno;
  if (send(fd, &request, sizeof request, 0) < 0) return errno;
  if (recv(fd, &answer, sizeof answer, MSG_DONTWAIT) < 0) return errno;
  return -answer.error.error;
}

// --- terminals
// ---------------------------------------------------------------------------------------

// On a terminal of our own: where TIOCSTI works at all, it works there.
static int on_terminal(unsigned long request) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0) return errno;
  grantpt(master);
  unlockpt(master);
  setsid();
  const int slave = open(ptsname(master), O_RDWR);
  if (slave < 0) return errno;
  return TRY(syscall(SYS_ioctl, slave, request, "x"));
}
static int attack_tiocsti(const char* high) {
  return on_terminal(TIOCSTI | (high != NULL ? strtoul(high, NULL, 16) << 32 : 0));
}
static int attack_tioclinux(const char* high) {
  return on_terminal(TIOCLINUX | (high != NULL ? strtoul(high, NULL, 16) << 32 : 0));
}
static int attack_terminal_of_host(const char* unused) {
  (void)unused;
  return TRY(open("/dev/tty", O_RDWR));
}

const struct attack kernel_attacks[] = {
    {"unshare", attack_unshare},
    {"clone", attack_clone},
    {"clone3", attack_clone3},
    {"setns", attack_setns},
    {"user_namespace_parent", attack_user_namespace_parent},
    {"chroot_out", attack_chroot_out},
    {"mount_tmpfs", attack_mount_tmpfs},
    {"mount_proc", attack_mount_proc},
    {"mount_bind", attack_mount_bind},
    {"mount_move", attack_mount_move},
    {"mount_shared", attack_mount_shared},
    {"remount", attack_remount},
    {"umount", attack_umount},
    {"umount_unfollowed", attack_umount_unfollowed},
    {"pivot_root", attack_pivot_root},
    {"open_tree", attack_open_tree},
    {"open_tree_attr", attack_open_tree_attr},
    {"move_mount", attack_move_mount},
    {"fsopen", attack_fsopen},
    {"fspick", attack_fspick},
    {"fsmount", attack_fsmount},
    {"fsconfig", attack_fsconfig},
    {"mount_setattr", attack_mount_setattr},
    {"open_by_handle", attack_open_by_handle},
    {"add_key", attack_add_key},
    {"request_key", attack_request_key},
    {"session_key", attack_session_key},
    {"bpf", attack_bpf},
    {"perf", attack_perf},
    {"userfaultfd", attack_userfaultfd},
    {"io_uring", attack_io_uring},
    {"io_uring_enter", attack_io_uring_enter},
    {"reboot", attack_reboot},
    {"kexec", attack_kexec},
    {"module", attack_module},
    {"finit_module", attack_finit_module},
    {"swap", attack_swap},
    {"acct", attack_acct},
    {"quota", attack_quota},
    {"quota_fd", attack_quota_fd},
    {"clock", attack_clock},
    {"adjtime", attack_adjtime},
#ifdef SYS_iopl
    {"iopl", attack_iopl},
#endif
    {"hostname", attack_hostname},
    {"domainname", attack_domainname},
    {"kernel_log", attack_kernel_log},
    {"socket_families", attack_socket_families},
    {"socket_families_high", attack_socket_families_high},
    {"socketpair", attack_socketpair},
    {"vsock", attack_vsock},
    {"raw_socket", attack_raw_socket},
    {"packet_socket", attack_packet_socket},
    {"abstract_socket", attack_abstract_socket},
    {"change_network", attack_change_network},
    {"audit", attack_audit},
    {"tiocsti", attack_tiocsti},
    {"tioclinux", attack_tioclinux},
    {"terminal_of_host", attack_terminal_of_host},
    {NULL, NULL},
};
