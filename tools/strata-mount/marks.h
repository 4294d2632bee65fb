// SPDX-License-Identifier: Apache-2.0
//
// Marks in a layer that the kernel does not know and fuse-overlayfs does: files `.wh.NAME` instead
// of whiteouts (containers/storage unpacks images so when it has a mount program), files
// `.wh..wh..opq` in opaque directories, and opaque directories by an attribute of another name than
// the kernel looks for.
//
// A lower layer is never changed. Where it has such marks, two small layers beside it say the same
// in the kernel's words: one above it, with whiteouts for NAME and for the files themselves, and
// one below it, with whiteouts for the opaque directories, so that nothing further down shows in
// them. (Above it they would hide the layer's own.) An upper directory is the caller's own, and its
// marks are put into the kernel's words in place; fuse-overlayfs knows those, too.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace strata::mount {

struct Mark {
  enum class Kind : char {
    kWhiteout = 'w',  // `path` is what it hides: a/NAME for a/.wh.NAME
    kOpaque = 'o',    // `path` is the directory; "" is the layer itself
  };
  Kind kind;
  std::string path;
  bool operator==(const Mark&) const = default;
};

// Which attribute the kernel looks for: user.overlay.opaque or trusted.overlay.opaque.
enum class KernelMarks { kUser, kTrusted };

struct MarkScan {
  std::vector<Mark> marks;
  // Owners and modes of the layer are in attributes (fuse-overlayfs's xattr_permissions), which no
  // overlay of the kernel reads: the name of the attribute.
  std::string override_attribute;
};

// Looks into every directory of the layer. What cannot be entered is left out, as it is in the
// overlay.
Result<MarkScan> ScanMarks(int layer_fd, KernelMarks kernel);

// Makes the layer above (`above_fd` is empty), with the metadata that the directories have in the
// layer.
Result<void> MakeLayerAbove(int layer_fd, const std::vector<Mark>& marks, int above_fd);
// Makes the one below. The mark of the layer itself is not in it.
Result<void> MakeLayerBelow(const std::vector<Mark>& marks, int below_fd);
// In an upper directory: replaces the marks.
Result<void> TranslateMarks(int upper_fd, const std::vector<Mark>& marks, KernelMarks kernel);

bool HasOpaque(const std::vector<Mark>& marks);
bool IsOpaqueItself(const std::vector<Mark>& marks);  // nothing below the layer shows

}  // namespace strata::mount
