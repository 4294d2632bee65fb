// SPDX-License-Identifier: Apache-2.0
//
// Private to import: what the readers of directories and of archives share.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cache/import.h"
#include "cache/manifest.h"
#include "cache/store.h"
#include "cache/tree_writer.h"

namespace strata {

// Collects ImportResult::warnings. Thread-safe.
class Warnings {
 public:
  void Add(std::string line);
  std::vector<std::string> Take();

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
  size_t more_ = 0;
};

// One import under way.
struct ImportContext {
  ImportContext(const Store& the_store, int tree_fd, const ImportOptions& the_options, bool keep)
      : store(the_store), options(the_options), keep_owner(keep), writer(tree_fd, options.jobs) {}

  // Applies the owner and mtime policies.
  Result<void> SetMetadata(std::string_view path, ManifestBuilder::Data& data, uint32_t mode,
                           int64_t uid, int64_t gid, int64_t mtime_sec, int64_t mtime_nsec);
  // Keeps, drops (with a warning) or refuses one attribute. `path` is for messages. Thread-safe for
  // distinct `data`.
  Result<void> AddXattr(std::string_view path, ManifestBuilder::Data& data, std::string_view name,
                        std::string value);
  // A file that was linked to another one, already added: made on disk by MakeLinks.
  void AddLink(ManifestBuilder::Node link, ManifestBuilder::Node to);
  Result<void> MakeLinks();
  void CountEntry();
  void CountBytes(uint64_t bytes);

  const Store& store;
  const ImportOptions& options;
  const bool keep_owner;
  Warnings warnings;
  ManifestBuilder builder;
  std::vector<std::pair<ManifestBuilder::Node, ManifestBuilder::Node>> links;
  TreeWriter writer;  // last: its threads use the rest
};

// A device node: left out (with a warning) below dev/, refused elsewhere.
Result<void> JudgeDevice(ImportContext& context, std::string_view path, bool character,
                         uint64_t major, uint64_t minor);

Result<void> ImportDirectory(ImportContext& context, int source_fd);

// `oci`: `.wh.` names are whiteouts and opaque marks.
Result<void> ImportArchive(ImportContext& context, int source_fd, bool oci);

}  // namespace strata
