// SPDX-License-Identifier: Apache-2.0
//
// What the lower layers of a root show together, as one tree: what the hardlink, reflink and copy
// stagers make. Exactly the merged tree: no mount points are added, no whiteout is left; hardlink
// groups stay groups within each lower layer.
#pragma once

#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/tree_plan.h"

namespace strata {

// `bottom_first` and its manifests must outlive the plan.
Result<TreePlan> FlattenChain(const std::vector<PlanSource>& bottom_first);

// FlattenChain of what `content` mounts, made in the empty directory `tree_fd`. The caller holds
// the root's lease. `items`: the set's, for the directories among them, which are read then. Not with
// kLink: the links would be to the caller's own files. Without, a directory is kUnsupported.
Result<void> MakeRootTree(const Store& store, const RootContent& content, int tree_fd,
                          const MakeTreeOptions& options, const std::vector<SetItem>& items = {});

}  // namespace strata
