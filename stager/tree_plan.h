// SPDX-License-Identifier: Apache-2.0
//
// TreePlan: a tree that is to be made out of trees that exist: the manifest that it will have and, for
// each entry that is no directory and no whiteout, where its file is. Segments, deltas, views, and the
// roots of the hardlink, reflink and copy stagers are all made from one (MakeTree).
//
// The manifests that a plan refers to must outlive it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/id_map.h"
#include "base/result.h"
#include "cache/import.h"
#include "cache/manifest.h"
#include "cache/providers.h"
#include "cache/store.h"

namespace strata {

struct PlanSource {
  std::string tree;  // directory, relative to the store ("layers/ID/tree") or absolute
  const Manifest* manifest = nullptr;  // of that tree
};

struct TreePlan {
  static constexpr uint32_t kNone = 0xffffffff;
  struct Origin {
    uint32_t source = kNone;  // index into `sources`; kNone for directories and whiteouts
    uint32_t entry = 0;       // in that source's manifest: the file to link or to copy
  };
  Manifest manifest;
  std::vector<PlanSource> sources;
  std::vector<Origin> origins;  // one for each entry of `manifest`
  // The same: the sources that entries, directories too, are of. Right where PlanTree made the plan, of a
  // tree that is not mixed() and has no whiteouts or opaque marks.
  std::vector<Provider> providers;
};

// How a file of a layer gets into the tree.
enum class PlaceFile {
  kLink,     // a hard link; where a file has too many (EMLINK) a copy of it, and that is the next one's source
  kReflink,  // a copy that shares its blocks (FICLONE); kUnsupported where the file system cannot
  kCopy,
};

struct MakeTreeOptions {
  PlaceFile place = PlaceFile::kLink;
  unsigned jobs = 0;             // 0: as many as there are processors
  Progress* progress = nullptr;  // entries are counted
  // Gives entries their owners, too; the caller is uid 0 of a namespace with this mapping. An id that it
  // lacks becomes 0. What belongs to others than 0:0 is never linked. Not owned.
  const IdMapping* owners = nullptr;
};

// Fills the empty directory `tree_fd`. Files keep content, mode on disk, mtime and user xattrs, and
// hardlink groups of the manifest; directories get theirs (FinishTree), whiteouts and opaque marks
// included, and the root 0755 and kRootMtime. A failure leaves a part of the tree behind, for the
// caller to remove.
Result<void> MakeTree(const Store& store, const TreePlan& plan, int tree_fd,
                      const MakeTreeOptions& options);

// MakeTree in a private directory of the store, published as derived/<name>. Whoever was first wins.
// Returns the path of its tree relative to the store, and a shared lease on it.
struct DerivedLayer {
  std::string path;  // derived/<name>/tree
  FileLock lease;
  bool existed = false;
};
Result<DerivedLayer> PublishTree(const Store& store, const TreePlan& plan, const std::string& name,
                                 const MakeTreeOptions& options,
                                 const Providers* providers = nullptr);  // null: none are kept
// One that was published before; nothing where there is none.
Result<std::optional<DerivedLayer>> FindDerived(const Store& store, const std::string& name);

}  // namespace strata
