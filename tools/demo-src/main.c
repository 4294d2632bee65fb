#include <inttypes.h>
#include <stdio.h>

#include "seen.h"
#include "tally.h"

int main(int argc, char** argv) {
  int failed = 0;
  printf("built with %lu files in %lu directories of %s, digest %016" PRIx64 "\n", SEEN_FILES,
         SEEN_DIRECTORIES, SEEN_PATH, SEEN_DIGEST);
  for (int i = 1; i < argc; i++) {
    struct tally sum;
    if (tally_tree(argv[i], &sum) != 0) {
      perror(argv[i]);
      failed = 1;
      continue;
    }
    printf("%s here: %lu files (%llu bytes), %lu directories, %lu links\n", argv[i], sum.files,
           sum.bytes, sum.directories, sum.links);
  }
  return failed;
}
