// SPDX-License-Identifier: Apache-2.0
#include "base/path.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace strata {

Result<std::vector<std::string_view>> SplitPath(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) {
    return Fail(Errc::kHostile, "{}: a name with a NUL byte", QuotePath(path));
  }
  if (path.size() > 4095) {
    return Fail(Errc::kHostile, "{}...: a path of {} bytes; 4095 is the limit",
                QuotePath(path.substr(0, 60)), path.size());
  }
  std::vector<std::string_view> components;
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = path.find('/', at);
    if (slash == std::string_view::npos) slash = path.size();
    std::string_view component = path.substr(at, slash - at);
    at = slash + 1;
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      return Fail(Errc::kHostile, "{}: a path with '..'", QuotePath(path));
    }
    if (component.size() > 255) {
      return Fail(Errc::kHostile, "{}...: a name of {} bytes; 255 is the limit",
                  QuotePath(path.substr(0, 60)), component.size());
    }
    components.push_back(component);
  }
  return components;
}

Result<std::string> CleanPath(std::string_view path) {
  STRATA_ASSIGN(std::vector<std::string_view> components, SplitPath(path));
  std::string clean;
  for (std::string_view component : components) {
    if (!clean.empty()) clean += '/';
    clean += component;
  }
  return clean;
}

namespace {

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0.
size_t Utf8Length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  size_t length = lead < 0x80   ? 1
                  : lead < 0xc2 ? 0
                  : lead < 0xe0 ? 2
                  : lead < 0xf0 ? 3
                  : lead < 0xf5 ? 4
                                : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogate
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

}  // namespace

Result<std::string> AbsolutePath(std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  char* current = ::getcwd(nullptr, 0);
  if (current == nullptr) return FailSys(errno, "getcwd");
  std::string absolute = current;
  std::free(current);
  if (!path.empty() && path != ".") absolute.append("/").append(path);
  return absolute;
}

std::string QuotePath(std::string_view path) {
  std::string quoted;
  while (!path.empty()) {
    size_t length = Utf8Length(path);
    unsigned char c = static_cast<unsigned char>(path[0]);
    // U+0080 to U+009F start escape sequences in many a terminal, as ESC does.
    bool c1 = length == 2 && c == 0xc2 && static_cast<unsigned char>(path[1]) < 0xa0;
    if (length == 0 || c1 || c < 0x20 || c == 0x7f || c == '\\') {
      quoted += fmt::format("\\x{:02x}", c);
      path.remove_prefix(1);
    } else {
      quoted += path.substr(0, length);
      path.remove_prefix(length);
    }
  }
  return quoted;
}

}  // namespace strata
