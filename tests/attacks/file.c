// SPDX-License-Identifier: Apache-2.0
//
// Files: every mount, the layers below the root, devices, descriptors that were handed in.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attack.h"

// --- every mount
// -------------------------------------------------------------------------------------

// The name of what could be changed at a mount point, or NULL. Everything is set to what it is
// already.
static const char* change(const char* path) {
  struct stat st;
  char child[PATH_MAX];
  const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  if (stat(path, &st) != 0) return NULL;
  if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) == 0) return "remount";
  if (chmod(path, st.st_mode & 07777) == 0) return "chmod";
  if (chown(path, st.st_uid, st.st_gid) == 0) return "chown";
  if (utimensat(AT_FDCWD, path, now, 0) == 0) return "utimes";
  if (setxattr(path, "user.attack", "x", 1, 0) == 0) return "setxattr";
  if (setxattr(path, "security.capability", "x", 1, 0) == 0) return "setxattr security";
  if (truncate(path, st.st_size) == 0) return "truncate";
  if (S_ISDIR(st.st_mode)) {
    snprintf(child, sizeof child, "%s/attack", path);
    const int fd = open(child, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) {
      close(fd);
      unlink(child);
      return "create";
    }
    if (mkdir(child, 0700) == 0) return "mkdir";
    if (symlink("x", child) == 0) return "symlink";
    const int unnamed = open(path, O_TMPFILE | O_WRONLY, 0600);
    if (unnamed >= 0) return "O_TMPFILE";
  }
  return NULL;
}

// change_mounts=PATH,PATH...: of all mounts but those that are the sandbox's own to change
static int attack_change_mounts(const char* own) {
  char line[8192];
  FILE* file = fopen("/proc/self/mountinfo", "r");
  if (file == NULL) return errno;
  while (fgets(line, sizeof line, file) != NULL) {
    char path[PATH_MAX] = "";
    char listed[PATH_MAX + 2];
    char all[PATH_MAX];
    if (sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1) continue;
    snprintf(listed, sizeof listed, ",%s,", path);
    snprintf(all, sizeof all, ",%s,", own);
    if (strstr(all, listed) != NULL) continue;
    const char* how = change(path);
    if (how != NULL) reach("%s:%s ", path, how);
  }
  fclose(file);
  return reached[0] != '\0' ? 0 : EROFS;
}

static int attack_change_file(const char* path) {
  const char* how = change(path);
  if (how == NULL) return EROFS;
  reach("%s", how);
  return 0;
}

// --- a file of a layer
// ---------------------------------------------------------------------------------

// change_lower=FILE: all that might reach the file below instead of a copy of it. Whatever this
// does to the root is right; the test looks at the store afterwards.
static int attack_change_lower(const char* path) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return errno;
  struct stat st;
  fstat(fd, &st);
  void* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared != MAP_FAILED) {
    memcpy(shared, "EVIL", 4);
    reach("mmap ");
  }
  void* readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (readable != MAP_FAILED && mprotect(readable, 4096, PROT_READ | PROT_WRITE) == 0)
    reach("mprotect ");
  if (write(fd, "EVIL", 4) > 0) reach("write ");
  if (ftruncate(fd, 0) == 0) reach("ftruncate ");
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1) == 0) reach("fallocate ");
  if (fallocate(fd, 0, 0, 1 << 20) == 0) reach("fallocate ");
  const int other = open("/tmp/other", O_RDWR | O_CREAT, 0600);
  if (write(other, "EVIL", 4) != 4) return errno;
  if (ioctl(fd, FICLONE, other) == 0) reach("FICLONE ");
  if (copy_file_range(other, &(off64_t){0}, fd, &(off64_t){0}, 4, 0) > 0) reach("copy_file_range ");
  // Those that may work, on a copy:
  int flags = FS_NOATIME_FL;
  ioctl(fd, FS_IOC_SETFLAGS, &flags);
  struct fsxattr attributes;
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
  char by_descriptor[64];
  snprintf(by_descriptor, sizeof by_descriptor, "/proc/self/fd/%d", fd);
  const int again = open(by_descriptor, O_RDWR);
  if (again >= 0) {
    void* writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
    if (writable != MAP_FAILED) memcpy(writable, "EVIL", 4);
    if (pwrite(again, "EVIL", 4, 0) < 0) return errno;
    fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1);
    close(again);
  }
  const int direct = open(path, O_RDWR | O_DIRECT);
  if (direct >= 0) {
    void* block = aligned_alloc(4096, 4096);
    memset(block, 'E', 4096);
    if (pwrite(direct, block, 4096, 0) < 0) reach("(O_DIRECT %s) ", strerrorname_np(errno));
    close(direct);
  }
  fchmod(fd, 0777);
  fsetxattr(fd, "user.attack", "x", 1, 0);
  futimens(fd, NULL);
  link(path, "/linked");
  const int linked = open("/linked", O_WRONLY | O_TRUNC);
  if (linked >= 0) close(linked);
  return reached[0] != '\0' && reached[0] != '(' ? 0 : EBADF;
}

