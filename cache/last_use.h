// SPDX-License-Identifier: Apache-2.0
//
// The last use of what gc may take is the mtime of a file or directory of it.
#pragma once

#include <sys/stat.h>

#include <ctime>

namespace strata {

// At most once an hour: it is a write. A time in the future is of a clock that was put back.
inline bool StampIsDue(const struct stat& st) {
  constexpr time_t kStampAfter = 3600;
  const time_t age = ::time(nullptr) - st.st_mtime;
  return age >= kStampAfter || age <= -kStampAfter;
}

}  // namespace strata
