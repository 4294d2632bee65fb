// SPDX-License-Identifier: Apache-2.0
//
// StatsFile: where --stats goes. Opened before anything is run, as every HostPlace.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/host_place.h"

namespace strata {

class StatsFile {
 public:
  StatsFile() = default;  // of nobody who asked for one
  // `path` is absolute; empty as above.
  static Result<StatsFile> Open(const std::string& path);

  bool wanted() const { return fd_.valid() || place_.parent.valid(); }
  Result<void> Write(std::string_view text) const;

 private:
  HostPlace place_;
  UniqueFd fd_;  // of what is no regular file
};

}  // namespace strata
