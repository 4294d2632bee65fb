// SPDX-License-Identifier: Apache-2.0
#include "base/temp_dir.h"

#include <sys/file.h>
#include <sys/random.h>

#include <cstdint>
#include <utility>

#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"

namespace strata {

std::string RandomName() {
  uint64_t bits = 0;
  while (::getrandom(&bits, sizeof bits, 0) != sizeof bits) {
  }
  return fmt::format("{:016x}", bits);
}

Result<TempDir> TempDir::Create(int parent_fd, const std::string& prefix) {
  TempDir dir;
  dir.name_ = prefix + RandomName();
  STRATA_TRY(sys::Check(sys::MkdirAt(parent_fd, dir.name_.c_str(), 0700), "mkdir", dir.name_));
  dir.parent_fd_ = parent_fd;
  STRATA_ASSIGN(dir.fd_, OpenAt(parent_fd, dir.name_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  STRATA_TRY(sys::Check(sys::Flock(dir.fd_.get(), LOCK_EX | LOCK_NB), "flock", dir.name_));
  return dir;
}

TempDir::TempDir(TempDir&& other) noexcept
    : parent_fd_(std::exchange(other.parent_fd_, -1)),
      name_(std::move(other.name_)),
      fd_(std::move(other.fd_)) {}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  std::swap(parent_fd_, other.parent_fd_);
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  return *this;
}

TempDir::~TempDir() {
  // What cannot be removed now is left unlocked, for the collector.
  if (parent_fd_ != -1) static_cast<void>(RemoveTree(parent_fd_, name_));
}

UniqueFd TempDir::Release() {
  parent_fd_ = -1;
  return std::move(fd_);
}

}  // namespace strata
