// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/message.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/sys.h"

namespace strata::bwrap {

bool level_prefix = false;

namespace {

enum Level { kError = 3, kWarning = 4 };

class Text {
 public:
  [[gnu::format(printf, 2, 3)]] void Add(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    AddList(format, args);
    va_end(args);
  }
  [[gnu::format(printf, 2, 0)]] void AddList(const char* format, va_list args) noexcept {
    int size = std::vsnprintf(text_ + used_, sizeof text_ - 1 - used_, format, args);
    if (size > 0) used_ = std::min(used_ + static_cast<size_t>(size), sizeof text_ - 2);
  }
  void Write() noexcept {
    text_[used_++] = '\n';
    sys::Write(2, text_, used_);
  }

 private:
  char text_[8192];
  size_t used_ = 0;
};

[[gnu::format(printf, 2, 0)]] void Start(Level level, const char* format, va_list args,
                                         Text* text) noexcept {
  if (level_prefix) text->Add("<%d>", level);
  text->Add("bwrap: ");
  text->AddList(format, args);
}

const char* Reason(int error) noexcept {
  const char* known = ::strerrordesc_np(std::abs(error));
  return known != nullptr ? known : "Unknown error";
}

}  // namespace

void Die(const char* format, ...) noexcept {
  Text text;
  va_list args;
  va_start(args, format);
  Start(kError, format, args, &text);
  va_end(args);
  text.Write();
  sys::ExitNow(1);
}

void DieWith(int error, const char* format, ...) noexcept {
  Text text;
  va_list args;
  va_start(args, format);
  Start(kError, format, args, &text);
  va_end(args);
  text.Add(": %s", Reason(error));
  text.Write();
  sys::ExitNow(1);
}

void DieMount(int error, const char* format, ...) noexcept {
  Text text;
  va_list args;
  va_start(args, format);
  Start(kError, format, args, &text);
  va_end(args);
  if (std::abs(error) == ENOSPC) {
    text.Add(": Limit exceeded (ENOSPC). (Hint: see /proc/sys/fs/mount-max)");
  } else {
    text.Add(": %s", Reason(error));
  }
  text.Write();
  sys::ExitNow(1);
}

void Warn(const char* format, ...) noexcept {
  Text text;
  va_list args;
  va_start(args, format);
  Start(kWarning, format, args, &text);
  va_end(args);
  text.Write();
}

}  // namespace strata::bwrap
