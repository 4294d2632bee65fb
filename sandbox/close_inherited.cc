// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/sys.h"
#include "sandbox/privileges.h"

namespace strata {
namespace {

// Without close_range (Linux before 5.9, or a container's filter): one by one, as /proc lists them.
void CloseListed(const int* kept, size_t count) noexcept {
  const int listing = sys::OpenAt(AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
  alignas(dirent64) char buffer[4096];
  for (;;) {
    const int64_t size = listing < 0 ? listing : sys::GetDents(listing, buffer, sizeof buffer);
    if (size < 0) {
      // There is nothing to go by: what a process may have by default, then.
      for (int fd = 3; fd < 1 << 16; ++fd) {
        if (!std::binary_search(kept, kept + count, fd)) ::close(fd);
      }
    }
    if (size <= 0) break;
    const dirent64* entry;
    for (int64_t at = 0; at < size; at += entry->d_reclen) {
      entry = reinterpret_cast<const dirent64*>(buffer + at);
      const int fd = std::atoi(entry->d_name);  // "." and ".." are 0
      if (fd > 2 && fd != listing && !std::binary_search(kept, kept + count, fd)) ::close(fd);
    }
  }
  if (listing >= 0) ::close(listing);
}

}  // namespace

void CloseAllBut(const int* kept, size_t count) noexcept {
  unsigned next = 3;
  int rc = 0;
  for (size_t i = 0; i < count && rc == 0; ++i) {
    if (kept[i] < 3) continue;
    const unsigned keep = static_cast<unsigned>(kept[i]);
    if (keep > next) rc = sys::CloseRange(next, keep - 1, 0);
    next = keep + 1;
  }
  if (rc == 0) rc = sys::CloseRange(next, ~0U, 0);
  if (rc < 0) CloseListed(kept, count);
}

}  // namespace strata
