// SPDX-License-Identifier: Apache-2.0
//
// The values that options take, from text. Errors are of code kInvalid and name the value; the
// caller puts the option's name in front.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/numbers.h"  // ParseSize, FormatSize
#include "base/result.h"

namespace strata {

// A whole number from 0 to `max`.
Result<uint64_t> ParseNumber(std::string_view text, uint64_t max = UINT64_MAX);

// "90", "1.5s", "10m", "2h": seconds, unless a unit says otherwise. At most ten years.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);

// Seconds since 1970, as in $SOURCE_DATE_EPOCH, up to the year 9999.
Result<int64_t> ParseEpoch(std::string_view text);

// A user or group id: 0 to 2^32 - 2.
Result<uint32_t> ParseId(std::string_view text);

// "KEY=VALUE": KEY is not empty. The views point into `text`.
Result<std::pair<std::string_view, std::string_view>> ParseKeyValue(std::string_view text);

// For people: "2026-11-21 21:29:46" in local time.
std::string FormatTime(int64_t seconds);

}  // namespace strata
