// SPDX-License-Identifier: Apache-2.0
//
// From a dependency set to a root that can be mounted: what a miss of the composed-root cache does.
// (A hit is cache/roots.h's FindRoot, and integration commands are sandbox/compose_root.h's, which
// everything that needs a root calls.)
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/import.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {

struct ComposeOptions {
  unsigned jobs = 0;             // threads that link; 0: as many as there are processors
  Progress* progress = nullptr;  // entries: links made; total_entries known from the start
  // For messages; else the first digits of the id.
  std::function<std::string(const SetItem&)> name_of;
  // Bounds, chosen by measurement (bench/DEPTH.md); other values are for measuring and testing.
  size_t max_direct = 8;  // a longer chain is flattened
  size_t max_segments = 1;
  size_t delta_part = 2;  // a delta may hold at most half as many entries as the root; 0: no deltas
};

// A root that is ready but not in the cache yet.
struct RootDraft {
  DependencySet set;  // deduplicated
  RootContent content;
  std::vector<FileLock> leases;       // on all that `content` mounts
  std::vector<std::string> commands;  // integration: those that the layers declare, then the set's
  std::vector<std::string>
      warnings;  // conflicts that were resolved by --on-conflict, the first few
};

// Finds overlaps and conflicts from the manifests, chooses direct, delta or segments (design
// section 4), and makes the derived layers that are missing. Conflicts are kInvalid with
// on_conflict == kError: the error names both layers and the path.
Result<RootDraft> DraftRoot(const Store& store, const DependencySet& set,
                            const ComposeOptions& options);

}  // namespace strata
