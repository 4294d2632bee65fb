// SPDX-License-Identifier: Apache-2.0
//
// Diff: what differs between two layers, from their manifests alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cache/manifest.h"

namespace strata {

enum DiffField : uint32_t {
  kDiffType = 1 << 0,
  kDiffMode = 1 << 1,
  kDiffOwner = 1 << 2,
  kDiffMtime = 1 << 3,
  kDiffContent = 1 << 4,
  kDiffTarget = 1 << 5,  // of a symlink
  kDiffXattrs = 1 << 6,
  kDiffHardlink = 1 << 7,  // in another group, by the path of its first entry
  kDiffFlags = 1 << 8,     // opaque or implicit
};

struct Difference {
  enum class Kind { kAdded, kModified, kDeleted };
  Kind kind;
  const std::string& path;  // valid during the visit; "" is the root
  uint32_t old_entry = kNoEntry;
  uint32_t new_entry = kNoEntry;
  uint32_t fields = 0;  // DiffField, of a modified entry
};

// Pre-order, names sorted. Everything below an added or deleted directory is visited as well.
void Diff(const Manifest& old_layer, const Manifest& new_layer,
          const std::function<void(const Difference&)>& visit);

}  // namespace strata