// --- devices
// -----------------------------------------------------------------------------------------

// mknod=DIRECTORY: the memory of the machine (1:1), and a disk (8:0)
static int attack_mknod(const char* directory) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/node", directory);
  if (mknod(path, S_IFCHR | 0666, makedev(1, 1)) == 0) reach("character ");
  if (mknod(path, S_IFBLK | 0666, makedev(8, 0)) == 0) reach("block ");
  return reached[0] != '\0' ? 0 : errno;
}

static int attack_open(const char* path) {
  return TRY(open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK));
}

// terminals: more than the host can do without
static int attack_terminals(const char* count) {
  int i = 0;
  struct stat st;
  while (i < atoi(count) && open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0) ++i;
  const int error = errno;
  if (stat("/dev/pts/0", &st) != 0) return ENODEV;
  return i == atoi(count) ? 0 : error;
}

// fill=DIRECTORY,BYTES and fill_files=DIRECTORY,COUNT
static int attack_fill(const char* argument) {
  static char block[1 << 16];
  char path[PATH_MAX];
  const char* comma = strchr(argument, ',');
  snprintf(path, sizeof path, "%.*s/fill", (int)(comma - argument), argument);
  const int fd = open(path, O_WRONLY | O_CREAT, 0600);
  if (fd < 0) return errno;
  int error = 0;
  for (long long left = atoll(comma + 1); left > 0 && error == 0; left -= sizeof block) {
    if (write(fd, block, sizeof block) < 0) error = errno;
  }
  unlink(path);
  return error;
}
static int attack_fill_files(const char* argument) {
  char path[PATH_MAX];
  const char* comma = strchr(argument, ',');
  for (long i = 0; i < atol(comma + 1); ++i) {
    snprintf(path, sizeof path, "%.*s/f%ld", (int)(comma - argument), argument, i);
    if (mknod(path, S_IFREG | 0600, 0) != 0) return errno;
  }
  return 0;
}

// --- standard streams
// ----------------------------------------------------------------------------------

static const char* stream(const char* number) {
  static char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%s", number);
  return path;
}
// reopen=N: a standard stream for writing, and writes
static int attack_reopen(const char* number) {
  const int fd = open(stream(number), O_RDWR);
  return fd < 0 ? errno : TRY(pwrite(fd, "EVIL", 4, 0));
}
static int attack_truncate_stream(const char* number) {
  return TRY(truncate(stream(number), 0));
}
static int attack_chmod_stream(const char* number) {
  return TRY(chmod(stream(number), 06777));
}
static int attack_fchmod_stream(const char* number) {
  return TRY(fchmod(atoi(number), 0666));
}
static int attack_utimes_stream(const char* number) {
  return TRY(futimens(atoi(number), NULL));
}
// A file capability (v2) of all that there is.
static int attack_capability_stream(const char* number) {
  const uint32_t data[5] = {0x02000001, 0xffffffff, 0, 0xffffffff, 0};
  return TRY(setxattr(stream(number), "security.capability", data, sizeof data, 0));
}
// An access list that lets uid 65534 read and write, where that has a name in here; else the
// owner's.
static int attack_acl_stream(const char* number) {
  const struct {
    uint32_t version;
    struct {
      uint16_t tag, permissions;
      uint32_t id;
    } entries[5];
  } list = {2, {{1, 6, ~0U}, {2, 6, 0}, {4, 4, ~0U}, {0x10, 6, ~0U}, {0x20, 6, ~0U}}};
  return TRY(setxattr(stream(number), "system.posix_acl_access", &list, sizeof list, 0));
}
static int attack_up_from_stream(const char* number) {
  return TRY(openat(atoi(number), "..", O_RDONLY | O_DIRECTORY));
}

// descriptors: any above the standard streams
static int attack_descriptors(const char* unused) {
  (void)unused;
  for (int fd = 3; fd < 4096; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) reach("%d ", fd);
  }
  return reached[0] != '\0' ? 0 : EBADF;
}

const struct attack file_attacks[] = {
    {"change_mounts", attack_change_mounts},
    {"change_file", attack_change_file},
    {"change_lower", attack_change_lower},
    {"mknod", attack_mknod},
    {"open", attack_open},
    {"terminals", attack_terminals},
    {"fill", attack_fill},
    {"fill_files", attack_fill_files},
    {"reopen", attack_reopen},
    {"truncate_stream", attack_truncate_stream},
    {"chmod_stream", attack_chmod_stream},
    {"fchmod_stream", attack_fchmod_stream},
    {"utimes_stream", attack_utimes_stream},
    {"capability_stream", attack_capability_stream},
    {"acl_stream", attack_acl_stream},
    {"up_from_stream", attack_up_from_stream},
    {"descriptors", attack_descriptors},
    {NULL, NULL},
};
