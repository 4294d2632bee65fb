// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/store_layers.h"

#include <cstring>
#include <optional>
#include <string>

#include "cache/store.h"
#include "tools/strata-bwrap/message.h"

namespace strata::bwrap {
namespace {

template <typename T>
T OrDie(Result<T> result, const char* name) {
  if (result) return std::move(*result);
  const Error& error = result.error();
  if (error.hint().empty()) Die("--layer %s: %s", name, error.message().c_str());
  Die("--layer %s: %s\nhint: %s", name, error.message().c_str(), error.hint().c_str());
}

std::optional<Result<std::string>> g_place;
std::optional<Store> g_store;

const Store& OpenStore(const char* name) {
  if (!g_store) g_store = OrDie(Store::Open(OrDie(*g_place, name)), name);
  return *g_store;
}

}  // namespace

void RememberStorePlace() {
  g_place = Store::DefaultPath();
}

const char* OpenStoreLayer(const char* name, std::vector<int>* leases) {
  const Store& store = OpenStore(name);
  const LayerId id = OrDie(store.Resolve(name), name);
  LayerLease lease = OrDie(store.LeaseLayer(id), name);
  leases->push_back(std::move(lease).Release().release());
  return ::strdup((store.path() + "/layers/" + id.Hex() + "/tree").c_str());
}

void CloseStore() {
  g_store.reset();
}

}  // namespace strata::bwrap
