// SPDX-License-Identifier: Apache-2.0
//
// FileLock: an flock on a file or directory, held as long as the object (or any duplicate of its
// descriptor, in a child for instance) lives. flock belongs to the open file description, so a lock
// taken before clone is shared with the child.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace strata {

enum class LockMode { kShared, kExclusive };
enum class LockWait { kBlock, kFail };  // kFail: a held lock is an error of code kBusy

class FileLock {
 public:
  FileLock() = default;
  // Opens the directory `path` and locks it, then makes sure that the path still leads to it: who
  // removes a directory renames it away under an exclusive lock first. ENOENT stays a kSystem error.
  static Result<FileLock> OnDirectory(int dir_fd, const std::string& path, LockMode mode,
                                      LockWait wait);
  // The same for a regular file, which is created (0600) when missing.
  static Result<FileLock> OnFile(int dir_fd, const std::string& path, LockMode mode, LockWait wait);

  // The same for a regular file that must exist: ENOENT stays a kSystem error. Opened for reading only, so
  // that it works on a read-only file system.
  static Result<FileLock> OnExistingFile(int dir_fd, const std::string& path, LockMode mode,
                                         LockWait wait);
  // Of a file just made, that nobody else knows by name yet.
  static Result<FileLock> OnDescriptor(UniqueFd fd, LockMode mode);

  int fd() const { return fd_.get(); }
  bool held() const { return fd_.valid(); }
  UniqueFd Release() { return std::move(fd_); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  static Result<FileLock> Take(int dir_fd, const std::string& path, int flags, LockMode mode,
                               LockWait wait);
  UniqueFd fd_;
};

}  // namespace strata
