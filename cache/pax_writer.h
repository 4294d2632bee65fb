// SPDX-License-Identifier: Apache-2.0
//
// Private to export: headers of the POSIX pax format. Written by hand, not by libarchive, because
// the bytes must be the same for ever (an OCI layer is named by their digest), and because names
// are bytes here: libarchive converts them by the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cache/manifest.h"

namespace strata {

struct TarMember {
  std::string name;
  char type = '0';  // '0' file, '1' hardlink, '2' symlink, '5' directory, '6' fifo
  uint32_t mode = 0644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_sec = 0;
  uint32_t mtime_nsec = 0;
  uint64_t size = 0;
  std::string link;
  std::vector<Xattr> xattrs;
};

inline constexpr size_t kTarBlock = 512;

// Appends the member's header, and before it an extended one for what does not fit in.
Result<void> AppendTarHeader(std::string& out, const TarMember& member);

// Zero bytes that follow a content of `size` bytes.
inline size_t TarPadding(uint64_t size) {
  return (kTarBlock - size % kTarBlock) % kTarBlock;
}

}  // namespace strata
