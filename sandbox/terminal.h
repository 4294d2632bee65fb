// SPDX-License-Identifier: Apache-2.0
//
// Terminal: the caller's terminal, while a command in a sandbox has one of its own.
//
// The command's is a pseudoterminal of the sandbox's own /dev/pts: its controlling terminal, named
// as any, with job control, sizes and keys as everywhere, and without a way to the caller's. What
// is typed here is relayed there and what is written there comes out here, byte for byte; meanwhile
// the caller's terminal is in raw mode, so that Ctrl-C, Ctrl-Z and Ctrl-\ act inside.
//
// It restores the settings that it found: when the sandbox has ended, however that came; when it is
// stopped from outside; at the latest when it is destroyed. Only SIGKILL prevents that (`stty
// sane`), and SIGSTOP until SIGCONT: a shell that is told of a stopped job takes its terminal back
// itself.
//
// Not thread-safe. A process that is not in the foreground of its terminal is stopped (SIGTTOU), as
// any program that needs the terminal, until it is.
#pragma once

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <array>
#include <cstddef>
#include <memory>

#include "base/unique_fd.h"

namespace strata {

class Terminal {
 public:
  // Of standard input; null where that is no terminal.
  static std::unique_ptr<Terminal> OfStandardInput();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // For the pseudoterminal to begin with.
  const termios& settings() const { return settings_; }
  winsize size() const;
  // Whether this standard stream is this terminal; a command that gets one of its own keeps the
  // others.
  bool IsStream(int fd) const { return streams_[static_cast<size_t>(fd)]; }

  // Enters raw mode and relays from now on. `slave` is held so that the pseudoterminal stays whole
  // when the command closes it for a while.
  void Attach(UniqueFd master, UniqueFd slave);
  // The command's terminal is taken away: the kernel sends SIGHUP to its session, reads there end.
  void HangUp();
  bool hung_up() const { return hung_up_; }  // also when the caller's is gone
  // The settings as they were, and then, after a stop, raw mode again.
  void Suspend();
  void Continue();
  // After SIGWINCH.
  void Resize();

  // What to poll for, and what came of it.
  static constexpr size_t kPolled = 2;
  void FillPoll(pollfd* polled) const;
  void Relay(const pollfd* polled);

  // The command has ended: what it wrote is still to be shown.
  void EndInput();
  bool IsDrained() const { return !master_.valid() && to_terminal_.empty(); }

 private:
  // Bytes on the way: written from `begin` on, read to `end`.
  struct Buffer {
    std::array<char, 65536> bytes;
    size_t begin = 0;
    size_t end = 0;
    bool empty() const { return begin == end; }
    bool full() const { return end == bytes.size(); }
    void clear() { begin = end = 0; }
  };
  enum class Moved { kSome, kNothing, kClosed };
  static Moved ReadInto(Buffer& buffer, int fd);
  static Moved WriteFrom(Buffer& buffer, int fd);

  Terminal() = default;
  bool InForeground() const;
  void WaitForForeground() const;
  void EnterRawMode();
  void TerminalIsGone();

  UniqueFd terminal_;  // opened anew where possible: not blocking, which nobody else's descriptor
                       // becomes
  std::array<bool, 3> streams_{};
  termios settings_{};
  bool raw_ = false;
  bool terminal_gone_ = false;
  bool hung_up_ = false;
  bool input_ended_ = false;
  UniqueFd master_;
  UniqueFd slave_;
  Buffer to_command_;
  Buffer to_terminal_;
};

}  // namespace strata
