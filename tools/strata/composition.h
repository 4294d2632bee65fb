// SPDX-License-Identifier: Apache-2.0
//
// ComposeRoot as the commands call it: with a progress line, with what integration commands say on
// standard error (unless --quiet), and with $SOURCE_DATE_EPOCH.
#pragma once

#include "base/result.h"
#include "cache/roots.h"
#include "sandbox/id_choice.h"
#include "tools/strata/command.h"

namespace strata {

struct Composition {
  CachedRoot root;
  int64_t compose_ns = 0;  // of a hit: of finding it
  uint64_t made_entries = 0;
};

// What --userns means for integration commands that are given with it.
void SetIntegrationIds(Userns userns, DependencySet* set);

Result<Composition> Compose(Context& context, const DependencySet& set);

}  // namespace strata
