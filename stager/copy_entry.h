// SPDX-License-Identifier: Apache-2.0
//
// Copies one file, symlink or fifo of a layer's tree to another place. What it is, comes from the
// manifest: the mode on disk (never setuid), the mtime, the user xattrs. Content comes from the
// disk.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "cache/manifest.h"

namespace strata {

enum class CopyContent {
  kBytes,   // copy_file_range, else read and write; holes stay holes
  kReflink  // FICLONE: shares the blocks. kUnsupported where the file system cannot
};

struct CopyPlace {
  int dir_fd;
  const char* name;
};

// `to` must not exist. `shown` is the path that errors name.
Result<void> CopyEntry(const Manifest& manifest, uint32_t entry, CopyPlace from, CopyPlace to,
                       CopyContent how, const std::string& shown);

}  // namespace strata
