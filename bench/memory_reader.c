// SPDX-License-Identifier: Apache-2.0
//
// What each sandbox of bench/memory runs: uses a part of the root as builds do, and stays.
//
//     memory_reader DIRECTORY SMALL
//
// Maps and reads 10 large files and reads 10 others, 160 MB; does the same with SMALL small ones, of
// which it maps every tenth. Keeps the mappings, says "ready", and ends with its standard input.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char buffer[1 << 16];
static volatile unsigned sum;

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static void use_file(const char* path, int map) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  if (map) {
    struct stat st;
    if (fstat(fd, &st) != 0) fail(path);
    const char* bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) fail(path);
    for (off_t at = 0; at < st.st_size; at += 4096) sum += (unsigned char)bytes[at];
  } else {
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0) sum += (unsigned char)buffer[0];
    if (count < 0) fail(path);
  }
  close(fd);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int small = atoi(argv[2]);
  char path[4096];
  for (int i = 0; i < 20; ++i) {
    snprintf(path, sizeof path, "%s/large/%d", argv[1], i);
    use_file(path, i % 2 == 0);
  }
  // Of all 200 directories, as headers and libraries are all over a root.
  for (int i = 0; i < small; ++i) {
    snprintf(path, sizeof path, "%s/small/%d/%d", argv[1], i % 200, i / 200);
    use_file(path, i % 10 == 0);
  }
  if (puts("ready") < 0 || fflush(stdout) != 0) return 1;
  while (read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
  }
  return 0;
}
