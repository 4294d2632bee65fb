// SPDX-License-Identifier: Apache-2.0
//
// Store: everything that strata keeps on disk (format.md), one directory of one user, mode 0700.
//
// A layer becomes visible by one rename of a complete directory (PendingLayer::Publish); whoever loses
// a race for the same id uses the winner's. A LayerLease keeps a layer from being removed.
//
// A Store is immutable after Open and may be used from several threads; so may several processes use
// the same directory.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "cache/manifest.h"

namespace strata {

class Store;

// Shared lock on a layer, and its tree: as long as it lives (or a duplicate of the descriptor, in a
// sandbox's pid 1 for instance), the layer is not removed. Holds a readable directory descriptor.
class LayerLease {
 public:
  int tree_fd() const { return lock_.fd(); }
  UniqueFd Release() && { return lock_.Release(); }

 private:
  friend class Store;
  explicit LayerLease(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

// A layer in the making: tmp/<random>/ with tree/ in it. Removed with its content unless published.
class PendingLayer {
 public:
  int dir_fd() const { return dir_.fd(); }          // rename a ready tree to "tree" in here ...
  int tree_fd() const { return tree_.get(); }       // ... or fill this one
  const TempDir& dir() const { return dir_; }

 private:
  friend class Store;
  TempDir dir_;
  UniqueFd tree_;
};

struct PublishedLayer {
  LayerId id;
  bool existed = false;  // the store had it already; what was pending is removed
};

class Store {
 public:
  // $STRATA_STORE, else $XDG_DATA_HOME/strata, else ~/.local/share/strata.
  static Result<std::string> DefaultPath();
  // Opens the store, and makes it where there is none.
  static Result<Store> Open(const std::string& path);

  const std::string& path() const { return path_; }
  int fd() const { return root_.get(); }
  // Subdirectories by name ("layers", "refs", "tmp", ...; see format.md), opened at first use by the
  // caller; made when missing.
  Result<UniqueFd> OpenDir(const std::string& name) const;

  // --- Layers
  Result<bool> HasLayer(const LayerId& id) const;
  Result<Manifest> OpenManifest(const LayerId& id) const;
  // Fails with kNotFound where there is no such layer.
  Result<LayerLease> LeaseLayer(const LayerId& id) const;
  Result<std::vector<LayerId>> ListLayers() const;
  // `with_tree`: makes an empty tree/ (0755) to fill. Without it, the caller renames one into place.
  Result<PendingLayer> NewLayer(bool with_tree = true) const;
  // Writes the manifest beside the tree, sets the root's mode and mtime, and publishes both.
  Result<PublishedLayer> Publish(PendingLayer pending, const std::vector<uint8_t>& manifest) const;
  // The same for a derived layer, as derived/<name>; whoever was first wins.
  Result<void> PublishDerived(PendingLayer pending, const std::vector<uint8_t>& manifest,
                              const std::string& name) const;
  // With the refs `names`. kBusy while somebody holds a lease on it: then all stay.
  Result<void> RemoveLayer(const LayerId& id, const std::vector<std::string>& names = {}) const;

  // --- Refs: names for layers. [A-Za-z0-9._/:+~@-], 1 to 100 bytes, no empty, "." or ".." part, not
  // starting with '-' or "dir:".
  static Result<void> CheckRefName(std::string_view name);
  Result<void> SetRef(std::string_view name, const LayerId& id) const;
  Result<LayerId> ReadRef(std::string_view name) const;  // kNotFound
  Result<void> RemoveRef(std::string_view name) const;   // kNotFound
  struct Ref {
    std::string name;
    LayerId id;
  };
  Result<std::vector<Ref>> ListRefs() const;  // sorted by name

  // A ref, else an id prefix of 4 or more hex digits. kNotFound, with near names as the hint;
  // kAmbiguous, with the candidates as the hint.
  Result<LayerId> Resolve(std::string_view name) const;

  // Removes what killed processes left in tmp/, stages/ and trash/. Cheap when there is nothing.
  Result<void> CleanLeftovers() const;

 private:
  Result<bool> PublishAs(PendingLayer pending, const std::vector<uint8_t>& manifest,
                         const std::string& path) const;
  Store(std::string path, UniqueFd root) : path_(std::move(path)), root_(std::move(root)) {}

  std::string path_;
  UniqueFd root_;
};

}  // namespace strata
