// SPDX-License-Identifier: Apache-2.0
#include "sandbox/loopback.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace strata {

int BringUpLoopback(ChildFailure* failure) noexcept {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    failure->Set(errno, "socket", "AF_INET");
    return -failure->sys_errno;
  }
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int rc = sys::Ioctl(fd, SIOCSIFFLAGS, &request);
  ::close(fd);
  if (rc < 0) failure->Set(-rc, "ioctl SIOCSIFFLAGS", "lo");
  return rc;
}

}  // namespace strata
