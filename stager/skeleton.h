// SPDX-License-Identifier: Apache-2.0
//
// The skeleton: a derived layer that holds the mount points of a root, so that read-only roots work and
// a capture never contains a mount point. It lies on top of the layers, right below the upper, where
// no opaque directory can hide it; for a mount point inside a directory of the layers, it repeats that
// directory's merged metadata. Skeletons are kept in the store and shared by every root that needs the
// same one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/store.h"
#include "stager/lower_chain.h"

namespace strata {

struct MountPoint {
  std::string path;  // clean: "work/src"
  bool directory = true;
};

// kSandbox: every sandbox has /proc, /dev and /tmp.
enum class MountPoints { kSandbox, kListed };

struct Skeleton {
  std::string path;  // relative to the store: derived/skeleton-.../tree
  std::string manifest_path;
  FileLock lease;    // shared: keeps it from being collected
  bool foreign_owners = false;  // it repeats directories of others than 0:0
};

// The one that every root has: /proc, /dev and /tmp. Opens no manifest.
Result<Skeleton> BasicSkeleton(const Store& store);

// Besides those (kSandbox), or alone, `points`. Nothing where none is missing. A point that the layers have is not repeated; links on the way are followed
// inside the root. A point below a file, or of the wrong kind, is an error.
Result<std::optional<Skeleton>> SkeletonFor(const Store& store, const LowerChain& layers,
                                            MountPoints basic,
                                            const std::vector<MountPoint>& points);

// Where `path` leads in the merged tree, links (absolute ones too) resolved inside it. `found` is
// empty where the last part, or more, does not exist: then `path` is where it would be made.
struct ResolvedPath {
  std::string path;
  std::optional<LowerChain::Merged> found;
};
Result<ResolvedPath> ResolveInChain(const LowerChain& layers, std::string_view path);

}  // namespace strata
