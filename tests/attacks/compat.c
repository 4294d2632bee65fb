// SPDX-License-Identifier: Apache-2.0
//
// The same calls by another door: the system call tables of i386 (int 0x80) and x32. What is passed
// by pointer lies below 4 GB, as in any static executable that is not position-independent.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "attack.h"

#ifdef __x86_64__

static long i386(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                   : "memory", "r8", "r9", "r10", "r11");
  if ((int)result < 0) {
    errno = -(int)result;
    return -1;
  }
  return (int)result;
}

#define P(text) ((uintptr_t)(text))

static int attack_i386(const char* unused) {
  (void)unused;
  return i386(20 /* getpid */, 0, 0, 0, 0, 0) == getpid() ? 0 : ENOSYS;
}
static int attack_i386_mount(const char* unused) {
  (void)unused;
  return TRY(i386(21, P("t"), P("/tmp"), P("tmpfs"), 0, 0));
}
static int attack_i386_umount(const char* unused) {
  (void)unused;
  return TRY(i386(52, P("/tmp"), MNT_DETACH, 0, 0, 0));
}
static int attack_i386_old_umount(const char* unused) {
  (void)unused;
  return TRY(i386(22, P("/tmp"), 0, 0, 0, 0));
}
static int attack_i386_unshare(const char* unused) {
  (void)unused;
  return TRY(i386(310, CLONE_NEWUSER, 0, 0, 0, 0));
}
static int attack_i386_clone(const char* unused) {
  (void)unused;
  const long pid = i386(120, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return TRY(pid);
}
static int attack_i386_clone3(const char* unused) {
  (void)unused;
  static uint64_t args[8] = {[4] = SIGCHLD};
  const long pid = i386(435, P(args), sizeof args, 0, 0, 0);
  if (pid == 0) _exit(0);
  return TRY(pid);
}
static int attack_i386_setns(const char* unused) {
  (void)unused;
  return TRY(i386(346, open("/proc/self/ns/mnt", O_RDONLY), 0, 0, 0, 0));
}
static int attack_i386_pivot_root(const char* unused) {
  (void)unused;
  return TRY(i386(217, P("."), P("."), 0, 0, 0));
}
static int attack_i386_open_tree(const char* unused) {
  (void)unused;
  return TRY(i386(428, AT_FDCWD, P("/"), OPEN_TREE_CLONE, 0, 0));
}
static int attack_i386_open_tree_attr(const char* unused) {
  (void)unused;
  static struct mount_attr attr;
  return TRY(i386(467, AT_FDCWD, P("/"), OPEN_TREE_CLONE, P(&attr), sizeof attr));
}
static int attack_i386_fsopen(const char* unused) {
  (void)unused;
  return TRY(i386(430, P("tmpfs"), 0, 0, 0, 0));
}
static int attack_i386_keyctl(const char* unused) {
  (void)unused;
  return TRY(i386(288, 0, (uintptr_t)-3, 0, 0, 0));
}
static int attack_i386_bpf(const char* unused) {
  (void)unused;
  static char attr[128] = {2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1};
  return TRY(i386(357, 0, P(attr), sizeof attr, 0, 0));
}
static int attack_i386_io_uring(const char* unused) {
  (void)unused;
  static struct io_uring_params params;
  return TRY(i386(425, 4, P(&params), 0, 0, 0));
}
static int attack_i386_open_by_handle(const char* unused) {
  (void)unused;
  static uint32_t handle[4] = {8, 1};
  return TRY(i386(342, open("/", O_RDONLY), P(handle), O_RDONLY, 0, 0));
}
static int attack_i386_vsock(const char* unused) {
  (void)unused;
  return TRY(i386(359, AF_VSOCK, SOCK_STREAM, 0, 0, 0));
}
static int attack_i386_socketcall(const char* unused) {
  (void)unused;
  static uint32_t args[3] = {AF_VSOCK, SOCK_STREAM, 0};
  return TRY(i386(102, 1 /* SYS_SOCKET */, P(args), 0, 0, 0));
}
static int attack_i386_tiocsti(const char* unused) {
  (void)unused;
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  grantpt(master);
  unlockpt(master);
  setsid();
  return TRY(i386(54, open(ptsname(master), O_RDWR), TIOCSTI, P("x"), 0, 0));
}

static long x32(long number, long a, long b, long c) {
  return syscall(number | 0x40000000, a, b, c);
}

static int attack_x32(const char* unused) {
  (void)unused;
  return TRY(x32(SYS_getpid, 0, 0, 0));
}
static int attack_x32_unshare(const char* unused) {
  (void)unused;
  return TRY(x32(SYS_unshare, CLONE_NEWUSER, 0, 0));
}
static int attack_x32_vsock(const char* unused) {
  (void)unused;
  return TRY(x32(SYS_socket, AF_VSOCK, SOCK_STREAM, 0));
}
static int attack_x32_open_tree_attr(const char* unused) {
  (void)unused;
  return TRY(x32(467, AT_FDCWD, (long)"/", OPEN_TREE_CLONE));
}

const struct attack compat_attacks[] = {
    {"i386", attack_i386},
    {"i386_mount", attack_i386_mount},
    {"i386_umount", attack_i386_umount},
    {"i386_old_umount", attack_i386_old_umount},
    {"i386_unshare", attack_i386_unshare},
    {"i386_clone", attack_i386_clone},
    {"i386_clone3", attack_i386_clone3},
    {"i386_setns", attack_i386_setns},
    {"i386_pivot_root", attack_i386_pivot_root},
    {"i386_open_tree", attack_i386_open_tree},
    {"i386_open_tree_attr", attack_i386_open_tree_attr},
    {"i386_fsopen", attack_i386_fsopen},
    {"i386_keyctl", attack_i386_keyctl},
    {"i386_bpf", attack_i386_bpf},
    {"i386_io_uring", attack_i386_io_uring},
    {"i386_open_by_handle", attack_i386_open_by_handle},
    {"i386_vsock", attack_i386_vsock},
    {"i386_socketcall", attack_i386_socketcall},
    {"i386_tiocsti", attack_i386_tiocsti},
    {"x32", attack_x32},
    {"x32_unshare", attack_x32_unshare},
    {"x32_vsock", attack_x32_vsock},
    {"x32_open_tree_attr", attack_x32_open_tree_attr},
    {NULL, NULL},
};

#else
const struct attack compat_attacks[] = {{NULL, NULL}};
#endif
