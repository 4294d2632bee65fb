// SPDX-License-Identifier: Apache-2.0
//
// strata_set: what a client has added so far, and the dependency set that it makes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cache/roots.h"
#include "tools/libstrata/handles.h"

struct strata_set {
  // With the commands of roots first, as they are part of what was added.
  strata::DependencySet Whole() const;

  strata::StorePtr store;
  strata::DependencySet added;
  size_t additions = 0;
  std::optional<strata::DependencySet> root;  // the last root that was added, as it is by itself
  std::vector<std::string> commands;
  std::optional<strata::ConflictPolicy> on_conflict;
};
