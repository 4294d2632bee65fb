// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "attack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char reached[65536];

void reach(const char* format, ...) {
  va_list arguments;
  const size_t used = strlen(reached);
  va_start(arguments, format);
  vsnprintf(reached + used, sizeof reached - used, format, arguments);
  va_end(arguments);
}

static const struct attack* find(const char* name, size_t size) {
  const struct attack* tables[] = {kernel_attacks, process_attacks, file_attacks, compat_attacks};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; ++i) {
    for (const struct attack* attack = tables[i]; attack->name != NULL; ++attack) {
      if (strlen(attack->name) == size && strncmp(attack->name, name, size) == 0) return attack;
    }
  }
  return NULL;
}

static void list(void) {
  const struct attack* tables[] = {kernel_attacks, process_attacks, file_attacks, compat_attacks};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; ++i) {
    for (const struct attack* attack = tables[i]; attack->name != NULL; ++attack)
      puts(attack->name);
  }
}

int main(int argc, char** argv) {
  if (argc == 1) list();
  for (int i = 1; i < argc; ++i) {
    const char* equals = strchr(argv[i], '=');
    const struct attack* attack =
        find(argv[i], equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]));
    if (attack == NULL) {
      fprintf(stderr, "attack: there is no %s\n", argv[i]);
      return 2;
    }
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
      const int error = attack->run(equals != NULL ? equals + 1 : NULL);
      const char* name = error == 0 ? "WORKED" : strerrorname_np(error);
      printf("%s %s%s%s\n", attack->name, name != NULL ? name : "?", reached[0] != '\0' ? " " : "",
             reached);
      fflush(stdout);
      _exit(0);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return 2;
    if (WIFSIGNALED(status)) printf("%s SIG%s\n", attack->name, sigabbrev_np(WTERMSIG(status)));
  }
  return 0;
}
