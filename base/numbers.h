// SPDX-License-Identifier: Apache-2.0
//
// Numbers that people write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace strata {

// "12" or "12.5" in thousandths, up to `max` units; nothing else.
std::optional<uint64_t> ParseThousandths(std::string_view text, uint64_t max);

// "4096", "64K", "1.5G": bytes, with K, M, G or T for powers of 1024 (lower case too). kInvalid.
Result<uint64_t> ParseSize(std::string_view text);

// For people: "512 B", "1.5 KB" (powers of 1024, as ls -h).
std::string FormatSize(uint64_t bytes);

}  // namespace strata
