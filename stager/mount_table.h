// SPDX-License-Identifier: Apache-2.0
//
// What is mounted, as /proc/self/mountinfo tells: also what something else is mounted over, which
// no path leads to any more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

struct MountEntry {
  uint64_t id = 0;
  std::string directory;  // where; as this process sees it
  std::string type;       // "overlay", "fuse.fuse-overlayfs", "ext4", ...
};

Result<std::vector<MountEntry>> ReadMountTable();
// From the text of a mountinfo; lines that are none are left out.
std::vector<MountEntry> ParseMountTable(std::string_view mountinfo);

}  // namespace strata
