// SPDX-License-Identifier: Apache-2.0
//
// RunInMapping (base/id_map.h) for work that has something to tell.
#pragma once

#include <functional>
#include <string>

#include "base/id_map.h"
#include "base/result.h"

namespace strata {

// Returns the bytes that `work` returned in the child. Any size.
Result<std::string> AskInMapping(const IdMapping& mapping,
                                 const std::function<Result<std::string>()>& work);

}  // namespace strata
