// SPDX-License-Identifier: Apache-2.0
//
// ForkMark: whether this is the process that made it, or a child of fork that has a copy. A pid
// does not tell: in a pid namespace of its own the child may have the same.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/result.h"

namespace strata {

class ForkMark {
 public:
  ForkMark() = default;
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;
  ~ForkMark() {
    if (page_ != nullptr) ::munmap(page_, 1);
  }
  Result<void> Make() {
    void* page = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return FailSys(errno, "mmap");
    page_ = static_cast<char*>(page);
    if (::madvise(page_, 1, MADV_WIPEONFORK) != 0) return FailSys(errno, "madvise");
    *page_ = 1;
    return {};
  }
  bool IsOwn() const { return page_ != nullptr && *page_ == 1; }

 private:
  char* page_ = nullptr;
};

}  // namespace strata
