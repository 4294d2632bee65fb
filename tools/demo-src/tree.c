#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#include "tally.h"

/* nftw() hands nothing through to its callback. */
static struct tally* current;
static size_t prefix;

static int count(const char* path, const struct stat* status, int kind, struct FTW* where) {
  uint64_t hash = TALLY_HASH_START;
  uint64_t size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : 0;
  (void)kind;
  if (where->level == 0) return 0;
  if (S_ISREG(status->st_mode)) {
    current->files++;
    current->bytes += size;
  } else if (S_ISDIR(status->st_mode)) {
    current->directories++;
  } else if (S_ISLNK(status->st_mode)) {
    current->links++;
  } else {
    current->others++;
  }
  hash = tally_hash(hash, path + prefix, strlen(path + prefix));
  hash = tally_hash(hash, &size, sizeof size);
  current->digest += hash; /* a sum, so that the order does not matter */
  return 0;
}

int tally_tree(const char* path, struct tally* sum) {
  memset(sum, 0, sizeof *sum);
  current = sum;
  prefix = strlen(path);
  return nftw(path, count, 64, FTW_PHYS);
}
