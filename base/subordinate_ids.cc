// SPDX-License-Identifier: Apache-2.0
#include "base/subordinate_ids.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace strata {
namespace {

// A map is one write of less than a page, and a line of it has up to 33 bytes. (Since Linux 4.15 it
// may have 340 lines.)
constexpr size_t kMaxRanges = 100;
constexpr uint64_t kNoId = UINT32_MAX;  // (uid_t)-1 is no id

std::optional<uint64_t> ParseId(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value > kNoId) return std::nullopt;
  return value;
}

template <typename Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// What is left of [first, end) by taking away all of `taken`.
using Span = std::pair<uint64_t, uint64_t>;
std::vector<Span> Subtract(Span span, const std::vector<Span>& taken) {
  std::vector<Span> left = {span};
  for (const auto& [first, end] : taken) {
    std::vector<Span> next;
    for (const Span& piece : left) {
      if (piece.first < std::min(piece.second, first)) {
        next.emplace_back(piece.first, std::min(piece.second, first));
      }
      if (std::max(piece.first, end) < piece.second) {
        next.emplace_back(std::max(piece.first, end), piece.second);
      }
    }
    left = std::move(next);
  }
  return left;
}

std::vector<Span> Intersect(Span span, const std::vector<IdRange>& current) {
  std::vector<Span> both;
  for (const IdRange& range : current) {
    const Span piece{std::max<uint64_t>(span.first, range.inside),
                     std::min<uint64_t>(span.second, uint64_t{range.inside} + range.count)};
    if (piece.first < piece.second) both.push_back(piece);
  }
  std::sort(both.begin(), both.end());
  return both;
}

}  // namespace

std::vector<IdRange> ParseSubordinateRanges(std::string_view text, std::string_view name,
                                            uint32_t id) {
  std::vector<IdRange> ranges;
  const std::string number = std::to_string(id);
  ForEachLine(text, [&](std::string_view line) {
    const size_t second = line.find(':');
    if (second == std::string_view::npos) return;
    const size_t third = line.find(':', second + 1);
    if (third == std::string_view::npos) return;
    const std::string_view owner = line.substr(0, second);
    if (owner.empty() || (owner != name && owner != number)) return;
    const auto first = ParseId(line.substr(second + 1, third - second - 1));
    const auto count = ParseId(line.substr(third + 1));
    if (!first || !count || *count == 0 || *first + *count > kNoId) return;
    ranges.push_back({0, static_cast<uint32_t>(*first), static_cast<uint32_t>(*count)});
  });
  return ranges;
}

std::string FindUserName(std::string_view passwd, uint32_t uid) {
  std::string name;
  const std::string number = std::to_string(uid);
  ForEachLine(passwd, [&](std::string_view line) {
    std::array<std::string_view, 3> fields;  // name, password, uid
    for (std::string_view& field : fields) {
      const size_t end = std::min(line.find(':'), line.size());
      field = line.substr(0, end);
      line.remove_prefix(std::min(end + 1, line.size()));
    }
    if (name.empty() && fields[2] == number) name = fields[0];
  });
  return name;
}

std::vector<IdRange> ParseIdMap(std::string_view text) {
  std::vector<IdRange> ranges;
  ForEachLine(text, [&](std::string_view line) {
    uint64_t fields[3] = {};
    for (uint64_t& field : fields) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const size_t end = std::min(line.find(' '), line.size());
      const auto value = ParseId(line.substr(0, end));
      if (!value) return;
      field = *value;
      line.remove_prefix(end);
    }
    ranges.push_back({static_cast<uint32_t>(fields[0]), static_cast<uint32_t>(fields[1]),
                      static_cast<uint32_t>(fields[2])});
  });
  return ranges;
}

std::vector<IdRange> JoinSubordinateRanges(uint32_t own, const std::vector<IdRange>& ranges,
                                           const std::vector<IdRange>& current) {
  std::vector<IdRange> map = {{0, own, 1}};
  std::vector<Span> taken = {{own, uint64_t{own} + 1}};
  uint64_t inside = 1;
  for (const IdRange& range : ranges) {
    const Span whole{range.outside, uint64_t{range.outside} + range.count};
    for (const Span& part : Intersect(whole, current)) {
      for (const auto& [first, end] : Subtract(part, taken)) {
        const uint64_t count = std::min(end - first, kNoId - inside);
        if (map.size() == kMaxRanges || count == 0) return map;
        map.push_back({static_cast<uint32_t>(inside), static_cast<uint32_t>(first),
                       static_cast<uint32_t>(count)});
        inside += count;
      }
      taken.push_back(part);
    }
  }
  return map;
}

std::vector<IdRange> IdentityRanges(const std::vector<IdRange>& current) {
  std::vector<IdRange> map;
  for (const auto& [first, end] : Intersect({0, 65536}, current)) {
    if (map.size() == kMaxRanges) break;
    map.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(first),
                   static_cast<uint32_t>(end - first)});
  }
  return map;
}

}  // namespace strata
