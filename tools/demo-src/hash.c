#include "tally.h"

uint64_t tally_hash(uint64_t hash, const void* data, unsigned long size) {
  const unsigned char* byte = data;
  while (size-- > 0) {
    hash ^= *byte++;
    hash *= UINT64_C(0x100000001b3);
  }
  return hash;
}
