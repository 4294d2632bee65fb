// SPDX-License-Identifier: Apache-2.0
//
// The interchangeable ways to show a composed root at a directory in the caller's own view of the
// file system. All of them show the same tree (design section 3), without mount points of a
// sandbox: owners are the caller's, setuid bits are in the manifests only.
//
//   overlay   mounted: only who may mount here (root, or in a user namespace of one's own)
//   fuse      fuse-overlayfs, whose daemon holds the lease on the root
//   hardlink  a tree of links to the layers' files, shown read-only by a bind mount or, writable,
//   below an
//             overlay; never without a mount above it, as the owner of a file can write to it
//             through any of its names, whatever its mode
//   reflink   the caller's own copy, which shares its blocks with the layers (btrfs, xfs)
//   copy      the caller's own copy
//
// StageAt leaves the root in place, with a record in the store (stage_record.h). For the time of
// one command, sandbox/stage_command.h mounts it in private namespaces instead.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/import.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/stage_record.h"

namespace strata {

enum class StageAccess { kWritable, kReadOnly };

// What a stager works on.
struct StageSite {
  const Store* store = nullptr;
  const CachedRoot* root = nullptr;
  std::string directory;  // absolute, without links; there, and empty
  std::string scratch;    // an empty directory for what the stager needs; relative to the store
  StageAccess access = StageAccess::kWritable;
  unsigned jobs = 0;
  Progress* progress = nullptr;
};

class Stager {
 public:
  virtual ~Stager() = default;
  virtual StageMethod method() const = 0;
  // kUnsupported: not on this machine, by this user, or at this place. After a failure nothing is
  // mounted, but there may be a part of a tree in the directory or the scratch.
  virtual Result<void> Put(const StageSite& site) const = 0;
  // Undoes Put, whole or in part; `record` says what must be found there. Leaves the scratch alone.
  virtual Result<void> Remove(const Store& store, const StageRecord& record) const = 0;
};
std::unique_ptr<Stager> MakeStager(StageMethod method);  // not kAuto

struct StageAtOptions {
  StageMethod method = StageMethod::kAuto;  // overlay, else fuse, else reflink, else copy
  StageAccess access = StageAccess::kWritable;
  unsigned jobs = 0;
  Progress* progress = nullptr;
};

// `directory` must be empty, or missing: then it is made. Returns the record, whose method is the
// one that was chosen. On failure all is as it was.
Result<StageRecord> StageAt(const Store& store, const CachedRoot& root,
                            const std::string& directory, const StageAtOptions& options);

// Takes away what StageAt put at `directory`, changed or not, and nothing else. kNotFound where
// this store has staged nothing there; kBusy while it is in use.
Result<void> Unstage(const Store& store, const std::string& directory);

// For who stages at a directory in another way: opens (and makes, when it is missing) the
// empty directory `path`.
struct StageDirectory {
  std::string path;  // absolute, without links
  bool made = false;
};
Result<StageDirectory> PrepareStageDirectory(const Store& store, const std::string& path);

// The lower layers for an overlay with or without an upper: it needs two lowers without one, so an
// empty directory, made as `scratch`/empty, may be added.
Result<std::vector<std::string>> OverlayLowers(const Store& store, const RootContent& content,
                                               const std::string& scratch, StageAccess access);

}  // namespace strata
