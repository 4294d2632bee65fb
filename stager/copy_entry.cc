// SPDX-License-Identifier: Apache-2.0
#include "stager/copy_entry.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/path.h"
#include "base/sys.h"

namespace strata {
namespace {

// A copy of `size` bytes at `offset`. copy_file_range(2) refuses some pairs of file systems; what
// it did so far stays.
Result<void> CopyRange(int from, int to, off_t offset, off_t end, const std::string& shown) {
  bool in_kernel = true;
  std::vector<char> buffer;
  while (offset < end) {
    const size_t left = static_cast<size_t>(end - offset);
    if (in_kernel) {
      off_t in = offset;
      off_t out = offset;
      ssize_t n = ::copy_file_range(from, &in, to, &out, left, 0);
      if (n > 0) {
        offset += n;
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG)) {
        return FailSys(errno, "copy_file_range", shown);
      }
      in_kernel = false;  // EXDEV, EINVAL, ENOSYS, EPERM, EOPNOTSUPP; 0 on some pseudo file systems
      buffer.resize(128 << 10);
      continue;
    }
    ssize_t n = ::pread(from, buffer.data(), std::min(left, buffer.size()), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailSys(errno, "read", shown);
    if (n == 0)
      return Fail(Errc::kCorrupt, "{}: the file in the layer is shorter than it was", shown);
    for (ssize_t done = 0; done < n;) {
      ssize_t written =
          ::pwrite(to, buffer.data() + done, static_cast<size_t>(n - done), offset + done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FailSys(errno, "write", shown);
      done += written;
    }
    offset += n;
  }
  return {};
}

Result<void> CopyBytes(int from, int to, const std::string& shown) {
  struct stat st;
  if (::fstat(from, &st) != 0) return FailSys(errno, "fstat", shown);
  off_t offset = 0;
  while (offset < st.st_size) {
    off_t data = ::lseek(from, offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // a hole up to the end
    off_t end = data < 0 ? st.st_size : ::lseek(from, data, SEEK_HOLE);
    if (data < 0) data = offset;  // a file system that does not tell
    if (end < 0) end = st.st_size;
    STRATA_TRY(CopyRange(from, to, data, end, shown));
    offset = end;
  }
  if (::ftruncate(to, st.st_size) != 0) return FailSys(errno, "ftruncate", shown);
  return {};
}

Result<void> CopyFile(const Manifest& manifest, const ManifestEntry& e, CopyPlace from,
                      CopyPlace to, CopyContent how, const std::string& shown) {
  STRATA_ASSIGN(
      UniqueFd in,
      sys::CheckFd(sys::OpenAt(from.dir_fd, from.name, O_RDONLY | O_NOFOLLOW), "open", shown));
  STRATA_ASSIGN(UniqueFd out,
                sys::CheckFd(sys::OpenAt(to.dir_fd, to.name, O_WRONLY | O_CREAT | O_EXCL, 0600),
                             "create", shown));
  if (how == CopyContent::kReflink) {
    int rc =
        sys::Ioctl(out.get(), FICLONE, reinterpret_cast<void*>(static_cast<intptr_t>(in.get())));
    if (rc == -EOPNOTSUPP || rc == -ENOTTY || rc == -EXDEV || rc == -EINVAL || rc == -ENOSYS) {
      return Fail(Errc::kUnsupported, "reflink {}: not on this file system", shown);
    }
    if (rc < 0) return FailSys(-rc, "ioctl FICLONE", shown);
  } else {
    STRATA_TRY(CopyBytes(in.get(), out.get(), shown));
  }
  for (const Xattr& xattr : manifest.xattrs(e)) {
    if (!xattr.name.starts_with("user.")) continue;  // security.capability: in the manifest only
    int rc = sys::FsetXattr(out.get(), xattr.name.c_str(), xattr.value.data(), xattr.value.size());
    if (rc < 0) return FailSys(-rc, "fsetxattr " + QuotePath(xattr.name), shown);
  }
  if (::fchmod(out.get(), e.mode & 01777) != 0) return FailSys(errno, "fchmod", shown);
  timespec times[2] = {{0, UTIME_OMIT}, {e.mtime_sec, static_cast<long>(e.mtime_nsec)}};
  if (::futimens(out.get(), times) != 0) return FailSys(errno, "futimens", shown);
  // Network file systems report a full disk here.
  if (::close(out.release()) != 0) return FailSys(errno, "close", shown);
  return {};
}

}  // namespace

Result<void> CopyEntry(const Manifest& manifest, uint32_t entry, CopyPlace from, CopyPlace to,
                       CopyContent how, const std::string& shown) {
  const ManifestEntry& e = manifest.entry(entry);
  if (e.type == EntryType::kFile) return CopyFile(manifest, e, from, to, how, shown);
  if (e.type == EntryType::kSymlink) {
    const std::string target(manifest.target(e));
    STRATA_TRY(sys::Check(sys::SymlinkAt(target.c_str(), to.dir_fd, to.name), "symlink", shown));
  } else {
    STRATA_TRY(sys::Check(sys::MknodAt(to.dir_fd, to.name, S_IFIFO | 0600, 0), "mkfifo", shown));
    if (::fchmodat(to.dir_fd, to.name, e.mode & 01777, 0) != 0)
      return FailSys(errno, "chmod", shown);
  }
  timespec times[2] = {{0, UTIME_OMIT}, {e.mtime_sec, static_cast<long>(e.mtime_nsec)}};
  if (::utimensat(to.dir_fd, to.name, times, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailSys(errno, "utimensat", shown);
  }
  return {};
}

}  // namespace strata
