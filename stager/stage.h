// SPDX-License-Identifier: Apache-2.0
//
// Stage: one live root, made of what a composed root (cache/roots.h) says is to be mounted. It adds
// the mount points and, unless it is read-only, an upper and a work directory: a scratch one in the
// store's stages/ that goes with the Stage, or a workspace that stays.
//
// From a root to paths: what RunSandbox mounts, comes from here. Nothing is mounted here, and no
// layer is looked at: what preparing costs does not depend on how many there are.
//
// Not thread-safe. The Store must outlive the Stage.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/id_map.h"
#include "base/result.h"
#include "base/temp_dir.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/lower_chain.h"
#include "stager/materialise.h"
#include "stager/scratch.h"
#include "stager/skeleton.h"

namespace strata {

struct StageOptions {
  enum class Upper {
    kNone,       // read-only root
    kStore,      // in the store's stages/
    kDirectory,  // in `directory`, on another file system perhaps
    kTmpfs,      // made by the sandbox, gone with it
    kWorkspace,  // the store's workspaces/<workspace>, kept
  };
  Upper upper = Upper::kStore;
  std::string directory;
  std::string workspace;
  // kSandbox: /proc, /dev and /tmp, and besides those `mount_points`. kListed: only those.
  MountPoints points = MountPoints::kSandbox;
  std::vector<MountPoint> mount_points;
  // The items of the set: where one is an unmanaged directory, it tells where its manifest is.
  std::vector<SetItem> items;
  // The ids of the sandbox. With more than one, lowers that have other owners than 0:0 are replaced
  // by materialisations, which are made where they are missing; and what it writes has owners of
  // its own.
  std::optional<IdMapping> mapping;
  MaterialiseOptions materialise;
};

class Stage {
 public:
  // `leases`: descriptors of what keeps `root` from being removed: the lease of a cached root, or
  // those of a draft. The caller's, and open for as long as the Stage lives.
  static Result<Stage> Prepare(const Store& store, const RootContent& root, std::vector<int> leases,
                               const StageOptions& options);
  Stage(Stage&&) noexcept = default;
  Stage& operator=(Stage&&) noexcept = default;

  // Bottom first, the skeleton on top; relative to the store.
  const std::vector<std::string>& lowers() const { return lowers_; }
  // Relative to the store, or absolute. Empty with kNone and kTmpfs.
  const std::string& upper() const { return upper_; }
  const std::string& work() const { return work_; }
  // Leases and locks that the sandbox's pid 1 must hold, the root's among them.
  std::vector<int> Held() const;

  // While the sandbox runs, and until `stop`: cleans up behind earlier ones.
  void SweepUp(const std::function<bool()>& stop);

  // An empty directory in the stage's scratch, for an --output or a copy-on-write bind. Relative to
  // the store.
  Result<std::string> MakeDirectory(const std::string& name);

  // What the root shows without its upper, skeleton included. Opens the manifests at the first
  // call.
  Result<const LowerChain*> Chain();

  // After a sandbox has ended: lets another one go on with the same upper.
  Result<void> MakeMountableAgain();

  // After the sandbox has ended: a directory of this stage (upper(), or one of MakeDirectory) where
  // a capture wants it. Moved there by rename; copied out of a workspace, which keeps it, and from
  // another file system. Not with Upper::kTmpfs.
  Result<PendingLayer> TakeForCapture(const std::string& directory);
  // After the sandbox has ended: keeps upper and work as the workspace `name`. Needs Upper::kStore.
  Result<void> KeepAsWorkspace(const std::string& name);
  // After a clean end, for kWorkspace: lets the next run use the upper again.
  Result<void> EndWorkspace();

  // In a child of fork, whose copy it is: what it has on disk is left alone, as the parent's.
  void Abandon();

 private:
  explicit Stage(const Store& store) : store_(&store) {}
  Result<void> FindLowers(const RootContent& root, const StageOptions& options);
  Result<void> AddSecondLower(const StageOptions& options);
  Result<void> MakeUpper(const StageOptions& options);
  Result<void> MakeMovable(const std::string& directory) const;
  Result<void> OpenWorkspace(const std::string& name);
  Result<Manifest> OpenManifestOf(const std::string& lower) const;
  Result<void> OpenManifests();
  Result<void> TakeScratch();

  const Store* store_;
  std::vector<int> leases_;  // not owned
  std::vector<FileLock> materialisations_;
  std::optional<IdMapping> mapping_;  // of several ids
  std::optional<Skeleton> skeleton_;
  std::vector<std::string> lowers_;
  std::string upper_;
  std::string work_;
  Scratch scratch_;        // taken when something needs it
  UniqueFd elsewhere_fd_;  // kDirectory: the directory that holds ...
  TempDir elsewhere_;      // ... upper and work
  FileLock workspace_;
  std::vector<SetItem> directories_;
  std::vector<Manifest> manifests_;
  std::unique_ptr<LowerChain> root_chain_;  // without the skeleton
  std::unique_ptr<LowerChain> chain_;
};

}  // namespace strata
