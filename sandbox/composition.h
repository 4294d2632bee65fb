// SPDX-License-Identifier: Apache-2.0
//
// ComposeRoot (compose_root.h) for those who have an Observer, and what belongs to it: which ids
// integration commands have, and the collector that comes after something was published.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "cache/roots.h"
#include "sandbox/id_choice.h"
#include "sandbox/observer.h"

namespace strata {

struct CompositionOptions {
  std::optional<int64_t> mtime;             // of all that integration commands change; else kept
  std::optional<struct rlimit> open_files;  // of the commands; see SandboxSpec
  int64_t timeout_ms = 0;                   // for each of the commands; see ComposeRootOptions
  int64_t grace_ms = 10000;
  unsigned jobs = 0;                        // threads; 0: as many as there are processors
};

struct Composition {
  CachedRoot root;
  int64_t compose_ns = 0;  // of a hit: of finding it
  uint64_t made_entries = 0;
};

// What --userns means for integration commands that are given with it.
void SetIntegrationIds(Userns userns, DependencySet* set);

Result<Composition> Compose(const Store& store, const DependencySet& set,
                            const CompositionOptions& options, const Observer& observer);

// The automatic collector: for after something was published. Collects if the store's configuration
// has a max-size, the store is larger, and ten minutes have passed since the last look. Fails
// nothing: what goes wrong is a warning.
void CollectAfterPublishing(const Store& store, const Observer& observer);

// For after an import has replaced a damaged layer: says so, and drops what was made of the damaged one
// and shares its files. Fails nothing, as above.
void RepairAfterReplacing(const Store& store, const LayerId& id, const Observer& observer);

}  // namespace strata
