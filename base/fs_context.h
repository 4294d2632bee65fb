// SPDX-License-Identifier: Apache-2.0
//
// FsContext: a file system being configured (fsopen, fsconfig, fsmount), and DetachedMount, the owner
// of a mount that is attached nowhere: closing it dissolves it.
//
// The kernel writes its complaints into the context's descriptor; every error carries that log.
// Not thread-safe. Linux 5.2; a -ENOSYS or -EPERM from Open (sys_errno) says to use mount(2).
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

class DetachedMount {
 public:
  DetachedMount() = default;
  explicit DetachedMount(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }

 private:
  UniqueFd fd_;
};

class FsContext {
 public:
  static Result<FsContext> Open(const char* type);
  Result<void> SetFlag(const char* key);
  Result<void> SetString(const char* key, const char* value);  // value: at most 255 bytes (kernel)
  Result<void> SetFd(const char* key, int fd);
  // `attributes`: MOUNT_ATTR_*.
  Result<DetachedMount> Mount(unsigned attributes);

 private:
  FsContext(std::string type, UniqueFd fd) : type_(std::move(type)), fd_(std::move(fd)) {}
  Error Explain(int sys_errno, std::string call) const;

  std::string type_;
  UniqueFd fd_;
};

}  // namespace strata
