// SPDX-License-Identifier: Apache-2.0
#include "base/mount_table.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/io.h"
#include "base/sys.h"

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

// `path` relative to `directory`, with a slash in front; empty where they are the same.
std::optional<std::string_view> Below(std::string_view path, std::string_view directory) {
  if (directory == "/") directory = {};
  if (path.substr(0, directory.size()) != directory) return std::nullopt;
  path.remove_prefix(directory.size());
  if (!path.empty() && path[0] != '/') return std::nullopt;
  return path;
}

std::string Join(std::string_view directory, std::string_view below) {
  if (directory == "/" && !below.empty()) directory = {};
  return fmt::format("{}{}", directory, below);
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
    NextField(&line);  // its parent
    mount.device = NextField(&line);
    mount.root = Unescape(NextField(&line));
    mount.directory = Unescape(NextField(&line));
    while (!line.empty() && NextField(&line) != "-") {  // its options, and any number of tags
    }
    mount.type = NextField(&line);
    NextField(&line);  // its source
    mount.options = NextField(&line);
    if (!mount.type.empty()) mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<MountEntry>> ReadMountTable() {
  STRATA_ASSIGN(std::string text, ReadFile(AT_FDCWD, "/proc/thread-self/mountinfo"));
  return ParseMountTable(text);
}

Result<std::vector<std::string>> PathsOfDirectory(const std::string& real_path) {
  std::vector<std::string> paths = {real_path};
  STRATA_ASSIGN(std::vector<MountEntry> mounts, ReadMountTable());
  // The mount that it is on: the deepest, and of several in one place the last.
  const MountEntry* home = nullptr;
  for (const MountEntry& mount : mounts) {
    if (!Below(real_path, mount.directory)) continue;
    if (home == nullptr || mount.directory.size() >= home->directory.size()) home = &mount;
  }
  struct stat own;
  if (home == nullptr || sys::FstatAt(AT_FDCWD, real_path.c_str(), &own) < 0) return paths;
  const std::string in_device = Join(home->root, *Below(real_path, home->directory));
  for (const MountEntry& mount : mounts) {
    auto below = Below(in_device, mount.root);
    if (mount.device != home->device || !below) continue;
    std::string path = Join(mount.directory, *below);
    struct stat st;
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) continue;
    if (sys::FstatAt(AT_FDCWD, path.c_str(), &st) < 0) continue;
    if (st.st_dev == own.st_dev && st.st_ino == own.st_ino) paths.push_back(std::move(path));
  }
  return paths;
}

}  // namespace strata
