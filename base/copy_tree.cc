// SPDX-License-Identifier: Apache-2.0
#include "base/copy_tree.h"

#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/process.h"

namespace strata {

Result<void> CopyTree(const std::string& from, const std::string& to) {
  std::string source = from + "/.";
  std::string target = to + "/";
  const char* argv[] = {"cp", "-a", "--reflink=auto", "--", source.c_str(), target.c_str(), nullptr};
  const char* envp[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", nullptr};
  pid_t pid;
  int error = ::posix_spawnp(&pid, "cp", nullptr, nullptr, const_cast<char**>(argv),
                             const_cast<char**>(envp));
  if (error != 0) return FailSys(error, "posix_spawn", "cp");
  Process copy(pid, UniqueFd());
  STRATA_ASSIGN(ExitStatus status, copy.Wait());
  if (status.ShellCode() != 0) {
    return Fail(Errc::kSystem, "copy {} to {}: cp failed with status {}", from, to,
                status.ShellCode());
  }
  return {};
}

}  // namespace strata
