// SPDX-License-Identifier: Apache-2.0
//
// What things in the store take on disk.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "cache/manifest.h"
#include "cache/store.h"

namespace strata {

// From the manifest alone: what the tree takes in blocks of 4 KiB, its directories and the manifest
// included.
uint64_t EstimateLayerBytes(const Manifest& manifest);

// As du: blocks on disk, of trees added one by one. A file with several names counts once, and as
// `own` only when all its names are in what was added: removing that would free it.
class DiskUsage {
 public:
  // A file or a whole tree; one that is missing, or that vanishes meanwhile, counts nothing.
  // Directories that the caller may not read or search count as empty.
  Result<void> Add(int dir_fd, const std::string& path);
  uint64_t own_bytes() const { return own_; }
  uint64_t shared_bytes() const { return shared_; }  // files that have names elsewhere too
  uint64_t entries() const { return entries_; }

 private:
  struct Inode {
    uint64_t bytes = 0;
    uint64_t missing = 0;  // names not seen yet
  };
  void Count(const struct ::stat& st);
  Result<void> Walk(int dir_fd, const std::string& name, int depth);

  std::unordered_map<uint64_t, Inode> linked_;  // by inode: one file system
  uint64_t own_ = 0;
  uint64_t shared_ = 0;
  uint64_t entries_ = 0;
};

// What all of the store takes, layers estimated from their manifests.
struct StoreUsage {
  uint64_t layer_count = 0;
  uint64_t layer_bytes = 0;
  uint64_t layer_content_bytes = 0;  // the sum of the files' sizes
  uint64_t root_count = 0;
  uint64_t root_bytes = 0;
  uint64_t derived_count = 0;
  uint64_t derived_bytes = 0;   // their own
  uint64_t derived_shared = 0;  // links to files of layers: counted there
  uint64_t workspace_count = 0;
  uint64_t workspace_bytes = 0;
  uint64_t cache_count = 0;
  uint64_t cache_bytes = 0;
  uint64_t scratch_bytes = 0;  // stages/, tmp/, trash/ and damaged/
  uint64_t total() const {
    return layer_bytes + root_bytes + derived_bytes + workspace_bytes + cache_bytes + scratch_bytes;
  }
};
Result<StoreUsage> MeasureStore(const Store& store);

}  // namespace strata
