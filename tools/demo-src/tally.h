/* libtally counts what is in a directory tree and sums it up in one number. */
#ifndef TALLY_H
#define TALLY_H

#include <stdint.h>

struct tally {
  unsigned long files;
  unsigned long directories;
  unsigned long links;
  unsigned long others;
  unsigned long long bytes;
  uint64_t digest; /* of all paths and sizes, whatever order the file system lists them in */
};

/* Counts what is below `path`, which is itself left out. Returns 0, or -1 with errno set. */
int tally_tree(const char* path, struct tally* sum);

/* FNV-1a, continued from `hash`; start with TALLY_HASH_START. */
#define TALLY_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t tally_hash(uint64_t hash, const void* data, unsigned long size);

#endif
