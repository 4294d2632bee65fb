// SPDX-License-Identifier: Apache-2.0
//
// MountWatches: whether a mounted file system is gone for good, whoever may have held it: an open
// file, a mapping, a descriptor of the mount, a copy of it in another mount namespace. None of
// these is in a mount table, and each could still write. inotify tells of the end of the
// superblock, and a watch keeps nothing alive.
//
// One inotify instance for all that an open store has mounted: a user may have 128 of them, and to
// close one right after a watch has ended takes the kernel 13 ms. Any thread may call; a child of
// fork gets an instance of its own when it needs one.
#pragma once

#include <atomic>

#include "base/result.h"

namespace strata {

class MountWatches {
 public:
  MountWatches() = default;
  ~MountWatches();
  MountWatches(const MountWatches&) = delete;
  MountWatches& operator=(const MountWatches&) = delete;

  // What can fail for want of anything, before there is a mount.
  Result<void> Prepare();
  // Watches the file system whose root is the calling thread's working directory.
  Result<int> WatchHere();
  // Waits for at most `timeout_ms`: what had it has let go of it, but the kernel may not be done.
  Result<bool> IsGone(int watch, int timeout_ms);
  void Forget(int watch);

 private:
  struct Instance;
  Result<Instance*> Own();

  std::atomic<Instance*> instance_ = nullptr;
};

}  // namespace strata
