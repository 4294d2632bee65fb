// SPDX-License-Identifier: Apache-2.0
#include "base/numbers.h"

#include <algorithm>
#include <charconv>

namespace strata {

// A float would round, and strtod follows the locale.
std::optional<uint64_t> ParseThousandths(std::string_view text, uint64_t max) {
  size_t point = std::min(text.find('.'), text.size());
  uint64_t whole = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + point, whole);
  if (error != std::errc() || end != text.data() + point || whole > max) return std::nullopt;
  uint64_t thousandths = 0;
  if (point < text.size()) {
    std::string_view digits = text.substr(point + 1);
    if (digits.empty() || digits.size() > 3) return std::nullopt;
    uint64_t scale = 100;
    for (char c : digits) {
      if (c < '0' || c > '9') return std::nullopt;
      thousandths += static_cast<uint64_t>(c - '0') * scale;
      scale /= 10;
    }
  }
  return whole * 1000 + thousandths;
}

Result<uint64_t> ParseSize(std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  std::string_view number = text;
  unsigned shift = 0;
  char last = text.empty() ? '\0' : text.back();
  if (last >= 'a' && last <= 'z') last = static_cast<char>(last - 'a' + 'A');
  if (size_t unit = kUnits.find(last); unit != std::string_view::npos) {
    shift = static_cast<unsigned>(10 * (unit + 1));
    number.remove_suffix(1);
  }
  if (shift == 0 && number.find('.') != std::string_view::npos) number = {};  // half a byte
  auto thousandths = ParseThousandths(number, (INT64_MAX / 1000 - 1) >> shift);
  if (!thousandths) {
    return Fail(Errc::kInvalid, "'{}' is not a size (bytes, or a number with K, M, G or T)", text);
  }
  return (*thousandths << shift) / 1000;
}

std::string FormatSize(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double size = static_cast<double>(bytes) / 1024;
  const char* unit = "KMGTPE";
  while (size >= 999.5 && unit[1] != '\0') {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}B", size, size < 9.95 ? 1 : 0, *unit);
}

}  // namespace strata
