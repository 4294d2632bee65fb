// SPDX-License-Identifier: Apache-2.0
//
// Private to compose.cc: the delta of a set that differs from a cached one in a few layers, worked out from
// these layers and from what the segment of that root knows of its own (cache/providers.h). The
// manifests of all the layers that both have, which is most of what a delta costs, stay closed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "stager/composition.h"
#include "stager/delta_base.h"
#include "stager/tree_plan.h"

namespace strata {

struct QuickDelta {
  // Of the other root. As long as it is leased, nobody removes the layers that both have.
  FileLock root_lease;
  std::string base;  // the segment that the delta lies on
  FileLock base_lease;
  std::unique_ptr<Manifest> base_manifest;
  std::vector<Member> added;  // layers that the segment lacks, bottom first
  std::vector<PlanSource> sources;  // the same
  TreePlan plan;
  std::vector<std::string> commands;  // that the set's layers declare
};

// Nothing where it takes more to know what shows: where the layers are not known to agree about what is a
// directory, where a path is left to layers further down; and where the delta would have more than 1/`part` of
// the set's entries. Nor where anything is amiss: whoever looks at every layer says what.
std::optional<QuickDelta> PlanQuickDelta(const Store& store, const DependencySet& set,
                                         const std::vector<NearRoot>& roots, size_t part);

// What a segment keeps for that; nothing where PlanQuickDelta could not rely on it. `members`: all the layers
// of the run, bottom first, none of them rewritten; `mixed`: what their MergedTree says.
std::optional<Providers> ProvidersOf(const TreePlan& segment, const DependencySet& set,
                                     const std::vector<Member>& members, bool mixed);

}  // namespace strata
