// SPDX-License-Identifier: Apache-2.0
//
// Stages without a process of their own: roots that `strata stage` left in place at a directory.
// Each has a directory stages-at/ID in the store with a record of what is where (format.md), and
// with what the stage needs: upper, work. It is flocked as long as the stage is being made or
// removed.
//
// All functions are safe against other processes at the same store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/temp_dir.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {

enum class StageMethod : uint8_t { kAuto, kOverlay, kFuse, kHardlink, kReflink, kCopy };
std::string_view StageMethodName(StageMethod method);  // "auto", "overlay", ...
std::optional<StageMethod> StageMethodFromName(std::string_view name);
// Whether the files at the directory are the caller's own, instead of a mount of the store's.
inline bool IsCopy(StageMethod method) {
  return method == StageMethod::kReflink || method == StageMethod::kCopy;
}

struct StageRecord {
  std::string id;         // 16 hex digits: its directory is stages-at/ID
  std::string directory;  // where it is: absolute, without links
  StageMethod method = StageMethod::kCopy;
  RootKey root;
  int64_t started = 0;          // seconds since 1970
  bool made_directory = false;  // the directory was not there before
  bool complete = false;        // else it was left half-made
  // Of mounts: which one, and where that number means something.
  std::string boot_id;
  uint64_t mount_namespace = 0;
  uint64_t mount_id = 0;
  // The same by ids that are never used again (Linux 6.11), where who staged it made its user namespace, so that
  // the same user can ask for them from outside; else 0. Nothing else tells of a namespace that is gone.
  uint64_t unique_mount = 0;
  uint64_t unique_namespace = 0;
  // Of copies: the directory itself. Its birth (nanoseconds since 1970; 0 where the file system
  // does not tell) as the number of an inode is soon used again.
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t birth = 0;
};

enum class StageState {
  kMaking,  // another process has it in hand
  kLive,
  kStale,  // its mount is gone, its directory another, or it was left half-made
};

struct ListedStage {
  StageRecord record;
  StageState state = StageState::kLive;
};

// Makes stages-at/ID, locked, for `record`, whose id is filled in.
Result<TempDir> NewStageRecord(int stages_at_fd, StageRecord& record);
// Writes the record, with what `directory` is now: its mount, or its inode. Once before anything is
// done to the directory, and once more, complete, afterwards.
Result<void> WriteStageRecord(int record_dir_fd, StageRecord& record);

Result<std::vector<ListedStage>> ListStageRecords(const Store& store);  // by directory
// Removes the records of stale stages with what belongs to them in the store; nothing elsewhere.
Result<void> CleanStaleStages(const Store& store);
// Whether the open directory is the one of the record, which a copy was made in.
Result<bool> IsStagedDirectory(int directory_fd, const StageRecord& record);
// The roots that must not be removed, as no process holds a lease on them.
Result<std::vector<RootKey>> RootsHeldByStages(const Store& store);

}  // namespace strata
