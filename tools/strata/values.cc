// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/values.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>

namespace strata {
Result<uint64_t> ParseNumber(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range || (error == std::errc() && value > max)) {
    return Fail(Errc::kInvalid, "'{}' is too large: {} is the limit", text, max);
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return Fail(Errc::kInvalid, "'{}' is not a whole number", text);
  }
  return value;
}

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  constexpr uint64_t kTenYears = 10ULL * 366 * 24 * 3600;
  std::string_view number = text;
  char last = text.empty() ? '\0' : text.back();
  uint64_t unit = last == 'm' ? 60 : last == 'h' ? 3600 : 1;
  if (last == 's' || last == 'm' || last == 'h') number.remove_suffix(1);
  auto milliseconds = ParseThousandths(number, kTenYears / unit);
  if (!milliseconds) {
    return Fail(Errc::kInvalid, "'{}' is not a time (seconds, or a number with s, m or h)", text);
  }
  return std::chrono::milliseconds(*milliseconds * unit);
}

Result<int64_t> ParseEpoch(std::string_view text) {
  constexpr uint64_t kEndOf9999 = 253402300799;
  auto seconds = ParseNumber(text, kEndOf9999);
  if (!seconds) return Fail(Errc::kInvalid, "'{}' is not a time in seconds since 1970", text);
  return static_cast<int64_t>(*seconds);
}

Result<uint32_t> ParseId(std::string_view text) {
  STRATA_ASSIGN(uint64_t id, ParseNumber(text, UINT32_MAX - 1));  // the last one means "no id"
  return static_cast<uint32_t>(id);
}

Result<std::pair<std::string_view, std::string_view>> ParseKeyValue(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Fail(Errc::kInvalid, "'{}' is not KEY=VALUE", text);
  }
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

std::string FormatTime(int64_t seconds) {
  time_t time = seconds;
  struct tm local;
  if (::localtime_r(&time, &local) == nullptr) return fmt::format("@{}", seconds);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", local.tm_year + 1900, local.tm_mon + 1,
                     local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
}

}  // namespace strata
