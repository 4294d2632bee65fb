// SPDX-License-Identifier: Apache-2.0
//
// Private to ComposeRoot: runs the integration commands of a draft, each in a sandbox of its own, one
// after the other over the same upper, and makes a derived layer of what they changed.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "cache/store.h"
#include "sandbox/compose_root.h"
#include "stager/compose.h"
#include "stager/tree_plan.h"

namespace strata {

// The layer, or nothing where the commands changed nothing. One that was made before for the same set,
// lowers and commands (and lost its root since) is used again, without running anything.
Result<std::optional<DerivedLayer>> Integrate(const Store& store, const RootDraft& draft,
                                              std::string_view encoded_set,
                                              const ComposeRootOptions& options);

}  // namespace strata
