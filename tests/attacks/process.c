// SPDX-License-Identifier: Apache-2.0
//
// Other processes: pid 1 of the sandbox, those of the host, and what /proc gives away.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

static pid_t pid_of(const char* text) {
  return text != NULL ? atoi(text) : 1;
}

// --- by the number of a process (pid 1, unless one is given)
// ------------------------------------------

static int attack_kill(const char* pid) {
  return TRY(kill(pid_of(pid), SIGKILL));
}
static int attack_ptrace(const char* pid) {
  return TRY(ptrace(PTRACE_ATTACH, pid_of(pid), 0, 0));
}
static int attack_ptrace_seize(const char* pid) {
  return TRY(ptrace(PTRACE_SEIZE, pid_of(pid), 0, 0));
}
static int attack_read_memory(const char* pid) {
  char byte;
  struct iovec here = {&byte, 1};
  struct iovec there = {(void*)&attack_read_memory, 1};
  return TRY(process_vm_readv(pid_of(pid), &here, 1, &there, 1, 0));
}
static int attack_pidfd_open(const char* pid) {
  return TRY(syscall(SYS_pidfd_open, pid_of(pid), 0));
}
static int attack_pidfd_getfd(const char* pid) {
  int error = 0;
  const int pidfd = (int)syscall(SYS_pidfd_open, pid_of(pid), 0);
  for (int fd = 0; fd < 32; ++fd) {
    if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0) {
      reach("%d ", fd);
    } else {
      error = errno;
    }
  }
  return reached[0] != '\0' ? 0 : error;
}
static int attack_kcmp(const char* pid) {
  return TRY(syscall(SYS_kcmp, getpid(), pid_of(pid), KCMP_FILE, 0, 0));
}

// stop: pid 1 is stopped, or killed; so nobody would reap or end what runs here.
static int attack_stop(const char* unused) {
  (void)unused;
  for (int signal = SIGSTOP; signal <= SIGTTOU; ++signal) {
    if (signal != SIGTSTP)
      kill(1, signal);  // that one stops everything but pid 1: see SIGTSTP in child.cc
  }
  kill(1, SIGKILL);
  kill(1, SIGSEGV);
  usleep(20000);
  char stat[256] = "";
  const int fd = open("/proc/1/stat", O_RDONLY);
  if (fd < 0 || read(fd, stat, sizeof stat - 1) <= 0) return 0;
  const char* state = strrchr(stat, ')');
  return state != NULL && (state[2] == 'S' || state[2] == 'R') ? EPERM : 0;
}

// --- /proc/1
// -----------------------------------------------------------------------------------------

// proc_1: whatever of it opens that is a way into the process.
static int attack_proc_1(const char* unused) {
  (void)unused;
  static const char* const kDoors[] = {
      "mem",          "root",    "cwd",        "exe",         "environ",    "maps",
      "smaps",        "pagemap", "auxv",       "stack",       "syscall",    "personality",
      "ns/mnt",       "ns/user", "ns/pid",     "ns/net",      "io",         "map_files",
      "root/.",       "cwd/.",   "fd/0",       "fd/3",        "fd/4",       "fd/5",
      "fd/6",         "fd/7",    "fd/8",       "fdinfo/0",    "fdinfo/3",   "clear_refs",
      "attr/current", "timers",  "task/1/mem", "task/1/root", "task/1/fd/3"};
  int error = ENOENT;
  for (size_t i = 0; i < sizeof kDoors / sizeof *kDoors; ++i) {
    char path[64];
    char byte[8];
    snprintf(path, sizeof path, "/proc/1/%s", kDoors[i]);
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
      // uid 0 of the host may open some, and finds nothing there.
      DIR* directory = fdopendir(fd);
      int entries = 0;
      while (readdir(directory) != NULL) ++entries;
      if (entries > 2) reach("%s ", kDoors[i]);
      error = EACCES;
    } else if (fd >= 0 && read(fd, byte, sizeof byte) > 0) {
      reach("%s ", kDoors[i]);
    } else if (errno != ENOENT) {
      error = errno;
    }
  }
  return reached[0] != '\0' ? 0 : error;
}

// proc_1_write: changes how pid 1 is run, or what it runs.
static int attack_proc_1_write(const char* unused) {
  (void)unused;
  static const char* const kFiles[] = {
      "mem",          "oom_score_adj", "oom_adj",   "coredump_filter",
      "clear_refs",   "timerslack_ns", "autogroup", "comm",
      "setgroups",    "uid_map",       "loginuid",  "attr/exec",
      "make-it-fail", "sched"};
  int error = ENOENT;
  for (size_t i = 0; i < sizeof kFiles / sizeof *kFiles; ++i) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/%s", kFiles[i]);
    const int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, "0", 1) == 1) {
      reach("%s ", kFiles[i]);
    } else if (errno != ENOENT) {
      error = errno;
    }
  }
  return reached[0] != '\0' ? 0 : error;
}

// proc_1_cmdline=TEXT: what strata was called with
static int attack_proc_1_cmdline(const char* text) {
  char line[8192] = "";
  const int fd = open("/proc/1/cmdline", O_RDONLY);
  const ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
  if (size < 0) return errno;
  for (ssize_t i = 0; i < size; ++i) {
    if (line[i] == '\0') line[i] = ' ';
  }
  reach("%s", line);
  return strstr(line, text) != NULL ? 0 : ENOENT;
}

