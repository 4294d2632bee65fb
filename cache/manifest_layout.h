// SPDX-License-Identifier: Apache-2.0
//
// Private to the manifest's reader and builder: the header as it stands in the file (format.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata {

inline constexpr char kManifestMagic[] = "STRATAMF";
inline constexpr uint32_t kManifestVersion = 1;

struct ManifestHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_size;
  uint32_t entry_size;
  uint32_t entry_count;
  uint64_t strings_size;
  uint64_t content_size;
  uint32_t commands_offset;
  uint32_t commands_size;
  uint32_t whiteout_count;
  uint32_t reserved32;
  uint64_t reserved;
};
static_assert(sizeof(ManifestHeader) == 64);

inline constexpr size_t kXattrHeaderSize = 6;
bool CheckRawXattrs(std::string_view raw);

}  // namespace strata
