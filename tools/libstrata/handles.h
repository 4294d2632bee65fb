// SPDX-License-Identifier: Apache-2.0
//
// What the opaque handles of strata.h are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/roots.h"
#include "cache/store.h"
#include "tools/libstrata/boundary.h"
#include "tools/libstrata/mount_watch.h"

namespace strata {

struct OpenStore : Store {
  explicit OpenStore(Store store) : Store(std::move(store)) {}
  mutable MountWatches watches;
};
// Shared by all handles that were made of it.
using StorePtr = std::shared_ptr<const OpenStore>;

struct RootData {
  StorePtr store;
  CachedRoot root;
  std::vector<SetItem> items;  // of its dependency set
  std::string key;
  std::vector<std::string> lowers;  // absolute
};
using RootPtr = std::shared_ptr<const RootData>;

}  // namespace strata

struct strata_store {
  strata::StorePtr store;
};

struct strata_layer {
  strata::StorePtr store;
  strata::LayerLease lease;
  std::string id;
  bool existed = false;
  uint64_t entries = 0;
  uint64_t bytes = 0;
};

struct strata_root {
  strata::RootPtr data;
};

namespace strata {

inline Result<StorePtr> StoreOf(const strata_store* store) {
  STRATA_TRY(Need(store, "store"));
  return store->store;
}

// A ref that a call is to set in the end: checked before anything is done. NULL: none.
Result<void> CheckRef(const char* ref);

// The handle of a leased root.
std::unique_ptr<strata_root> MakeRoot(StorePtr store, CachedRoot root, std::vector<SetItem> items);

}  // namespace strata
