// SPDX-License-Identifier: Apache-2.0
//
// Turn: among processes that are about to make the same thing, one does, and the others wait for
// it.
#pragma once

#include <string>
#include <utility>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/store.h"

namespace strata {

class Turn {
 public:
  // With kBlock waits until nobody else has the turn of that name; else that is kBusy. The Store must
  // outlive it.
  static Result<Turn> Take(const Store& store, const std::string& name,
                           LockWait wait = LockWait::kBlock);
  Turn(Turn&&) noexcept = default;
  Turn& operator=(Turn&&) = delete;
  ~Turn();

 private:
  Turn() = default;
  int store_fd_ = -1;
  std::string path_;
  FileLock lock_;
};

}  // namespace strata
