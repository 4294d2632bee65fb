// SPDX-License-Identifier: Apache-2.0
#include "cache/turn.h"

#include <fcntl.h>

#include <cerrno>

#include "base/sys.h"

namespace strata {

// A directory in tmp/, so that what a killed process leaves of it is swept up like everything
// there.
Result<Turn> Turn::Take(const Store& store, const std::string& name, LockWait wait) {
  Turn turn;
  turn.store_fd_ = store.fd();
  turn.path_ = "tmp/" + name;
  for (;;) {
    int rc = sys::MkdirAt(store.fd(), turn.path_.c_str(), 0700);
    if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mkdir", turn.path_);
    auto lock = FileLock::OnDirectory(store.fd(), turn.path_, LockMode::kExclusive, wait);
    if (lock) {
      turn.lock_ = std::move(*lock);
      return turn;
    }
    // The one before has just removed it.
    if (lock.error().sys_errno() != ENOENT) return Unexpected(std::move(lock).error());
  }
}

Turn::~Turn() {
  if (lock_.held()) sys::UnlinkAt(store_fd_, path_.c_str(), AT_REMOVEDIR);
}

}  // namespace strata
