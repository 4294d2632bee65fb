// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/input.h"

#include <cstdlib>

#include "base/sys.h"
#include "tools/strata-bwrap/message.h"

namespace strata::bwrap {

DataText ReadData(int fd, const char* what) {
  size_t size = 0;
  size_t room = 16384;
  char* text = static_cast<char*>(std::malloc(room));
  for (;;) {
    if (text == nullptr) Die("Out of memory");
    const int64_t got = sys::Read(fd, text + size, room - 1 - size);
    if (got < 0) DieWith(static_cast<int>(got), "%s", what);
    if (got == 0) break;
    size += static_cast<size_t>(got);
    if (size + 1 == room) text = static_cast<char*>(std::realloc(text, room *= 2));
  }
  text[size] = '\0';
  return {text, size};
}

sock_fprog ReadFilter(int fd, FilterData* data) noexcept {
  char* bytes = reinterpret_cast<char*>(data->code);
  size_t size = 0;
  while (size < sizeof data->code) {
    const int64_t got = sys::Read(fd, bytes + size, sizeof data->code - size);
    if (got < 0) DieWith(static_cast<int>(got), "Can't read seccomp data");
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size % sizeof(sock_filter) != 0) Die("Invalid seccomp data, must be multiple of 8");
  return {static_cast<unsigned short>(size / sizeof(sock_filter)), data->code};
}

}  // namespace strata::bwrap
