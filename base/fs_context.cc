// SPDX-License-Identifier: Apache-2.0
#include "base/fs_context.h"

#include "base/sys.h"

namespace strata {

Result<FsContext> FsContext::Open(const char* type) {
  STRATA_ASSIGN(UniqueFd fd, sys::CheckFd(sys::FsOpen(type, 0), "fsopen", type));
  return FsContext(type, std::move(fd));
}

Result<void> FsContext::SetFlag(const char* key) {
  int rc = sys::FsConfig(fd_.get(), FSCONFIG_SET_FLAG, key, nullptr, 0);
  if (rc < 0) return Unexpected(Explain(-rc, fmt::format("fsconfig({}, {})", type_, key)));
  return {};
}

Result<void> FsContext::SetString(const char* key, const char* value) {
  int rc = sys::FsConfig(fd_.get(), FSCONFIG_SET_STRING, key, value, 0);
  if (rc < 0) return Unexpected(Explain(-rc, fmt::format("fsconfig({}, {}={})", type_, key, value)));
  return {};
}

Result<void> FsContext::SetFd(const char* key, int fd) {
  int rc = sys::FsConfig(fd_.get(), FSCONFIG_SET_FD, key, nullptr, fd);
  if (rc < 0) return Unexpected(Explain(-rc, fmt::format("fsconfig({}, {}=fd)", type_, key)));
  return {};
}

Result<DetachedMount> FsContext::Mount(unsigned attributes) {
  int rc = sys::FsConfig(fd_.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  if (rc < 0) return Unexpected(Explain(-rc, fmt::format("fsconfig({}, create)", type_)));
  rc = sys::FsMount(fd_.get(), 0, attributes);
  if (rc < 0) return Unexpected(Explain(-rc, fmt::format("fsmount({})", type_)));
  return DetachedMount(UniqueFd(rc));
}

Error FsContext::Explain(int sys_errno, std::string call) const {
  // Each read gives one message: a level letter, a blank, the text.
  std::string log;
  char line[512];
  int64_t size;
  while ((size = sys::Read(fd_.get(), line, sizeof line)) > 2) {
    std::string_view text(line + 2, static_cast<size_t>(size) - 2);
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    log += fmt::format("{}{}", log.empty() ? "" : "; ", text);
  }
  Error error = Error::Sys(sys_errno, call);
  if (!log.empty()) error = std::move(error).Hint(fmt::format("the kernel says: {}", log));
  return error;
}

}  // namespace strata
