// SPDX-License-Identifier: Apache-2.0
#include "stager/mount_table.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "base/io.h"

namespace strata {
namespace {

// Blanks, newlines and backslashes stand as \ and three octal digits.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    int value = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(digits, digits + 3, value, 8).ptr == digits + 3) {
      plain += static_cast<char>(value);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string_view NextField(std::string_view* line) {
  size_t end = std::min(line->find(' '), line->size());
  std::string_view field = line->substr(0, end);
  line->remove_prefix(std::min(end + 1, line->size()));
  return field;
}

}  // namespace

std::vector<MountEntry> ParseMountTable(std::string_view mountinfo) {
  std::vector<MountEntry> mounts;
  while (!mountinfo.empty()) {
    size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    MountEntry mount;
    std::string_view id = NextField(&line);
    auto parsed = std::from_chars(id.data(), id.data() + id.size(), mount.id);
    if (id.empty() || parsed.ptr != id.data() + id.size()) continue;
    for (int skipped = 0; skipped < 3; ++skipped) NextField(&line);  // parent, device, root
    mount.directory = Unescape(NextField(&line));
    while (!line.empty() && NextField(&line) != "-") {  // its options, and any number of tags
    }
    mount.type = NextField(&line);
    if (!mount.type.empty()) mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<MountEntry>> ReadMountTable() {
  STRATA_ASSIGN(std::string text, ReadFile(AT_FDCWD, "/proc/self/mountinfo"));
  return ParseMountTable(text);
}

}  // namespace strata
