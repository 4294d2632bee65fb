// SPDX-License-Identifier: Apache-2.0
//
// Copies a tree with everything that belongs to it (modes, times, links, hard links, user.*
// attributes, sparse and shared blocks where the file system has them): `cp -a`, which does that well.
#pragma once

#include <string>

#include "base/result.h"

namespace strata {

// The content of directory `from` into the existing directory `to`.
Result<void> CopyTree(const std::string& from, const std::string& to);

}  // namespace strata
