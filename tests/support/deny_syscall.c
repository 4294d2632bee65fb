// SPDX-License-Identifier: Apache-2.0
//
// deny_syscall ENOSYS|EPERM NAME[:INDEX=VALUE][,NAME...] COMMAND [ARG...]: runs COMMAND with a
// seccomp filter that answers the named system calls with that error, all of them or those with
// that argument (from 0). For the tests of what strata does on older kernels and in containers.
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr,
            "usage: deny_syscall ENOSYS|EPERM NAME[:INDEX=VALUE][,NAME...] COMMAND [ARG...]\n");
    return 2;
  }
  const unsigned answer = strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == NULL) {
    fprintf(stderr, "deny_syscall: seccomp_init failed\n");
    return 2;
  }
  for (char* name = strtok(argv[2], ","); name != NULL; name = strtok(NULL, ",")) {
    char* condition = strchr(name, ':');
    if (condition != NULL) *condition++ = '\0';
    const char* value = condition != NULL ? strchr(condition, '=') : NULL;
    const int number = seccomp_syscall_resolve_name(name);
    const int rc = number == __NR_SCMP_ERROR ? -EINVAL
                   : value == NULL
                       ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(answer), number, 0)
                       : seccomp_rule_add(filter, SCMP_ACT_ERRNO(answer), number, 1,
                                          SCMP_CMP((unsigned)atoi(condition), SCMP_CMP_EQ,
                                                   strtoull(value + 1, NULL, 0)));
    if (rc < 0) {
      fprintf(stderr, "deny_syscall: %s: %s\n", name, strerror(-rc));
      return 2;
    }
  }
  const int rc = seccomp_load(filter);
  if (rc < 0) {
    fprintf(stderr, "deny_syscall: seccomp_load: %s\n", strerror(-rc));
    return 2;
  }
  execvp(argv[3], argv + 3);
  fprintf(stderr, "deny_syscall: %s: %s\n", argv[3], strerror(errno));
  return 2;
}
