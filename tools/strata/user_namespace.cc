// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/io.h"

namespace strata {
namespace {

Result<void> WriteProcFile(const char* path, const std::string& text) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
  return WriteAll(fd.get(), text, path);
}

}  // namespace

Result<void> EnterUserNamespace() {
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER) != 0) {
    return Unexpected(Error::Sys(errno, "unshare", "user namespace")
                          .Hint("`strata doctor` says why there are no user namespaces"));
  }
  STRATA_TRY(WriteProcFile("/proc/self/setgroups", "deny"));
  STRATA_TRY(WriteProcFile("/proc/self/uid_map", fmt::format("0 {} 1", uid)));
  return WriteProcFile("/proc/self/gid_map", fmt::format("0 {} 1", gid));
}

}  // namespace strata
