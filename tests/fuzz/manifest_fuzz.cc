// SPDX-License-Identifier: Apache-2.0
//
// The manifest's reader. What Open lets through (the header is right) may be read without a crash; what
// Validate lets through must hold together.
#include <cstdlib>
#include <vector>

#include "cache/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  auto manifest = Manifest::FromBytes(std::vector<uint8_t>(data, data + size));
  if (!manifest || !manifest->Validate()) return 0;
  uint32_t seen = 0;
  manifest->Walk([&](const std::string& path, uint32_t index) {
    ++seen;
    if (manifest->Find(path) != index || manifest->Path(index) != path) std::abort();
    static_cast<void>(manifest->xattrs(manifest->entry(index)));
  });
  if (seen != manifest->size()) std::abort();
  static_cast<void>(manifest->integration_commands());
  return 0;
}
