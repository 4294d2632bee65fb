// SPDX-License-Identifier: Apache-2.0
//
// The controlling terminal of a command: a pseudoterminal of the sandbox's own devpts, so that it
// has a name inside and nobody outside can open it; or one that a library's caller brings.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/child_plan.h"
#include "sandbox/mount_ops.h"

namespace strata {
namespace {

int OpenMaster(ChildFailure* failure) noexcept {
  constexpr char kName[] = "/dev/pts/ptmx";
  int master = sys::OpenAt(AT_FDCWD, kName, O_RDWR | O_NOCTTY);
  if (master < 0) return FailStep(failure, master, "open", kName);
  const int unlock = 0;
  int rc = sys::Ioctl(master, TIOCSPTLCK, &unlock);
  if (rc == 0) return master;
  ::close(master);
  return FailStep(failure, rc, "ioctl TIOCSPTLCK", kName);
}

// By its number: TIOCGPTPEER would do without a path, but is younger (Linux 4.13) and no better
// here.
int OpenSlave(int master, ChildFailure* failure) noexcept {
  unsigned number = 0;
  int rc = sys::Ioctl(master, TIOCGPTN, &number);
  if (rc < 0) return FailStep(failure, rc, "ioctl TIOCGPTN", "/dev/pts/ptmx");
  char name[32];
  std::snprintf(name, sizeof name, "/dev/pts/%u", number);
  int slave = sys::OpenAt(AT_FDCWD, name, O_RDWR | O_NOCTTY);
  return slave < 0 ? FailStep(failure, slave, "open", name) : slave;
}

}  // namespace

int TakeTerminal(ChildFailure* failure) noexcept {
  const int rc = sys::Ioctl(STDIN_FILENO, TIOCSCTTY, nullptr);
  return rc < 0 ? FailStep(failure, rc, "ioctl TIOCSCTTY", "standard input") : 0;
}

int MakeTerminal(const ChildPlan& plan, ChildFailure* failure) noexcept {
  const ChildTerminal& terminal = plan.terminal;
  Descriptor master(OpenMaster(failure));
  if (master.fd < 0) return master.fd;
  Descriptor slave(OpenSlave(master.fd, failure));
  if (slave.fd < 0) return slave.fd;
  if (plan.has_range && ::fchown(slave.fd, plan.uid, plan.gid) != 0) {  // what the command becomes
    return FailStep(failure, -errno, "fchown", "the new terminal");
  }
  // Before anything runs that could see other ones.
  static_cast<void>(::tcsetattr(slave.fd, TCSANOW, &terminal.settings) == 0);
  static_cast<void>(sys::Ioctl(master.fd, TIOCSWINSZ, &terminal.size));
  int rc = sys::Ioctl(slave.fd, TIOCSCTTY, nullptr);
  if (rc < 0) return FailStep(failure, rc, "ioctl TIOCSCTTY", "the new terminal");
  for (int fd = 0; fd <= 2; ++fd) {
    if (!terminal.streams[fd]) continue;
    rc = sys::Dup3(slave.fd, fd, 0);
    if (rc < 0) return FailStep(failure, rc, "dup3", "a standard stream");
  }
  const int ends[] = {master.fd, slave.fd};
  rc = sys::SendFds(terminal.socket_fd, ends, 2);
  return rc < 0 ? FailStep(failure, rc, "sendmsg", "the new terminal") : 0;
}

}  // namespace strata
