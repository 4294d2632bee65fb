// SPDX-License-Identifier: Apache-2.0
//
// "did you mean ...?"
#pragma once

#include <span>
#include <string_view>

namespace strata {

// The one of `names` that `given` is most likely a misspelling of; empty when none is near.
std::string_view Nearest(std::string_view given, std::span<const std::string_view> names);

}  // namespace strata
