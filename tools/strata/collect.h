// SPDX-License-Identifier: Apache-2.0
//
// The automatic collector: what import, compose and capture call when they have published something.
#pragma once

#include "cache/store.h"
#include "tools/strata/command.h"

namespace strata {

// Collects if the store's configuration has a max-size, the store is larger, and ten minutes have passed
// since the last look. Fails nothing: what goes wrong is a warning.
void CollectAfterPublishing(const Context& context, const Store& store);

}  // namespace strata
