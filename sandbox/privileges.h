// SPDX-License-Identifier: Apache-2.0
//
// What a cloned child gives up. No heap; 0 or -errno, with `failure` filled in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/child_report.h"

namespace strata {

// Takes all but `capabilities` (a mask) out of the bounding set, which exec cannot go beyond.
int DropBoundingSet(uint64_t capabilities, ChildFailure* failure) noexcept;

// Closes everything above 2 but `kept`, ascending.
void CloseAllBut(const int* kept, size_t count) noexcept;

}  // namespace strata
