// SPDX-License-Identifier: Apache-2.0
//
// What strata says: results on standard output (Output), complaints on standard error.
//
// Colour only on a terminal, and not with $NO_COLOR or TERM=dumb. Control characters in messages
// are written as \xNN: file names of a hostile archive must not reach a terminal as commands.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "base/result.h"

namespace strata {

// Buffered writing to a descriptor, which is not owned. A failed write is kept for Flush to report;
// what is printed after it is dropped.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  template <typename... Args>
  void Print(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(buffer_), format, std::forward<Args>(args)...);
    if (buffer_.size() >= kFull) WriteOut();
  }
  void Write(std::string_view text) {
    buffer_.append(text.data(), text.data() + text.size());
    if (buffer_.size() >= kFull) WriteOut();
  }
  Result<void> Flush();

 private:
  static constexpr size_t kFull = 64 << 10;
  void WriteOut();

  int fd_;
  int sys_errno_ = 0;
  fmt::memory_buffer buffer_;
};

// "strata: MESSAGE" and, where there is one, "hint: HINT", each line of which is on its own. One write, so that lines of several
// processes do not mix.
void PrintError(const Error& error);
// "strata: warning: TEXT"
void PrintWarning(std::string_view text);
// A line of what a command said that works for strata, on standard error.
void PrintCommandOutput(std::string_view line);

}  // namespace strata
