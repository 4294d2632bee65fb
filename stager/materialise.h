// SPDX-License-Identifier: Apache-2.0
//
// Makes materialisations (cache/materialisation.h): with one id mapped every tree of the store is
// right as it is, as all in it belongs to the caller; with a range of ids, those whose manifests
// have other owners than 0:0 are replaced by trees that have these owners on disk. Directories are
// made anew, files that belong to 0:0 are hard links to those of the first tree, the others copies.
// Setuid bits and security.capability stay in the manifest alone.
//
// A materialisation is made when a root with it is first mounted with that mapping, in the matching
// user namespace, and found by its name from then on: no manifest is opened. Who mounts it holds a
// lease on it. Of several processes that need the same one, one makes it while the others wait.
#pragma once

#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/id_map.h"
#include "base/result.h"
#include "cache/materialisation.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/tree_plan.h"

namespace strata {

struct MaterialiseOptions {
  UnmappedOwner unmapped = UnmappedOwner::kFail;
  unsigned jobs = 0;
  Progress* progress = nullptr;  // total_entries is added to; what is made meanwhile is not counted
};

// What to mount in place of `tree` ("layers/ID/tree", "derived/NAME/tree"), which the caller has a
// lease on: the materialisation, leased; `tree` itself, with no lease, where it has no other
// owners. kInvalid where the mapping lacks an owner (UnmappedOwner::kFail).
Result<DerivedLayer> Materialise(const Store& store, const std::string& tree,
                                 const IdMapping& mapping, const MaterialiseOptions& options);

// The lowers of a root, whose lease the caller holds. With a mapping of one id: as they are.
struct MappedLowers {
  std::vector<std::string> lowers;
  std::vector<FileLock> leases;
};
Result<MappedLowers> MaterialiseLowers(const Store& store, const RootContent& root,
                                       const IdMapping& mapping, const MaterialiseOptions& options);

}  // namespace strata
