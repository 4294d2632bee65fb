// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/collect.h"

#include "cache/gc.h"
#include "tools/strata/root_info.h"

namespace strata {

void CollectAfterPublishing(const Context& context, const Store& store) {
  auto report = CollectIfTooLarge(store, RootsOfStages());
  if (!report && !context.quiet) {
    PrintWarning(fmt::format("the store was not collected: {}", report.error().message()));
  }
}

}  // namespace strata
