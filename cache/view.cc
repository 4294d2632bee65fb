// SPDX-License-Identifier: Apache-2.0
#include "cache/view.h"

#include <algorithm>

#include "base/path.h"

namespace strata {
namespace {

constexpr std::string_view kAt = "at=";
constexpr std::string_view kOnly = "only=";
constexpr size_t kLongestGlob = 4095;  // as a path

// The next ":at=" or ":only=" from `from` on.
size_t NextPart(std::string_view text, size_t from) {
  return std::min(text.find(":at=", from), text.find(":only=", from));
}

Result<std::string> ParsePrefix(std::string_view prefix) {
  if (prefix.empty() || prefix.front() != '/') {
    return Unexpected(
        Error(Errc::kInvalid, fmt::format("at={}: not an absolute path", QuotePath(prefix)))
            .Hint(fmt::format("at=/{}", QuotePath(prefix))));
  }
  auto path = CleanPath(prefix);
  if (!path) {
    return Fail(Errc::kInvalid, "at={}: {}", QuotePath(prefix), path.error().message());
  }
  return path;
}

Unexpected BadGlob(std::string_view text, std::string_view why) {
  return Fail(Errc::kInvalid, "only={}: {}", QuotePath(text), why);
}

}  // namespace

// --- Glob

Result<Glob> Glob::Parse(std::string_view text) {
  std::string_view pattern = text;
  while (!pattern.empty() && pattern.front() == '/') pattern.remove_prefix(1);
  while (!pattern.empty() && pattern.back() == '/') pattern.remove_suffix(1);
  if (pattern.empty()) return BadGlob(text, "an empty pattern");
  if (pattern.size() > kLongestGlob) return BadGlob("...", "the pattern is too long");

  Glob glob;
  glob.text_ = pattern;
  for (size_t at = 0; at < pattern.size();) {
    const bool at_start = at == 0 || pattern[at - 1] == '/';
    const char c = pattern[at];
    if (at_start) {
      size_t end = std::min(pattern.find('/', at), pattern.size());
      std::string_view component = pattern.substr(at, end - at);
      if (component.empty() || component == "." || component == "..") {
        return BadGlob(text, "an empty, '.' or '..' part matches nothing");
      }
      if (component == "**" && end < pattern.size()) glob.tokens_.push_back({Token::Kind::kMaybe});
    }
    if (c == '*') {
      size_t stars = at;
      while (at < pattern.size() && pattern[at] == '*') ++at;
      glob.tokens_.push_back({at - stars > 1 ? Token::Kind::kGlobstar : Token::Kind::kStar});
    } else if (c == '?') {
      glob.tokens_.push_back({Token::Kind::kAny});
      ++at;
    } else if (c == '[') {
      auto end = glob.ParseSet(pattern, at);
      if (!end) return BadGlob(text, end.error().message());
      at = *end;
    } else {
      if (c == '\\' && ++at == pattern.size()) return BadGlob(text, "it ends with a '\\'");
      glob.tokens_.push_back({Token::Kind::kByte, static_cast<uint8_t>(pattern[at])});
      ++at;
    }
  }
  return glob;
}

// `at` is the place of the '['. Returns what follows the ']'.
Result<size_t> Glob::ParseSet(std::string_view text, size_t at) {
  ByteSet set(256, false);
  ++at;
  const bool negated = at < text.size() && (text[at] == '!' || text[at] == '^');
  if (negated) ++at;
  auto next_byte = [&]() -> int {
    if (at < text.size() && text[at] == '\\') ++at;
    return at < text.size() ? static_cast<uint8_t>(text[at++]) : -1;
  };
  for (bool first = true;; first = false) {
    if (at >= text.size()) return Fail(Errc::kInvalid, "a '[' without its ']'");
    if (text[at] == ']' && !first) break;
    int low = next_byte();
    int high = low;
    if (at + 1 < text.size() && text[at] == '-' && text[at + 1] != ']') {
      ++at;
      high = next_byte();
    }
    if (low < 0 || high < 0) return Fail(Errc::kInvalid, "a '[' without its ']'");
    if (low > high) return Fail(Errc::kInvalid, "a range in '[]' that runs backwards");
    for (int byte = low; byte <= high; ++byte) set[static_cast<size_t>(byte)] = true;
  }
  if (negated) set.flip();
  set['/'] = false;
  tokens_.push_back({Token::Kind::kSet, 0, static_cast<uint16_t>(sets_.size())});
  sets_.push_back(std::move(set));
  return at + 1;
}

bool Glob::Takes(const Token& token, uint8_t byte) const {
  switch (token.kind) {
    case Token::Kind::kByte:
      return token.byte == byte;
    case Token::Kind::kAny:
    case Token::Kind::kStar:
      return byte != '/';
    case Token::Kind::kSet:
      return sets_[token.set][byte];
    case Token::Kind::kGlobstar:
      return true;
    case Token::Kind::kMaybe:
      return false;
  }
  return false;
}

// All places in the pattern at which a match can stand, moved on byte by byte: no pattern makes it
// slow.
bool Glob::Matches(std::string_view path) const {
  const size_t end = tokens_.size();
  std::vector<uint8_t> here(end + 1, 0);
  std::vector<uint8_t> next;
  here[0] = 1;
  auto skip = [&](std::vector<uint8_t>& places) {  // what may match nothing
    for (size_t i = 0; i < end; ++i) {
      if (places[i] == 0) continue;
      const Token::Kind kind = tokens_[i].kind;
      if (kind == Token::Kind::kStar || kind == Token::Kind::kGlobstar) places[i + 1] = 1;
      if (kind == Token::Kind::kMaybe) places[i + 1] = places[i + 3] = 1;  // the `**` and its '/'
    }
  };
  skip(here);
  for (char c : path) {
    const uint8_t byte = static_cast<uint8_t>(c);
    next.assign(end + 1, 0);
    bool any = false;
    for (size_t i = 0; i < end; ++i) {
      if (here[i] == 0 || !Takes(tokens_[i], byte)) continue;
      const Token::Kind kind = tokens_[i].kind;
      next[kind == Token::Kind::kStar || kind == Token::Kind::kGlobstar ? i : i + 1] = 1;
      any = true;
    }
    if (!any) return false;
    skip(next);
    here.swap(next);
  }
  return here[end] != 0;
}

// --- View

bool View::Keeps(std::string_view path) const {
  return std::any_of(only.begin(), only.end(),
                     [&](const Glob& glob) { return glob.Matches(path); });
}

std::string View::Canonical() const {
  std::string text;
  if (!at.empty()) text = fmt::format("{}/{}", kAt, at);
  for (const Glob& glob : only) {
    if (!text.empty()) text += ':';
    text += kOnly;
    text += glob.text();
  }
  return text;
}

Result<View> ParseView(std::string_view text) {
  View view;
  bool moved = false;
  for (size_t start = 0; start <= text.size();) {
    size_t end = std::min(NextPart(text, start), text.size());
    std::string_view part = text.substr(start, end - start);
    if (part.starts_with(kAt)) {
      if (moved) return Fail(Errc::kInvalid, "two at= in one view");
      moved = true;
      STRATA_ASSIGN(view.at, ParsePrefix(part.substr(kAt.size())));
    } else if (part.starts_with(kOnly)) {
      STRATA_ASSIGN(Glob glob, Glob::Parse(part.substr(kOnly.size())));
      view.only.push_back(std::move(glob));
    } else {
      return Fail(Errc::kInvalid, "'{}' is neither at=/prefix nor only=GLOB", QuotePath(part));
    }
    start = end + 1;
  }
  std::sort(view.only.begin(), view.only.end(),
            [](const Glob& a, const Glob& b) { return a.text() < b.text(); });
  view.only.erase(std::unique(view.only.begin(), view.only.end(),
                              [](const Glob& a, const Glob& b) { return a.text() == b.text(); }),
                  view.only.end());
  return view;
}

size_t FindView(std::string_view layer) {
  return NextPart(layer, 0);
}

}  // namespace strata
