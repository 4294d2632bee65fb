// SPDX-License-Identifier: Apache-2.0
#include "base/io.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>

#include "base/path.h"
#include "base/sys.h"
#include "base/temp_dir.h"

namespace strata {

Result<UniqueFd> OpenAt(int dir_fd, const std::string& path, int flags, unsigned mode) {
  STRATA_ASSIGN(UniqueFd fd,
                sys::CheckFd(sys::OpenAt(dir_fd, path.c_str(), flags, mode), "open", path));
  if (fd.get() > 2) return fd;
  // Of a closed standard stream. What is kept there for long would be taken for one.
  return sys::CheckFd(sys::DuplicateFd(fd.get()), "fcntl", "F_DUPFD_CLOEXEC");
}

Result<std::string> ReadAll(int fd, std::string_view name, size_t limit) {
  std::string data;
  struct stat st;
  const bool sized = ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
  data.reserve(sized ? static_cast<size_t>(st.st_size) + 1
                     : 4096);  // one read, and one that finds the end
  for (;;) {
    if (data.size() > limit) {
      return Fail(Errc::kInvalid, "{}: larger than {} bytes", name, limit);
    }
    size_t used = data.size();
    const size_t room = data.capacity() - used;
    const size_t chunk = room > 0 ? room : used;
    data.resize(used + chunk);
    int64_t n = sys::Read(fd, data.data() + used, chunk);
    if (n < 0) return FailSys(static_cast<int>(-n), "read", name);
    data.resize(used + static_cast<size_t>(n));
    if (n == 0) return data;
  }
}

Result<std::string> ReadFile(int dir_fd, const std::string& path, size_t limit) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, path, O_RDONLY));
  return ReadAll(fd.get(), path, limit);
}

Result<void> WriteAll(int fd, std::string_view data, std::string_view name) {
  while (!data.empty()) {
    int64_t n = sys::Write(fd, data.data(), data.size());
    if (n < 0) return FailSys(static_cast<int>(-n), "write", name);
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> ReplaceFile(int dir_fd, const std::string& path, std::string_view data, unsigned mode,
                         FlushData flush) {
  std::string temporary = path + "#" + RandomName();
  STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
  // Tells a writer that is still there from one that was killed.
  static_cast<void>(sys::Flock(fd.get(), LOCK_EX | LOCK_NB));
  Result<void> written = WriteAll(fd.get(), data, temporary);
  if (written && flush == FlushData::kYes) {
    int rc = sys::WritePagesOut(fd.get());
    // Not every file system can (ESPIPE, EINVAL, ENOSYS): then the reader has to see what is torn.
    if (rc == -EIO || rc == -ENOSPC || rc == -EDQUOT) written = FailSys(-rc, "write", temporary);
  }
  if (written) {
    int rc = sys::RenameAt2(dir_fd, temporary.c_str(), dir_fd, path.c_str());
    if (rc < 0) written = FailSys(-rc, "rename", path);
  }
  if (!written) sys::UnlinkAt(dir_fd, temporary.c_str());
  return written;
}

Result<void> MakeDirs(int dir_fd, const std::string& path, unsigned mode) {
  int rc = sys::MkdirAt(dir_fd, path.c_str(), mode);
  if (rc == -ENOENT) {
    size_t slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0) return FailSys(ENOENT, "mkdir", path);
    STRATA_TRY(MakeDirs(dir_fd, path.substr(0, slash), mode));
    rc = sys::MkdirAt(dir_fd, path.c_str(), mode);
  }
  if (rc == -EEXIST) {
    struct stat st;
    rc = sys::FstatAt(dir_fd, path.c_str(), &st, 0);
    if (rc == 0 && !S_ISDIR(st.st_mode)) rc = -ENOTDIR;
  }
  if (rc < 0) return FailSys(-rc, "mkdir", path);
  return {};
}

Result<Pipe> MakePipe(int flags) {
  int fds[2];
  STRATA_TRY(sys::Check(sys::Pipe2(fds, flags), "pipe2"));
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<std::string> RealPath(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return FailSys(errno, "realpath", QuotePath(path));
  std::string result(real);
  ::free(real);
  return result;
}

}  // namespace strata
