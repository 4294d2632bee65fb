// SPDX-License-Identifier: Apache-2.0
//
// The same overlay twice at one place. containers/storage takes a mount by its mount program for
// FUSE, does not find one, and so asks for a second one at the place where the first is, to compare
// a running container with its image. Two overlays with one upper directory are not defined; so the
// first one is shown once more, and unmounting that leaves the first as it was.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "tools/strata-mount/options.h"

namespace strata::mount {

// Whether the target had an overlay with that upper (or, for a read-only mount, with the first
// lower as its upper) and the same lowers, and now has it twice.
Result<bool> ShowSameOverlay(const Request& request);

uint64_t MountIdAt(const std::string& path);  // 0 where it cannot be told
Result<bool> IsMounted(uint64_t mount_id);

}  // namespace strata::mount
