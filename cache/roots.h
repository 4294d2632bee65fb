// SPDX-License-Identifier: Apache-2.0
//
// The composed-root cache on disk: roots/KEY, one small immutable file for each dependency set that was
// composed (format.md). It holds the set itself, and the ready-to-mount list of lower layers. KEY is
// the XXH3-128 of the set's canonical encoding; because that is not collision-resistant, a hit is
// trusted only after the encoding stored in the file compares equal.
//
// A RootLease is a shared flock on that file. It is the only lease that a running root needs: who removes
// a layer or a derived layer first removes every root that mounts it, and a leased root is never removed.
// So a hit costs the same for two layers and for two thousand.
//
// All functions are thread-safe, and safe against other processes at the same store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "base/hash.h"
#include "base/result.h"
#include "cache/store.h"

namespace strata {

using RootKey = Key128;

enum class ConflictPolicy : uint8_t { kError = 0, kReplace = 1, kSkip = 2 };

// One member of a dependency set.
struct SetItem {
  LayerId id;        // of a layer; of a directory with a key (dir:PATH@KEY): see directory_layer.h
  std::string view;  // canonical, "at=/opt" or "only=usr/**" (view.h); empty: the whole layer
  // The real path of an unmanaged directory (directory_layer.h); empty for a layer. Without a key, its
  // id is all zero.
  std::string directory{};
  auto operator<=>(const SetItem&) const = default;
};

struct DependencySet {
  std::vector<SetItem> items;             // bottom first; one that occurs twice counts at its topmost place
  std::vector<std::string> integration;   // commands given by the caller, in order
  ConflictPolicy on_conflict = ConflictPolicy::kError;
  // Which ids integration commands have, the layers' own too. Other than kByLayers only where there are `integration`.
  enum class Ids : uint8_t { kByLayers, kOne, kRange };
  Ids integration_ids = Ids::kByLayers;

  // Drops what counts once, at its topmost place. The canonical set of everything below.
  void Deduplicate();
  // False where it has a directory without a key: such a set is composed each time, and its root is never
  // published (CachedRoot::draft_leases).
  bool cacheable() const;
  std::string Encode() const;  // canonical; equal sets have equal encodings
  static Result<DependencySet> Decode(std::string_view bytes);
};

RootKey KeyOfSet(std::string_view encoded_set);

enum class RootMethod : uint8_t { kDirect = 1, kDelta = 2, kSegments = 3 };
std::string_view RootMethodName(RootMethod method);  // "direct", "delta", "segments"

// What is mounted. Paths relative to the store ("layers/ID/tree", "derived/NAME/tree"), or absolute for
// a directory that the store does not manage. Bottom first; no skeleton, no upper.
struct RootContent {
  std::vector<std::string> lowers;
  // The first base_count of them are layers and segments; above come, where there are any, the delta
  // that makes the stack agree with the definition of staging, and the integration layer.
  uint32_t base_count = 0;
  RootMethod method = RootMethod::kDirect;
  uint32_t layer_count = 0;  // of the set, deduplicated
  // Which of the lowers, ascending, have entries of other owners than 0:0. On disk these belong to the
  // caller, too; with more than one id mapped another tree stands in (stager/materialise.h).
  std::vector<uint32_t> foreign_lowers = {};
  bool foreign_owners() const { return !foreign_lowers.empty(); }
  // One of the lowers has files of other users: only a range of ids shows them as they are.
  bool needs_range = false;
};

// A leased entry of the cache.
struct CachedRoot {
  RootKey key;
  RootContent content;
  std::string encoded_set;
  FileLock lease;    // shared, on roots/KEY
  bool hit = false;  // it was there; false: composed just now
  // Of a root that is not in the cache (the set is not cacheable, the store cannot be written to):
  // leases on all that it mounts, instead of the one above.
  std::vector<FileLock> draft_leases = {};

  std::vector<int> Leases() const;  // descriptors
};

// The root of this very set, leased; nothing where there is none. An entry that is damaged, or of another
// set with the same key, is dropped (kBusy where a running stage holds it). Writes the stamp of the last
// use (the file's mtime) at most once an hour. Works in a store that cannot be written to.
Result<std::optional<CachedRoot>> FindRoot(const Store& store, std::string_view encoded_set);
// By its key. kNotFound; kCorrupt.
Result<CachedRoot> OpenRoot(const Store& store, const RootKey& key);
// For those who list and collect: takes no lease, writes no stamp, drops nothing. kNotFound; kCorrupt.
struct RootInfo {
  RootKey key;
  DependencySet set;
  RootContent content;
  int64_t last_used = 0;  // seconds since 1970
  uint64_t file_bytes = 0;
  // Whether the root is made of this layer, mounted or not.
  bool Needs(const LayerId& id) const;
};
Result<RootInfo> ReadRoot(const Store& store, const RootKey& key);
// Whoever publishes first wins. The caller must hold leases on every layer and derived layer of `content`
// until it has the returned lease. A store that cannot be written to: the error says so.
Result<CachedRoot> PublishRoot(const Store& store, std::string_view encoded_set,
                               const RootContent& content);
// kBusy while it is leased. Whatever names it has.
Result<void> RemoveRoot(const Store& store, const RootKey& key);
// With the refs `names`. kBusy; kExists where it has other names or a pin: then all stays.
Result<void> RemoveRootAndNames(const Store& store, const RootKey& key,
                                const std::vector<std::string>& names, const HeldRoots& held = {});
Result<std::vector<RootKey>> ListRoots(const Store& store);  // sorted
// All that can be read; those that are damaged are left out.
Result<std::vector<RootInfo>> ReadRoots(const Store& store);

}  // namespace strata
