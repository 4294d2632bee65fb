// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/collect.h"

#include "sandbox/composition.h"
#include "tools/strata/print_observer.h"

namespace strata {

void CollectAfterPublishing(const Context& context, const Store& store) {
  CollectAfterPublishing(store, PrintObserver(context.quiet));
}

}  // namespace strata
