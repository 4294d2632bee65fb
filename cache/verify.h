// SPDX-License-Identifier: Apache-2.0
//
// VerifyTree: whether a published directory (a layer or a derived layer) is what its manifest says,
// entry by entry: type, mode on disk, mtime, size, content, target, attributes, hardlink groups,
// and nothing that the manifest does not have. Number of links and ctime are no matter: segments
// share inodes with layers. Owners count in materialisations alone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/id_map.h"
#include "base/result.h"
#include "cache/import.h"
#include "cache/manifest.h"

namespace strata {

struct TreeDamage {
  std::string path;  // "usr/bin/cc", or "manifest"; "" for the tree as a whole
  std::string problem;
};

// The contents of files that have several names, by inode, so that what a segment shares with a
// layer is read once. Thread-safe. For as long as nobody writes to the store's files.
class KnownContents {
 public:
  void Add(ino_t inode, const Digest& digest);
  std::optional<Digest> Find(ino_t inode) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<ino_t, Digest> digests_;
};

enum class Widen {
  kNo,
  // Files and directories that not even their owner may read are made readable for a moment. For a
  // tree that nobody else can see.
  kForReading,
};

enum class Contents {
  kRead,
  kTaken,  // as they should be, and files' attributes too: what can be had without opening a file
};

struct VerifyOptions {
  Widen widen = Widen::kNo;
  Contents contents = Contents::kRead;
  unsigned jobs = 0;               // 0: as many as there are processors
  Progress* progress = nullptr;    // bytes are those hashed
  KnownContents* known = nullptr;  // asked and added to
  size_t max_damages = 100;        // more are counted in a last one
  // Of a materialisation: its mapping, in which the caller is. What the mapping lacks must be 0's.
  const IdMapping* owners = nullptr;
};

// `path`: relative to `dir_fd`, with manifest and tree/ in it. `id`: what the manifest must hash
// to; none for a derived layer, whose hardlink groups are not looked at either (EMLINK may have
// split one). Empty: it is whole. An error says that it could not be looked at: nothing is known
// then.
Result<std::vector<TreeDamage>> VerifyTree(int dir_fd, const std::string& path,
                                           const std::optional<LayerId>& id,
                                           const VerifyOptions& options);

// The same in a namespace with `mapping`: for a materialisation, and where modes shut the owner out, too.
// What `options.progress` and `options.known` get to know there is lost.
Result<std::vector<TreeDamage>> VerifyInMapping(int dir_fd, const std::string& path,
                                                const std::optional<LayerId>& id,
                                                const IdMapping& mapping,
                                                const VerifyOptions& options);

// VerifyTree; and where modes shut the owner out, the same as root of a namespace.
Result<std::vector<TreeDamage>> VerifyOwnTree(int dir_fd, const std::string& path,
                                              const std::optional<LayerId>& id,
                                              const VerifyOptions& options);

// The same of the manifest alone, as far as that can be told without an id.
Result<std::vector<TreeDamage>> VerifyManifest(int dir_fd, const std::string& path);

}  // namespace strata
