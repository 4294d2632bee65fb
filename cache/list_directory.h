// SPDX-License-Identifier: Apache-2.0
//
// The names in a directory, without "." and "..", in no order. One that is missing is empty.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace strata {

// The directory `path` below `dir_fd`.
Result<std::vector<std::string>> ListDirectory(int dir_fd, const std::string& path);

}  // namespace strata
