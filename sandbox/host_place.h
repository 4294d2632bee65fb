// SPDX-License-Identifier: Apache-2.0
//
// HostPlace: where on the host something is to be put once the command has ended. The directory is
// opened before the command runs: a build that can write to a directory above (a --bind of the
// source tree, say) must not choose, by a link, where that leads.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/id_map.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

struct HostPlace {
  std::string path;  // for messages
  UniqueFd parent;
  std::string name;  // in `parent`
};

// Opens the directory that is to hold `path`, which is absolute.
Result<HostPlace> FindHostPlace(const std::string& path);

// kExists, unless there is nothing at that place, or an empty directory.
Result<void> CheckFree(const HostPlace& place);

// Moves the directory `source`, relative to `store_fd` (whose path is `store_path`), to the place:
// by rename where both are on one file system, else by copying. A build made it, so setuid and
// setgid bits and capabilities are taken from its files first; returns how many had any. What
// belongs to other ids of `range` (none: of one id) becomes the caller's.
Result<size_t> Deliver(int store_fd, const std::string& store_path, const std::string& source,
                       const HostPlace& place, const std::optional<IdMapping>& range);

}  // namespace strata