// --- what of /proc can be written
// ---------------------------------------------------------------------

static void look_for_writable(const char* path, int depth) {
  DIR* directory = opendir(path);
  if (directory == NULL) return;
  const struct dirent* entry;
  while ((entry = readdir(directory)) != NULL) {
    const int first = entry->d_name[0];
    if (first == '.' || entry->d_type == DT_LNK || (depth == 0 && first >= '0' && first <= '9'))
      continue;
    char child[PATH_MAX];
    snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
    if (entry->d_type == DT_DIR) {
      if (depth < 8) look_for_writable(child, depth + 1);
      continue;
    }
    // A watchdog or a bus would take an open file for a wish; opening alone says enough.
    const int fd = open(child, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) continue;
    close(fd);
    reach("%s ", child + strlen("/proc/"));
  }
  closedir(directory);
}
static int attack_proc_write(const char* unused) {
  (void)unused;
  look_for_writable("/proc", 0);
  return reached[0] != '\0' ? 0 : EACCES;
}

// proc_read=NAME...: secrets of the machine
static int attack_proc_read(const char* name) {
  char path[128];
  char byte;
  snprintf(path, sizeof path, "/proc/%s", name);
  const int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return errno;
  const ssize_t size = read(fd, &byte, 1);
  return size < 0 ? errno : size == 0 ? ENODATA : 0;
}

static int attack_kallsyms(const char* unused) {
  (void)unused;
  char line[128] = "";
  FILE* file = fopen("/proc/kallsyms", "r");
  if (file == NULL) return errno;
  return fgets(line, sizeof line, file) != NULL && strtoull(line, NULL, 16) != 0 ? 0 : EACCES;
}

static int attack_write(const char* path_and_text) {
  char path[PATH_MAX];
  const char* comma = strchr(path_and_text, ',');
  snprintf(path, sizeof path, "%.*s", (int)(comma - path_and_text), path_and_text);
  const int fd = open(path, O_WRONLY);
  if (fd < 0) return errno;
  return TRY(write(fd, comma + 1, strlen(comma + 1)));
}

// --- limits
// ------------------------------------------------------------------------------------------

static int attack_raise_core(const char* unused) {
  (void)unused;
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  return TRY(setrlimit(RLIMIT_CORE, &limit));
}
// processes=N: more than N at once
static int attack_processes(const char* count) {
  const int wanted = atoi(count);
  struct rlimit limit;
  if (getrlimit(RLIMIT_NPROC, &limit) != 0) return errno;
  limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
  if (setrlimit(RLIMIT_NPROC, &limit) == 0) reach("RLIMIT_NPROC ");
  const int fd = open("/proc/sys/kernel/pid_max", O_WRONLY);
  if (fd >= 0 && write(fd, "4000000", 7) == 7) reach("pid_max ");
  char text[32] = "";
  const int max = open("/proc/sys/kernel/pid_max", O_RDONLY);
  if (max < 0 || read(max, text, sizeof text - 1) <= 0) return errno;
  getrlimit(RLIMIT_NPROC, &limit);
  if (atoi(text) <= wanted) return EAGAIN;
  return limit.rlim_cur <= (rlim_t)wanted ? EAGAIN : 0;
}
static int attack_priority(const char* unused) {
  (void)unused;
  return TRY(setpriority(PRIO_PROCESS, 0, -1));
}
static int attack_realtime(const char* unused) {
  (void)unused;
  struct sched_param param = {.sched_priority = 1};
  return TRY(sched_setscheduler(0, SCHED_FIFO, &param));
}
static int attack_oom_score(const char* unused) {
  (void)unused;
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY);
  if (fd < 0) return errno;
  return TRY(write(fd, "-1000", 5));
}

// --- ids
// ---------------------------------------------------------------------------------------------

// rights: what an execve of a file with the setuid bit or capabilities gave
static int attack_rights(const char* wanted_uid) {
  char text[4096] = "";
  const int fd = open("/proc/self/status", O_RDONLY);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return errno;
  const char* effective = strstr(text, "CapPrm:");
  const unsigned long capabilities = effective != NULL ? strtoul(effective + 8, NULL, 16) : 0;
  reach("uid %d euid %d gid %d egid %d capabilities %lx", getuid(), geteuid(), getgid(), getegid(),
        capabilities);
  return geteuid() != (uid_t)atoi(wanted_uid) || getegid() != getgid() || capabilities != 0 ? 0
                                                                                            : EPERM;
}

const struct attack process_attacks[] = {
    {"kill", attack_kill},
    {"ptrace", attack_ptrace},
    {"ptrace_seize", attack_ptrace_seize},
    {"read_memory", attack_read_memory},
    {"pidfd_open", attack_pidfd_open},
    {"pidfd_getfd", attack_pidfd_getfd},
    {"kcmp", attack_kcmp},
    {"stop", attack_stop},
    {"proc_1", attack_proc_1},
    {"proc_1_write", attack_proc_1_write},
    {"proc_1_cmdline", attack_proc_1_cmdline},
    {"proc_write", attack_proc_write},
    {"proc_read", attack_proc_read},
    {"kallsyms", attack_kallsyms},
    {"write", attack_write},
    {"raise_core", attack_raise_core},
    {"processes", attack_processes},
    {"priority", attack_priority},
    {"realtime", attack_realtime},
    {"oom_score", attack_oom_score},
    {"rights", attack_rights},
    {NULL, NULL},
};
