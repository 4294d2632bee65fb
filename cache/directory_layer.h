// SPDX-License-Identifier: Apache-2.0
//
// A directory that the store does not manage, staged where it is (`dir:PATH[@KEY]`). The caller
// promises not to change it while it is staged; with a key, that its content is the same for ever
// under that key.
//
// It is read as an import reads a directory, but nothing is copied and no file is opened, so what an
// import would leave out or mend is refused instead: whiteout nodes and `*.overlay.*` attributes,
// device nodes, sockets, setuid and setgid files (no tree on disk has them, see format.md), mount
// points below it, entries whose user or group is not the caller's (a sandbox maps one of each, and no
// other could be written to). Owners are 0:0 in the manifest. ACLs and attributes that a layer does
// not keep stay where they are, and show where the directory is mounted as it is.
//
// Contents are not read: a file's digest in the manifest is a mark of the file itself (device,
// inode, time of birth), so that only hard links of one file count as the same. That is what costs
// the caller least: a tool's own store of artifacts, hardlinked from one pool, still compares well.
//
// With a key the manifest is kept, as derived/dir-ID/manifest beside an empty tree/, and the
// directory is read once for ever; without one it is read each time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/manifest.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {

// The item of a dependency set: with a key, its id is SHA-256 of "dir", the real path and the key.
// Looks at the path alone. kInvalid where it is the store, in the store or around it.
Result<SetItem> MakeDirectoryItem(const Store& store, const std::string& path,
                                  const std::optional<std::string>& key);

struct DirectoryLayer {
  LayerId id;        // of the item; zero without a key
  std::string path;  // absolute, without links
  Manifest manifest;
  // Whether its files can be hardlinked into the store: the same file system, and the same mount of
  // it.
  bool same_file_system = false;
  FileLock lease;                     // on what is kept of it; not held without a key
  std::vector<std::string> warnings;  // of this reading, see ImportResult
};

// `item` has a directory. kHostile, kInvalid and kBusy (it changed meanwhile) as for imports.
Result<DirectoryLayer> OpenDirectoryLayer(const Store& store, const SetItem& item);

// Whether the digest of a file is such a mark, instead of one of its content.
bool IsMarkOfFile(const Digest& digest);

}  // namespace strata
