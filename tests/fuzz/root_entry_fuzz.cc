// SPDX-License-Identifier: Apache-2.0
//
// The file of a composed root, and that of a segment's providers, with a checksum that fits, or no
// mutation would get past it.
#include <cstdlib>
#include <cstring>

#include "cache/providers.h"
#include "cache/roots.h"
#include "tests/fuzz/fuzz_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using testing::FuzzStore;
  using testing::Must;
  FuzzStore& fuzz = FuzzStore::Get();
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (auto set = DependencySet::Decode(bytes); set && set->Encode() != bytes) std::abort();

  // Its key is that of the set in it: after magic and version, a size and as many bytes.
  constexpr size_t kSetAt = 16;
  uint32_t set_size = 0;
  if (size >= kSetAt) std::memcpy(&set_size, data + kSetAt - sizeof set_size, sizeof set_size);
  std::string_view set;
  if (size >= kSetAt && set_size <= size - kSetAt) {
    set = std::string_view(bytes).substr(kSetAt, set_size);
  }
  RootKey key = KeyOfSet(set);
  std::string file = bytes;
  uint64_t sum = Xxh3Short(bytes);
  file.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  if (auto providers = DecodeProviders(file); providers && EncodeProviders(*providers) != file) {
    std::abort();
  }
  Must(ReplaceFile(fuzz.store().fd(), "roots/" + key.Hex(), file));
  auto root = FindRoot(fuzz.store(), set);
  if (root && *root && (*root)->encoded_set != set) std::abort();
  root = std::nullopt;
  static_cast<void>(ReadRoot(fuzz.store(), key));
  static_cast<void>(RemoveRoot(fuzz.store(), key));
  return 0;
}
