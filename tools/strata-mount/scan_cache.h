// SPDX-License-Identifier: Apache-2.0
//
// What a look into every directory of a layer has found, kept for the next mount: where the layer
// is one of containers/storage, which never changes (STORAGE/overlay/ID/diff, beside a file
// `link`), in a file beside it that goes when the layer does. Other directories are looked through
// each time.
#pragma once

#include <string>

#include "base/result.h"
#include "tools/strata-mount/marks.h"

namespace strata::mount {

enum class Change {
  kNone,
  kPossible,  // what is found is not kept
};

// ScanMarks(layer_fd, kernel), or what it found before. A file that is damaged, or of another
// directory, is not believed, and one that cannot be written does no harm.
Result<MarkScan> ScanLayer(const std::string& path, int layer_fd, KernelMarks kernel,
                           Change change);

}  // namespace strata::mount
