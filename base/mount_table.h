// SPDX-License-Identifier: Apache-2.0
//
// What is mounted, as /proc/thread-self/mountinfo tells: also what something else is mounted over,
// which no path leads to any more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

struct MountEntry {
  uint64_t id = 0;
  std::string device;     // "8:1"
  std::string root;       // which directory of that device's file system
  std::string directory;  // where; as this process sees it
  std::string type;       // "overlay", "fuse.fuse-overlayfs", "ext4", ...
  std::string options;    // of the file system, not of the mount: "rw,memory"
};

Result<std::vector<MountEntry>> ReadMountTable();
// From the text of a mountinfo; lines that are none are left out.
std::vector<MountEntry> ParseMountTable(std::string_view mountinfo);

// All paths at which the directory `real_path` (absolute, without links) can be seen, itself first:
// a bind mount, or another mount of its file system, shows it elsewhere too. What something is
// mounted over is left out.
Result<std::vector<std::string>> PathsOfDirectory(const std::string& real_path);

}  // namespace strata
