// SPDX-License-Identifier: Apache-2.0
#include "sandbox/hide_arguments.h"

#include <cstddef>
#include <cstring>

namespace strata {
namespace {

char* g_start = nullptr;
size_t g_size = 0;

// glibc hands main's arguments to constructors, too. The kernel puts the strings one behind the
// other; if somebody has moved one, only those before it are known.
[[gnu::constructor]] void NoteArguments(int argc, char** argv, char**) {
  if (argc == 0 || argv[0] == nullptr) return;
  g_start = argv[0];
  char* end = g_start;
  for (int i = 0; i < argc && argv[i] == end; ++i) end += std::strlen(end) + 1;
  g_size = static_cast<size_t>(end - g_start);
}

}  // namespace

void HideArguments() noexcept {
  if (g_size == 0) return;
  static constexpr char kName[] = "strata";
  std::memset(g_start, 0, g_size);
  std::memcpy(g_start, kName, g_size < sizeof kName ? g_size - 1 : sizeof kName - 1);
}

}  // namespace strata
