// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "base/path.h"
#include "base/sys.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

using namespace std::chrono_literals;

bool CanShow() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) != "dumb" && ::isatty(STDERR_FILENO) == 1;
}

size_t TerminalWidth() {
  struct winsize size {};
  if (sys::Ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string Grouped(uint64_t number) {
  std::string digits = fmt::format("{}", number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string Left(double seconds) {
  auto whole = static_cast<uint64_t>(seconds) + 1;
  if (whole < 100) return fmt::format("{} s left", whole);
  if (whole < 6000) return fmt::format("{}:{:02} min left", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h left", whole / 3600, whole % 3600 / 60);
}

// Cuts at a byte, but never inside a UTF-8 sequence.
void Cut(std::string& text, size_t width) {
  if (text.size() <= width) return;
  while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xc0) == 0x80) --width;
  text.resize(width);
}

}  // namespace

std::string ProgressText(const std::string& label, uint64_t bytes, uint64_t total_bytes,
                         uint64_t entries, double seconds, uint64_t total_entries) {
  if (total_entries != 0 && bytes == 0) {
    std::string text =
        fmt::format("{}: {} of {} entries", label, Grouped(entries), Grouped(total_entries));
    double speed = seconds > 0 ? static_cast<double>(entries) / seconds : 0;
    if (speed >= 1 && total_entries > entries) {
      text += fmt::format(", {}", Left(static_cast<double>(total_entries - entries) / speed));
    }
    return text;
  }
  std::string text = fmt::format("{}: {}", label, FormatSize(bytes));
  if (total_bytes != 0) text += fmt::format(" of {}", FormatSize(total_bytes));
  if (entries != 0) text += fmt::format(", {} entries", Grouped(entries));
  double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  if (rate >= 1) text += fmt::format(", {}/s", FormatSize(static_cast<uint64_t>(rate)));
  if (rate >= 1 && total_bytes > bytes) {
    text += fmt::format(", {}", Left(static_cast<double>(total_bytes - bytes) / rate));
  }
  return text;
}

ProgressLine::ProgressLine(std::string label, const Progress& progress, bool quiet)
    : label_(QuotePath(label)), progress_(progress) {
  if (!quiet && CanShow()) thread_ = std::thread([this] { Run(); });
}

ProgressLine::~ProgressLine() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

void ProgressLine::Run() {
  auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (ended_.wait_for(lock, 500ms, [this] { return end_; })) return;
  do {
    std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::string text = ProgressText(label_, progress_.bytes, progress_.total_bytes,
                                    progress_.entries, elapsed.count(), progress_.total_entries);
    Cut(text, TerminalWidth() - 1);
    text = "\r" + text + "\x1b[K";
    sys::Write(STDERR_FILENO, text.data(), text.size());
  } while (!ended_.wait_for(lock, 100ms, [this] { return end_; }));
  sys::Write(STDERR_FILENO, "\r\x1b[K", 4);
}

}  // namespace strata
