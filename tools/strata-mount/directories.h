// SPDX-License-Identifier: Apache-2.0
//
// Directories as lower layers, in words that the kernel knows: each once, and with small layers of
// their own beside those that have other marks (marks.h). The small layers lie in a tmpfs that
// nothing but the overlay holds once it is mounted, so that there is nothing to keep, to find again
// or to remove.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/strata-mount/marks.h"
#include "tools/strata-mount/mount.h"

namespace strata::mount {

// A tmpfs at a directory of its own. What is mounted from it stays when this is destroyed.
class PrivateTmpfs {
 public:
  PrivateTmpfs() = default;
  PrivateTmpfs(PrivateTmpfs&& other) noexcept;
  PrivateTmpfs& operator=(PrivateTmpfs&&) = delete;
  ~PrivateTmpfs();
  // A new empty directory in it; mounts it at the first call. Returns the path.
  Result<std::string> NewDirectory();
  bool used() const { return mounted_; }

 private:
  Result<void> Mount();

  std::string path_;
  bool mounted_ = false;
  int made_ = 0;
};

class Directories {
 public:
  // Topmost first. One that is given twice counts once, where it is first: what is below itself
  // never shows.
  static Result<Directories> Open(const std::vector<std::string>& paths);

  // Fills in the lowers, and puts the marks of overlay->upper into the kernel's words. This must
  // live until the overlay is mounted.
  Result<void> Translate(const Request& request, Overlay* overlay);

 private:
  struct Directory {
    std::string path;
    UniqueFd fd;
  };

  Result<void> AddLower(const Directory& directory, const std::vector<Mark>& marks, bool is_last,
                        Overlay* overlay);

  std::vector<Directory> directories_;
  PrivateTmpfs tmpfs_;
};

}  // namespace strata::mount
