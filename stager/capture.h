// SPDX-License-Identifier: Apache-2.0
//
// Capture: what a command wrote becomes a layer, by rename: no file is copied, each new or changed
// one is read once, for its digest. The cost follows what changed, not the size of the root.
//
// Both functions must run after every process of the sandbox is gone. They take a PendingLayer
// whose `tree` has just been renamed into place (and so is on the store's file system), normalise
// it in place, and publish it. On failure the pending tree is removed with its content.
//
// In both the tree belongs to the caller afterwards. With a mapping of several ids they work in that
// namespace. In both, setuid and setgid bits and security.capability go into the manifest and from the disk;
// the root's own attributes, ACLs and devices are left out. A path over 4095 bytes, or more levels
// than the process may have descriptors, is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/id_map.h"
#include "base/result.h"
#include "cache/import.h"
#include "cache/store.h"
#include "stager/lower_chain.h"

namespace strata {

struct CaptureOptions {
  std::optional<int64_t> mtime;  // every mtime of a new or changed entry becomes this second
  uint32_t uid = 0;              // owner of entries that are new (ids as seen in the sandbox)
  uint32_t gid = 0;
  // The ids of the sandbox. With more than one, each entry has the owner that it has on disk, as seen in the
  // sandbox, and the two above mean nothing. Not owned.
  const IdMapping* mapping = nullptr;
  std::vector<std::string> leave_out;  // clean paths ("work/out"): mount points, never captured
  // Publish it as derived/<derived> instead of as a layer, and only if there is anything in it.
  std::string derived;
  unsigned jobs = 0;                   // 0: as many as there are processors
  Progress* progress = nullptr;
};

struct CaptureResult {
  LayerId id;            // of a layer
  bool existed = false;  // the same
  bool replaced = false;  // the same: PublishedLayer
  LayerLease lease;      // the same; until it has a name
  uint64_t entries = 0;  // of the layer, the root not counted
  uint64_t content_bytes = 0;
  uint64_t dropped = 0;  // unchanged copy-ups, whiteouts that hide nothing, sockets, ...
  std::vector<std::string> warnings;
};

// The upper directory of an overlay whose lower layers are `lower` (skeleton included). Normalised:
// overlayfs's own attributes stripped; whiteouts and opaque marks kept only where they hide
// something in `lower`; unchanged copy-ups dropped, unless hard-linked to an entry that is kept, or
// to one that `lower` has as another inode; sockets and devices left out. Owners and, where the
// content is unchanged, setuid bits and capabilities are inherited from `lower` for entries that
// exist there with the same type. With a mapping of several ids an owner is inherited where the mapping
// lacks the one in `lower` and the file is the caller's.
Result<CaptureResult> CaptureUpper(const Store& store, PendingLayer pending,
                                   const LowerChain& lower, const CaptureOptions& options);

// A plain directory (--output): nothing lies below it. Anything that would act as overlayfs
// metadata (0:0 devices, user.overlay.* attributes) is removed from it.
Result<CaptureResult> CaptureDirectory(const Store& store, PendingLayer pending,
                                       const CaptureOptions& options);

}  // namespace strata
