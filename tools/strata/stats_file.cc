// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/stats_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/sys.h"

namespace strata {
namespace {

// Standard output or error, where the file is the one that is open there; else -1.
int StandardStream(const struct stat& file) {
  for (int fd : {1, 2}) {
    struct stat st;
    if (::fstat(fd, &st) == 0 && st.st_dev == file.st_dev && st.st_ino == file.st_ino) return fd;
  }
  return -1;
}

}  // namespace

Result<StatsFile> StatsFile::Open(const std::string& path) {
  StatsFile file;
  if (path.empty()) return file;
  struct stat st;
  const bool exists = sys::FstatAt(AT_FDCWD, path.c_str(), &st, 0) == 0;
  file.place_.path = path;
  if (int stream = exists ? StandardStream(st) : -1; stream >= 0) {
    // /dev/stdout while that is a log: a rename would take the place of the link in /dev.
    STRATA_ASSIGN(file.fd_, sys::CheckFd(sys::DuplicateFd(stream), "fcntl", "--stats"));
  } else if (exists && !S_ISREG(st.st_mode)) {
    // /dev/stdout or a fifo is written to; a rename would take its place.
    STRATA_ASSIGN_WITH(file.fd_, OpenAt(AT_FDCWD, path, O_WRONLY | O_NOCTTY), "--stats");
  } else {
    STRATA_ASSIGN_WITH(file.place_, FindHostPlace(path), "--stats");
  }
  return file;
}

Result<void> StatsFile::Write(std::string_view text) const {
  if (fd_.valid()) return WriteAll(fd_.get(), text, place_.path);
  return ReplaceFile(place_.parent.get(), place_.name, text);
}

}  // namespace strata
