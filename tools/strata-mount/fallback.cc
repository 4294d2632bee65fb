// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/fallback.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace strata::mount {
namespace {

constexpr const char* kName = "fuse-overlayfs";
constexpr const char* kUsualPath = "/usr/local/bin:/usr/bin:/bin";

// The first in PATH that is not this executable under that name.
std::string FindProgram() {
  struct stat own;
  if (::stat("/proc/self/exe", &own) != 0) return {};
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr && *path != '\0' ? path : kUsualPath;
  while (!rest.empty()) {
    std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(directory.size() + 1, rest.size()));
    if (!directory.starts_with('/')) continue;
    std::string program = fmt::format("{}/{}", directory, kName);
    struct stat st;
    if (::stat(program.c_str(), &st) != 0 || ::access(program.c_str(), X_OK) != 0) continue;
    if (st.st_dev != own.st_dev || st.st_ino != own.st_ino) return program;
  }
  return {};
}

}  // namespace

Error BecomeFuseOverlayfs(char** argv, const Error& why) {
  const std::string program = FindProgram();
  if (!program.empty()) {
    std::fprintf(stderr, "strata-mount: note: %s; using %s\n", why.message().c_str(),
                 program.c_str());
    argv[0] = const_cast<char*>(kName);
    ::execv(program.c_str(), argv);
  }
  Error error(why.code(), why.message());
  std::string hint = why.hint().empty() ? std::string() : why.hint() + "; or ";
  return std::move(error).Hint(
      hint + "install fuse-overlayfs, which is used where the kernel's overlay cannot be");
}

}  // namespace strata::mount
