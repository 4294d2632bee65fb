// SPDX-License-Identifier: Apache-2.0
//
// Scratch: the upper and work directories of a throw-away root, in the store's stages/.
//
// Making and removing them costs a fifth of a short run on ext4, so one that is as good as new
// afterwards is left for the next run: a numbered directory, `stages/0`, with mode 1700 while it is
// clean and nobody uses it, 0700 from the moment somebody does. What overlayfs leaves in the work
// directory, and what would keep the next mount from using it, is renamed out of the way and removed
// while the command of a later run runs: removing a directory can cost milliseconds, where the file system
// discards its block at once. Whoever holds the lock on a scratch owns it; one that is neither clean nor
// locked was left by a killed process and is removed by the next owner.
//
// Not thread-safe. The store's descriptor must outlive it.
#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"

namespace strata {

// Makes work/ (there may be one) and then upper/, with the mode and the mtime that every root has.
Result<void> MakeUpperAndWork(int dir_fd);

// Directories to try where the store's file system cannot carry an upper: $XDG_RUNTIME_DIR, $TMPDIR.
std::vector<std::string> ScratchElsewhere();

class Scratch {
 public:
  // With upper/ (0755, the mtime that every root has) and work/, both empty.
  static Result<Scratch> Take(int store_fd);
  Scratch() = default;
  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&& other) noexcept;
  // Left for the next run if nothing was written, else removed. Nothing may have it mounted any more.
  ~Scratch();

  std::string upper_path() const { return path_ + "/upper"; }  // relative to the store
  std::string work_path() const { return path_ + "/work"; }
  // To be called while the sandbox runs and there is nothing else to do; returns soon after `stop` does.
  void SweepUp(const std::function<bool()>& stop);

  bool valid() const { return lock_.held(); }
  int fd() const { return lock_.fd(); }             // holds the lock
  const std::string& path() const { return path_; }  // relative to the store
  Result<std::string> MakeDirectory(const std::string& name);  // returns its path, as path()
  // It was renamed away as a whole: no longer ours.
  void Release();

 private:
  bool LeaveClean();

  int store_fd_ = -1;
  std::string path_;
  FileLock lock_;
  timespec changed_{};     // upper/, when it was taken
  bool reusable_ = true;  // nothing but upper and work was made
};

}  // namespace strata
