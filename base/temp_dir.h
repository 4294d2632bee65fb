// SPDX-License-Identifier: Apache-2.0
//
// TempDir: a private directory (0700) that is removed with everything in it when its owner goes,
// unless Release() or a rename took it away. It is flocked (exclusively) for as long as it lives, so
// that a collector can tell one that is in use from what a killed process left behind.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

// 16 hex digits from the kernel's generator.
std::string RandomName();

class TempDir {
 public:
  // Makes `<prefix><random>` below the directory `parent_fd` (or AT_FDCWD), which must outlive the TempDir.
  static Result<TempDir> Create(int parent_fd, const std::string& prefix);
  TempDir() = default;
  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();

  int fd() const { return fd_.get(); }  // O_RDONLY | O_DIRECTORY, holds the lock
  const std::string& name() const { return name_; }
  bool valid() const { return fd_.valid(); }

  // From now on the directory is somebody else's (it was renamed, or is to be kept). Returns the
  // locked descriptor.
  UniqueFd Release();

 private:
  int parent_fd_ = -1;  // -1: there is nothing to remove
  std::string name_;
  UniqueFd fd_;
};

}  // namespace strata
