/* Run while the program is built: writes what the build saw of a dependency as a C header. */
#include <inttypes.h>
#include <stdio.h>

#include "tally.h"

int main(int argc, char** argv) {
  struct tally sum;
  if (argc != 2) {
    fprintf(stderr, "usage: embed DIRECTORY\n");
    return 2;
  }
  if (tally_tree(argv[1], &sum) != 0) {
    perror(argv[1]);
    return 1;
  }
  printf("#define SEEN_PATH \"%s\"\n", argv[1]);
  printf("#define SEEN_FILES %luUL\n", sum.files);
  printf("#define SEEN_DIRECTORIES %luUL\n", sum.directories);
  printf("#define SEEN_DIGEST UINT64_C(0x%016" PRIx64 ")\n", sum.digest);
  return 0;
}
