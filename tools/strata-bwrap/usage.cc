// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/sys.h"
#include "tools/strata-bwrap/option_texts.h"
#include "tools/strata-bwrap/options.h"

namespace strata::bwrap {
namespace {

// `text` from column 32 on, in lines of at most 100 columns.
void PrintWrapped(FILE* to, std::string_view text) {
  constexpr size_t kWidth = 68;
  while (text.size() > kWidth) {
    const size_t end = text.rfind(' ', kWidth);
    static_cast<void>(std::fprintf(to, "%.*s\n%32s", static_cast<int>(end), text.data(), ""));
    text.remove_prefix(end + 1);
  }
  static_cast<void>(std::fprintf(to, "%.*s\n", static_cast<int>(text.size()), text.data()));
}

void PrintUsage(FILE* to, const char* argv0) {
  static_cast<void>(std::fprintf(to, "usage: %s [OPTIONS...] [--] COMMAND [ARGS...]\n\n%s\n", argv0,
                                 kDescription));
  for (const OptionText& option : kOptionTexts) {
    if (option.group != nullptr) static_cast<void>(std::fprintf(to, "\n%s\n", option.group));
    static_cast<void>(std::fprintf(to, "  %-30s", option.form));
    if (std::strlen(option.form) > 29) static_cast<void>(std::fprintf(to, "\n%32s", ""));
    PrintWrapped(to, option.help);
  }
}

[[noreturn]] void Exit(int status) {
  // What could not be written (to a full disk, a closed pipe) is a failure.
  sys::ExitNow(std::fflush(nullptr) != 0 || std::ferror(stdout) != 0 ? 1 : status);
}

}  // namespace

void PrintHelp(const char* argv0) {
  PrintUsage(stdout, argv0);
  Exit(0);
}

void PrintUsageError(const char* argv0) {
  PrintUsage(stderr, argv0);
  Exit(1);
}

void PrintVersion() {
  std::puts("bubblewrap 0.11.1");
  Exit(0);
}

}  // namespace strata::bwrap
