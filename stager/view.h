// SPDX-License-Identifier: Apache-2.0
//
// Views (cache/view.h) as layers: derived/view-HEX, where HEX is SHA-256 of the layer's id and the
// canonical view. Made when first asked for, with hard links (copies where the files are on another
// file system).
//
// What is in a view: every entry whose path a glob matches, and all that is below it; without globs
// everything. Directories above keep their metadata where they have an entry, but not an opaque
// mark: what they hide is not part of the view. Instead the directories that a glob matched are
// opaque where one above them was. Whiteouts are entries like others. at= moves it all; the
// directories of the prefix are implicit, the last one opaque where the root was. Names of one file
// that are both in the view stay hard links. Integration commands of the layer stay.
#pragma once

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/manifest.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "cache/view.h"
#include "stager/tree_plan.h"

namespace strata {

// The tree of a view of `source`, whose manifest must outlive the plan. kNotFound where the globs
// match nothing.
Result<TreePlan> PlanView(const PlanSource& source, const View& view);

struct ViewLayer {
  LayerId id;        // HEX
  std::string path;  // derived/view-HEX/tree
  Manifest manifest;
  FileLock lease;
};

// `item` is a layer, or a directory with a key, and has a view.
Result<ViewLayer> OpenView(const Store& store, const SetItem& item);

}  // namespace strata
