// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/print.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/sys.h"

namespace strata {
namespace {

bool UseColour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view(term) == "dumb") return false;
  return ::isatty(fd) == 1;
}

void AppendSafe(std::string& out, std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    // The second half is U+0080 to U+009F, which start escape sequences as ESC does.
    bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) {
      out += fmt::format("\\xc2\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += text[i];
    }
  }
}

// A failure to complain has nobody to be told to.
void WriteToStderr(std::string_view text) {
  while (!text.empty()) {
    int64_t written = sys::Write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

std::string Label(std::string_view label, const char* colour) {
  if (!UseColour(STDERR_FILENO)) return std::string(label);
  return fmt::format("\x1b[{}m{}\x1b[0m", colour, label);
}

constexpr char kRed[] = "1;31";
constexpr char kYellow[] = "1;33";
constexpr char kCyan[] = "36";

}  // namespace

void Output::WriteOut() {
  std::string_view left(buffer_.data(), buffer_.size());
  while (!left.empty() && sys_errno_ == 0) {
    int64_t written = sys::Write(fd_, left.data(), left.size());
    if (written < 0) {
      sys_errno_ = static_cast<int>(-written);
    } else {
      left.remove_prefix(static_cast<size_t>(written));
    }
  }
  buffer_.clear();
}

Result<void> Output::Flush() {
  WriteOut();
  if (sys_errno_ != 0) return FailSys(std::exchange(sys_errno_, 0), "write", "standard output");
  return {};
}

void PrintError(const Error& error) {
  std::string text = Label("strata:", kRed) + ' ';
  AppendSafe(text, error.message());
  text += '\n';
  if (!error.hint().empty()) {
    text += Label("hint:", kCyan) + ' ';
    std::string_view hint = error.hint();
    for (size_t end; (end = hint.find('\n')) != hint.npos; hint.remove_prefix(end + 1)) {
      AppendSafe(text, hint.substr(0, end));
      text += "\n      ";
    }
    AppendSafe(text, hint);
    text += '\n';
  }
  WriteToStderr(text);
}

void PrintWarning(std::string_view warning) {
  std::string text = Label("strata: warning:", kYellow) + ' ';
  AppendSafe(text, warning);
  text += '\n';
  WriteToStderr(text);
}

void PrintCommandOutput(std::string_view line) {
  std::string text;
  for (size_t tab; (tab = line.find('\t')) != line.npos; line.remove_prefix(tab + 1)) {
    AppendSafe(text, line.substr(0, tab));
    text += '\t';
  }
  AppendSafe(text, line);
  text += '\n';
  WriteToStderr(text);
}

}  // namespace strata
