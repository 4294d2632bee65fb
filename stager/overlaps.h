// SPDX-License-Identifier: Apache-2.0
//
// Which paths several members of a dependency set provide, and what conflicts: the analysis that
// DraftRoot makes, told in full and without making anything (but views).
#pragma once

#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/staging_rules.h"

namespace strata {

struct OverlapReport {
  DependencySet set;                // deduplicated; layers below are indexes into its items
  std::vector<Overlap> overlaps;    // sorted by path
  std::vector<Conflict> conflicts;  // in the order of the layers
};

// Conflicts are reported, whatever the set's policy; it says who wins.
Result<OverlapReport> FindOverlaps(const Store& store, const DependencySet& set);

}  // namespace strata
