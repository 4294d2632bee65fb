// SPDX-License-Identifier: Apache-2.0
#include "base/file_lock.h"

#include <sys/file.h>

#include <cerrno>

#include "base/io.h"
#include "base/sys.h"

namespace strata {

Result<FileLock> FileLock::OnDirectory(int dir_fd, const std::string& path, LockMode mode,
                                       LockWait wait) {
  return Take(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, mode, wait);
}

Result<FileLock> FileLock::OnFile(int dir_fd, const std::string& path, LockMode mode,
                                  LockWait wait) {
  return Take(dir_fd, path, O_RDWR | O_CREAT | O_NOFOLLOW, mode, wait);
}

Result<FileLock> FileLock::OnExistingFile(int dir_fd, const std::string& path, LockMode mode,
                                          LockWait wait) {
  return Take(dir_fd, path, O_RDONLY | O_NOFOLLOW, mode, wait);
}

Result<FileLock> FileLock::OnDescriptor(UniqueFd fd, LockMode mode) {
  int operation = (mode == LockMode::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  STRATA_TRY(sys::Check(sys::Flock(fd.get(), operation), "flock"));
  return FileLock(std::move(fd));
}

Result<FileLock> FileLock::Take(int dir_fd, const std::string& path, int flags, LockMode mode,
                                LockWait wait) {
  for (;;) {
    STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, path, flags, 0600));
    int operation = mode == LockMode::kShared ? LOCK_SH : LOCK_EX;
    if (wait == LockWait::kFail) operation |= LOCK_NB;
    int rc = sys::Flock(fd.get(), operation);
    if (rc == -EWOULDBLOCK) return Fail(Errc::kBusy, "{} is in use by another process", path);
    if (rc < 0) return FailSys(-rc, "flock", path);
    struct stat opened;
    struct stat named;
    if (::fstat(fd.get(), &opened) != 0) return FailSys(errno, "fstat", path);
    rc = sys::FstatAt(dir_fd, path.c_str(), &named);
    if (rc == 0 && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
      return FileLock(std::move(fd));
    }
    // It moved between open and flock: look again.
  }
}

}  // namespace strata
