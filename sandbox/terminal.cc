// SPDX-License-Identifier: Apache-2.0
#include "sandbox/terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "sandbox/mount_ops.h"

namespace strata {

std::unique_ptr<Terminal> Terminal::OfStandardInput() {
  std::unique_ptr<Terminal> terminal(new Terminal);
  if (::isatty(STDIN_FILENO) != 1) return nullptr;
  struct stat own;
  if (::fstat(STDIN_FILENO, &own) != 0) return nullptr;
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat other;
    terminal->streams_[static_cast<size_t>(fd)] =
        ::fstat(fd, &other) == 0 && S_ISCHR(other.st_mode) && other.st_rdev == own.st_rdev;
  }
  // O_NONBLOCK belongs to what was opened, which the caller's shell shares. So it is opened again;
  // where that is denied (after su, it is another user's), what is shared does, and may block.
  terminal->terminal_ =
      UniqueFd(sys::OpenAt(AT_FDCWD, FdPath(STDIN_FILENO).text, O_RDWR | O_NOCTTY | O_NONBLOCK));
  if (!terminal->terminal_.valid()) {
    terminal->terminal_ = UniqueFd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  }
  if (!terminal->terminal_.valid()) return nullptr;
  terminal->WaitForForeground();
  return ::tcgetattr(STDIN_FILENO, &terminal->settings_) == 0 ? std::move(terminal) : nullptr;
}

Terminal::~Terminal() {
  Suspend();
}

winsize Terminal::size() const {
  winsize size{};
  static_cast<void>(sys::Ioctl(terminal_.get(), TIOCGWINSZ, &size));
  return size;
}

void Terminal::Attach(UniqueFd master, UniqueFd slave) {
  master_ = std::move(master);
  slave_ = std::move(slave);
  input_ended_ = false;
  static_cast<void>(::fcntl(master_.get(), F_SETFL, O_RDWR | O_NONBLOCK) == 0);
  if (hung_up_) return HangUp();
  Resize();
  EnterRawMode();
}

// A terminal that is not our controlling one knows no foreground.
bool Terminal::InForeground() const {
  const pid_t foreground = ::tcgetpgrp(terminal_.get());
  return foreground < 0 || foreground == ::getpgrp();
}

// In the background the settings are those of a shell that reads a line; and the terminal is not
// ours to change. As the kernel does it for any program: stopped until the shell says `fg`.
void Terminal::WaitForForeground() const {
  if (!InForeground()) static_cast<void>(::kill(0, SIGTTOU) == 0);
}

void Terminal::EnterRawMode() {
  WaitForForeground();
  if (!raw_) static_cast<void>(::tcgetattr(terminal_.get(), &settings_) == 0);
  termios raw = settings_;
  ::cfmakeraw(&raw);
  raw_ = ::tcsetattr(terminal_.get(), TCSANOW, &raw) == 0;
}

void Terminal::Suspend() {
  // From the background it would disturb who has the terminal now.
  if (raw_ && InForeground()) {
    static_cast<void>(::tcsetattr(terminal_.get(), TCSANOW, &settings_) == 0);
  }
  raw_ = false;
}

void Terminal::Continue() {
  if (!master_.valid() || input_ended_) return;
  // Stopped and continued without us: the settings that were found are those from before.
  EnterRawMode();
  Resize();
}

void Terminal::Resize() {
  const winsize now = size();
  if (master_.valid()) static_cast<void>(sys::Ioctl(master_.get(), TIOCSWINSZ, &now));
}

void Terminal::HangUp() {
  hung_up_ = true;
  master_.reset();
  slave_.reset();
  to_command_.clear();
}

void Terminal::EndInput() {
  input_ended_ = true;
  to_command_.clear();
  slave_.reset();  // so that the end of what was written shows (EIO)
}

void Terminal::TerminalIsGone() {
  terminal_gone_ = true;
  to_terminal_.clear();
  HangUp();
}

void Terminal::FillPoll(pollfd* polled) const {
  polled[0] = {terminal_gone_ ? -1 : terminal_.get(), 0, 0};
  polled[1] = {master_.get(), 0, 0};
  if (master_.valid() && !input_ended_ && !to_command_.full()) polled[0].events |= POLLIN;
  if (!to_terminal_.empty()) polled[0].events |= POLLOUT;
  if (!to_terminal_.full()) polled[1].events |= POLLIN;
  if (!to_command_.empty()) polled[1].events |= POLLOUT;
  for (int i = 0; i < 2; ++i) {
    // An end that is shut makes poll return whatever it was asked for.
    if (polled[i].events == 0) polled[i].fd = -1;
  }
}

void Terminal::Relay(const pollfd* polled) {
  constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
  if ((polled[0].events & POLLIN) != 0 && (polled[0].revents & kReadable) != 0 &&
      ReadInto(to_command_, terminal_.get()) == Moved::kClosed) {
    return TerminalIsGone();
  }
  if ((polled[1].events & POLLIN) != 0 && (polled[1].revents & kReadable) != 0 &&
      ReadInto(to_terminal_, master_.get()) == Moved::kClosed) {
    master_.reset();
  }
  if (!to_terminal_.empty() && (polled[0].revents & POLLOUT) != 0 &&
      WriteFrom(to_terminal_, terminal_.get()) == Moved::kClosed) {
    return TerminalIsGone();
  }
  if (!to_command_.empty() && (polled[1].revents & POLLOUT) != 0) {
    if (WriteFrom(to_command_, master_.get()) == Moved::kClosed) to_command_.clear();
  }
}

Terminal::Moved Terminal::ReadInto(Buffer& buffer, int fd) {
  int64_t size = sys::Read(fd, buffer.bytes.data() + buffer.end, buffer.bytes.size() - buffer.end);
  if (size == -EAGAIN) return Moved::kNothing;
  if (size <= 0) return Moved::kClosed;
  buffer.end += static_cast<size_t>(size);
  return Moved::kSome;
}

Terminal::Moved Terminal::WriteFrom(Buffer& buffer, int fd) {
  int64_t size = sys::Write(fd, buffer.bytes.data() + buffer.begin, buffer.end - buffer.begin);
  if (size == -EAGAIN) return Moved::kNothing;
  if (size <= 0) return Moved::kClosed;
  buffer.begin += static_cast<size_t>(size);
  if (buffer.empty()) buffer.clear();
  return Moved::kSome;
}

}  // namespace strata
