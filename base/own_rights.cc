// SPDX-License-Identifier: Apache-2.0
#include "base/own_rights.h"

#include "base/id_map.h"

namespace strata {

Result<void> RunWithOwnRights(const std::function<Result<void>()>& work) {
  return RunInMapping(SingleId(), work);
}

}  // namespace strata
