// SPDX-License-Identifier: Apache-2.0
//
// For those who read whole layers: an ordinary user owns every file of the store, but may not read
// one of mode 0000. In a user namespace of its own the process may.
#pragma once

#include "base/result.h"

namespace strata {

// The caller's ids become 0:0. The process must have one thread.
Result<void> EnterUserNamespace();

}  // namespace strata
