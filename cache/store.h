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

// What a ref or a pin names: a layer, or a composed root (cache/roots.h) by its key.
struct Target {
  enum class Kind : uint8_t { kLayer, kRoot };
  Target() = default;
  Target(const LayerId& id) : layer(id) {}  // NOLINT: a layer is a target
  Target(const Key128& key) : kind(Kind::kRoot), root(key) {}  // NOLINT

  bool is_root() const { return kind == Kind::kRoot; }
  std::string Hex() const { return is_root() ? root.Hex() : layer.Hex(); }
  std::string_view KindName() const { return is_root() ? "root" : "layer"; }
  auto operator<=>(const Target&) const = default;

  Kind kind = Kind::kLayer;
  LayerId layer;
  Key128 root;
};

// Shared lock on a layer, and its tree: as long as it lives (or a duplicate of the descriptor, in a
// sandbox's pid 1 for instance), the layer is not removed. Holds a readable directory descriptor.
class LayerLease {
 public:
  LayerLease() = default;
  int tree_fd() const { return lock_.fd(); }
  UniqueFd Release() && { return lock_.Release(); }

 private:
  friend class Store;
  explicit LayerLease(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

// Roots that stages without a process of their own need (stager/stage_record.h), for those who remove.
using HeldRoots = std::function<Result<std::vector<Key128>>(const Store&)>;

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
  // The store had it, but damaged, and now has what was pending. What was made of it may be as damaged: Fsck.
  bool replaced = false;
  LayerLease lease;      // so that it can be given a name before somebody removes it
};

class Store {
 public:
  // $STRATA_STORE, else $XDG_DATA_HOME/strata, else ~/.local/share/strata.
  static Result<std::string> DefaultPath();
  // Opens the store, and makes it where there is none. A relative path is one below the working directory of now.
  static Result<Store> Open(const std::string& path);

  const std::string& path() const { return path_; }  // absolute
  int fd() const { return root_.get(); }
  // The machine was restarted since the store was last written to, and now it cannot be: only what
  // is marked as durable may be used (durable.h).
  bool marked_only() const { return marked_only_; }
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
  // A layer that is there already stays, unless it is seen to be damaged (cache/replace_layer.h).
  Result<PublishedLayer> Publish(PendingLayer pending, const std::vector<uint8_t>& manifest) const;
  // The same for a derived layer, as derived/<name>; whoever was first wins.
  Result<void> PublishDerived(PendingLayer pending, const std::vector<uint8_t>& manifest,
                              const std::string& name) const;
  // With the refs `names`, and with every cached root that needs it. Where somebody holds a lease on
  // it or on such a root (kBusy), or it has other names, a pin, or a root with a name or pin needs it
  // (kExists), all stays as it is.
  Result<void> RemoveLayer(const LayerId& id, const std::vector<std::string>& names = {},
                           const HeldRoots& held = {}) const;

  // --- Refs: names for layers and roots. [A-Za-z0-9._/:+~@-], 1 to 100 bytes, no empty, "." or ".." part, not
  // starting with '-' or "dir:".
  static Result<void> CheckRefName(std::string_view name);
  // kNotFound where there is no such layer or root: a ref never leads to nothing.
  Result<void> SetRef(std::string_view name, const Target& target) const;
  Result<Target> ReadTarget(std::string_view name) const;  // kNotFound
  Result<LayerId> ReadRef(std::string_view name) const;    // the same; kInvalid for one of a root
  Result<void> RemoveRef(std::string_view name) const;     // kNotFound
  struct Ref {
    std::string name;
    Target target;
  };
  Result<std::vector<Ref>> ListRefs() const;  // sorted by name

  // A ref; a full id, which is not looked up; a full root key (32 hex digits); else a prefix of 4 or
  // more hex digits. kNotFound, with near names as the hint; kAmbiguous, with the candidates as the
  // hint.
  Result<Target> ResolveTarget(std::string_view name) const;
  // The same among layers. kInvalid for the name or prefix of a root.
  Result<LayerId> Resolve(std::string_view name) const;

  // --- Pins: what has one is not collected, named or not.
  Result<void> Pin(const Target& target) const;    // kNotFound; pinning twice is no error
  Result<void> Unpin(const Target& target) const;  // kNotFound where it is not pinned
  Result<std::vector<Target>> ListPins() const;    // sorted, layers first

  // Removes what killed processes left in tmp/, stages/ and trash/. Cheap when there is nothing.
  // How many there were.
  enum class Leftovers { kRemove, kCount };
  Result<size_t> CleanLeftovers(Leftovers what = Leftovers::kRemove) const;

 private:
  // Sees to what a power loss may have torn since it was last open (durable.h).
  Result<void> Settle();
  bool HasUnmarked(const LayerId& id) const;
  Result<void> RemoveWithoutTree(const LayerId& id, const std::vector<std::string>& names) const;
  // False where there is one. `lease`: on the tree, from before it is visible.
  Result<bool> PublishAs(PendingLayer& pending, const std::vector<uint8_t>& manifest,
                         const std::string& path, FileLock& lease) const;
  // Whether `path` still leads to the directory that is locked.
  Result<bool> LeadsTo(const FileLock& lock, const std::string& path) const;
  // False where `old`, on the tree of the damaged one, is not in its place any more.
  Result<bool> Replace(PendingLayer& pending, const std::vector<uint8_t>& manifest,
                       const LayerId& id, const FileLock& old, FileLock& lease) const;
  Store(std::string path, UniqueFd root) : path_(std::move(path)), root_(std::move(root)) {}

  std::string path_;
  UniqueFd root_;
  bool marked_only_ = false;
};

}  // namespace strata
