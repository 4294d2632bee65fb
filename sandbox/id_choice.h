// SPDX-License-Identifier: Apache-2.0
//
// Which ids a sandbox gets: one, or a range (base/id_map.h). A range is what makes chown, dpkg and
// apt-get work; one id costs a millisecond less and is there for everybody.
#pragma once

#include <cstdint>
#include <optional>

#include "base/id_map.h"
#include "base/result.h"

namespace strata {

enum class Userns {
  kAuto,    // a range where the layers have files of other users and there is one; else one id
  kSingle,  // one id
  kSubuid,  // a range, or an error
};

struct IdRequest {
  Userns userns = Userns::kAuto;
  uint32_t uid = 0;  // what the command is to be
  uint32_t gid = 0;
};

struct IdChoice {
  std::optional<IdMapping> range;  // none: one id
  // Why it is one id where the layers would need a range: for who wonders why the command failed.
  std::optional<Error> missing;
};

// `needs_range`: see RootContent. Reads no file where one id will do.
Result<IdChoice> ChooseIds(const IdRequest& request, bool needs_range);

// Whether a user namespace with this range can be made: by trying. Takes milliseconds.
Result<void> TryRange(const IdMapping& range);

}  // namespace strata
