// SPDX-License-Identifier: Apache-2.0
//
// Paths as strings: no file system is touched.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

// Splits a path inside a tree, of an archive entry or option into its components: "." and empty
// ones are dropped; a "..", a NUL byte, a component over 255 bytes or a path over 4095 is an error
// (kHostile). A leading '/' is dropped. "/" and "." give no components.
Result<std::vector<std::string_view>> SplitPath(std::string_view path);

// SplitPath and joined again with '/': "./usr//bin/" becomes "usr/bin", "/" becomes "".
Result<std::string> CleanPath(std::string_view path);

// `path` behind the working directory, unless it begins with '/': for what must still lead there
// when that has changed. Not cleaned, and no link is followed. "" and "." are the working directory
// itself.
Result<std::string> AbsolutePath(std::string_view path);

// For messages and for `strata files`: control characters, backslashes and invalid UTF-8 as \xNN.
std::string QuotePath(std::string_view path);

}  // namespace strata
