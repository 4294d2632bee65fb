// SPDX-License-Identifier: Apache-2.0
//
// Removes a directory tree that the caller owns, or that ids own which /etc/subuid gives to the caller
// (that takes newuidmap, and some milliseconds), whatever its modes (0000, 0555: they are widened first).
// Never follows a link, never goes into what is mounted somewhere in the tree: that is an
// error (EBUSY), and it stays with what leads to it.
#pragma once

#include <string>

#include "base/result.h"

namespace strata {

// A missing tree is not an error. The first failure is reported, after removing all the rest.
Result<void> RemoveTree(int parent_fd, const std::string& name);

}  // namespace strata
