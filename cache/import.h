// SPDX-License-Identifier: Apache-2.0
//
// Import: a directory, a tar stream or an OCI layer becomes a layer of the store.
//
// The layer id depends on the content alone: not on who imports (root or not), when, from which
// kind of source, or on the order of the archive. Content is streamed: memory grows with the number
// of entries (about 440 bytes each), never with their size.
//
// An archive gives what tar would extract into an empty directory: later entries replace earlier
// ones, directories merge, a leading '/' is dropped. Names are bytes, whatever the locale.
//
// Sources are hostile until proved otherwise. Refused (kHostile): names with "..", or that no file
// system holds; entries below a symlink or file of the archive; a non-directory in place of a
// directory with entries; hardlinks to anything but an earlier entry; device nodes other than in
// /dev; whiteout nodes (0:0) and `*.overlay.*` attributes, everywhere; files over 1 TiB; more than
// 256 GiB of holes. Left out, with a warning: device nodes in /dev (a sandbox brings its own),
// sockets, ACLs, attributes other than user.* and security.capability. Truncated, damaged and other
// archives are kCorrupt; an uncompressed one counts as truncated unless it has tar's end mark. A
// directory that changes while it is read is kBusy.
//
// Thread safety: each call is independent; any number may run at once, in any number of processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/manifest.h"
#include "cache/store.h"

namespace strata {

enum class SourceFormat { kAuto, kDirectory, kTar, kOci };
enum class OwnerPolicy { kAuto, kKeep, kRoot };  // kAuto: kKeep for archives, kRoot for directories

// Written by the import, read by whoever shows progress.
struct Progress {
  std::atomic<uint64_t> bytes{0};        // of the source read so far
  std::atomic<uint64_t> total_bytes{0};  // 0: not known
  std::atomic<uint64_t> entries{0};
  std::atomic<uint64_t> total_entries{0};  // 0: not known
};

struct ImportOptions {
  SourceFormat format = SourceFormat::kAuto;
  OwnerPolicy owner = OwnerPolicy::kAuto;
  std::optional<int64_t> mtime;  // every mtime becomes this second; else kept
  std::vector<std::string> integration_commands;
  unsigned jobs = 0;  // 0: as many as there are processors
  Progress* progress = nullptr;
};

struct ImportResult {
  LayerId id;
  bool existed = false;
  bool replaced = false;  // it existed, but damaged; see PublishedLayer
  LayerLease lease;  // until it has a name
  uint64_t entries = 0;
  uint64_t content_bytes = 0;
  std::vector<std::string> warnings;  // one line each; at most 20, then one that counts the rest
};

// `source`: a path, or "-" for an archive on standard input.
Result<ImportResult> Import(const Store& store, const std::string& source,
                            const ImportOptions& options);
// From an open descriptor, the caller's, read from where it is. `name` is for messages.
Result<ImportResult> ImportDescriptor(const Store& store, int fd, const std::string& name,
                                      const ImportOptions& options);

}  // namespace strata
