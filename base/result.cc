// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace strata {

Error Error::Sys(int sys_errno, std::string_view call, std::string_view argument) {
  // strerrordesc_np is not localised and needs no buffer.
  const char* reason = strerrordesc_np(sys_errno);
  std::string message = argument.empty() ? fmt::format("{}: ", call)
                                         : fmt::format("{} {}: ", call, argument);
  message += reason != nullptr ? std::string(reason) : fmt::format("errno {}", sys_errno);
  Error error(Errc::kSystem, std::move(message));
  error.sys_errno_ = sys_errno;
  if (sys_errno == ENOSPC) {
    error.hint_ = "the file system is full, or out of inodes: see df and df -i";
  } else if (sys_errno == EDQUOT) {
    error.hint_ = "the disk quota is used up: see quota(1)";
  } else if (sys_errno == EMFILE) {
    error.hint_ = "too many open files: raise the limit with ulimit -n";
  } else if (sys_errno == ENOENT &&
             (argument.substr(0, 11) == "/proc/self/" || argument.substr(0, 17) == "/proc/sys/kernel/")) {
    error.hint_ = "there is no /proc here: mount -t proc proc /proc";
  }
  return error;
}

Error Error::Wrap(std::string_view clause) && {
  message_.insert(0, ": ");
  message_.insert(0, clause);
  return std::move(*this);
}

Error Error::Hint(std::string hint) && {
  hint_ = std::move(hint);
  return std::move(*this);
}

}  // namespace strata
