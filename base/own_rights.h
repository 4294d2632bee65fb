// SPDX-License-Identifier: Apache-2.0
//
// Work on files of the caller's own that their modes shut (0000, 0555): root is not stopped by
// modes, and in a user namespace of one's own everybody is root over the own files. The process
// itself cannot go there and back, so the work is done in a child.
#pragma once

#include <functional>

#include "base/result.h"

namespace strata {

// Runs `work` in a forked child that has all rights over the caller's files, and returns what it
// returned. Memory that it changes is the child's; files and locks (flock) are shared. The child
// may use threads.
Result<void> RunWithOwnRights(const std::function<Result<void>()>& work);

}  // namespace strata
