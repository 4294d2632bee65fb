// SPDX-License-Identifier: Apache-2.0
//
// Whole-file reads and writes on descriptors, and atomic replacement.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

// Opens with O_CLOEXEC, above descriptor 2. `what` of the error is "open <path>".
Result<UniqueFd> OpenAt(int dir_fd, const std::string& path, int flags, unsigned mode = 0);

// Reads until end of file; more than `limit` bytes is an error (kInvalid).
Result<std::string> ReadAll(int fd, std::string_view name, size_t limit = 64 << 20);
Result<std::string> ReadFile(int dir_fd, const std::string& path, size_t limit = 64 << 20);

Result<void> WriteAll(int fd, std::string_view data, std::string_view name);

// Writes `path#<random>` (flocked meanwhile) beside the target and renames it over the target. Readers see the old
// content or the new one. Not synced to disk: after a power loss the file may be empty. kYes writes the data
// out before the rename, which is all that file systems with a journal or with transactions need to show
// the old or the new content then, at a hundredth of the cost of fsync.
enum class FlushData { kNo, kYes };
Result<void> ReplaceFile(int dir_fd, const std::string& path, std::string_view data,
                         unsigned mode = 0644, FlushData flush = FlushData::kNo);

// mkdir -p below `dir_fd`. Existing directories are fine, whatever their mode.
Result<void> MakeDirs(int dir_fd, const std::string& path, unsigned mode);

Result<Pipe> MakePipe(int flags = 0);  // O_CLOEXEC | flags

// realpath(3): absolute, without links.
Result<std::string> RealPath(const std::string& path);

}  // namespace strata
