// SPDX-License-Identifier: Apache-2.0
#include "cache/list_directory.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include "base/sys.h"
#include "base/unique_fd.h"

namespace strata {

Result<std::vector<std::string>> ListDirectory(int dir_fd, const std::string& path) {
  std::vector<std::string> names;
  int opened = sys::OpenAt(dir_fd, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (opened == -ENOENT) return names;
  STRATA_ASSIGN(UniqueFd fd, sys::CheckFd(opened, "open", path));
  alignas(dirent64) char buffer[16384];
  for (;;) {
    int64_t size = sys::GetDents(fd.get(), buffer, sizeof buffer);
    if (size == -ENOENT) return names;  // somebody removed it meanwhile
    if (size < 0) return FailSys(static_cast<int>(-size), "getdents64", path);
    if (size == 0) return names;
    for (int64_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      std::string_view name(entry->d_name);
      if (name != "." && name != "..") names.emplace_back(name);
      at += entry->d_reclen;
    }
  }
}

}  // namespace strata
