// SPDX-License-Identifier: Apache-2.0
#include "cache/gc_plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <string_view>

#include "base/sys.h"
#include "cache/durable.h"
#include "cache/list_directory.h"
#include "cache/materialisation.h"

namespace strata {
namespace {

constexpr int64_t kGracePeriod = 3600;

// "layers/ID/tree" with `kind` "layers" gives ID; empty for anything else.
std::string_view NameIn(std::string_view kind, std::string_view path) {
  constexpr std::string_view kTree = "/tree";
  if (path.size() <= kind.size() + 1 + kTree.size() || path.substr(0, kind.size()) != kind ||
      path[kind.size()] != '/' || path.substr(path.size() - kTree.size()) != kTree) {
    return {};
  }
  path.remove_prefix(kind.size() + 1);
  path.remove_suffix(kTree.size());
  return path;
}

// One that is not there any more counts as young: nothing is to be done about it.
bool PathIsYoung(const Store& store, const std::string& path) {
  struct stat st;
  return sys::FstatAt(store.fd(), path.c_str(), &st) < 0 || IsYoung(st.st_mtime);
}

Result<bool> IsLeased(const Store& store, const RootKey& key) {
  auto lock = FileLock::OnExistingFile(store.fd(), "roots/" + key.Hex(), LockMode::kExclusive,
                                       LockWait::kFail);
  if (lock || lock.error().sys_errno() == ENOENT) return false;
  if (lock.error().code() == Errc::kBusy) return true;
  return Unexpected(std::move(lock).error());
}

bool IsKept(const GcState::Root& root, bool all) {
  return root.named || root.held || (root.young && !all && !root.damaged);
}

// Whether the plan, or somebody before it, takes away what the root is made of.
bool IsBroken(const GcState::Root& root, const GcState& state, const GcPlan& plan) {
  if (root.damaged) return true;
  for (const LayerId& id : LayersOf(root.info)) {
    if (plan.layers.count(id) != 0) return true;
  }
  for (const std::string& lower : root.info.content.lowers) {
    std::string_view layer = NameIn("layers", lower);
    if (!layer.empty()) {
      auto id = Digest::FromHex(layer);
      if (!id || state.layers.count(*id) == 0) return true;
    }
    std::string_view derived = NameIn("derived", lower);
    if (!derived.empty() && state.derived.count(std::string(derived)) == 0) return true;
  }
  return false;
}

// Whether the layer or derived layer of that path is missing, or goes.
bool IsGone(std::string_view path, const GcState& state, const GcPlan& plan) {
  const std::string name(path.substr(path.find('/') + 1));
  if (path.starts_with("derived/")) {
    return plan.derived.count(name) != 0 || state.derived.count(name) == 0;
  }
  const auto id = Digest::FromHex(name);
  return !id || plan.layers.count(*id) != 0 || state.layers.count(*id) == 0;
}

}  // namespace

std::string WhereIsLayer(const Store& store, const LayerId& id) {
  struct stat st;
  for (const char* place : {"layers", "unverified"}) {
    std::string path = LayerPathIn(place, id);
    if (sys::FstatAt(store.fd(), path.c_str(), &st) == 0) return path;
  }
  return LayerPathIn("layers", id);
}

bool IsYoung(int64_t mtime) {
  return ::time(nullptr) - mtime < kGracePeriod;
}

std::set<LayerId> LayersOf(const RootInfo& root) {
  std::set<LayerId> ids;
  for (const SetItem& item : root.set.items) {
    if (item.directory.empty()) ids.insert(item.id);
  }
  for (const std::string& lower : root.content.lowers) {
    if (auto id = Digest::FromHex(NameIn("layers", lower))) ids.insert(*id);
  }
  return ids;
}

std::set<std::string> DerivedOf(const RootInfo& root) {
  std::set<std::string> names;
  for (const SetItem& item : root.set.items) {
    if (!item.directory.empty()) names.insert("dir-" + item.id.Hex());  // its manifest
  }
  for (const std::string& lower : root.content.lowers) {
    std::string_view name = NameIn("derived", lower);
    if (!name.empty()) names.emplace(name);
  }
  return names;
}

Result<GcState> ReadGcState(const Store& store, const HeldRoots& held) {
  GcState state;
  // Things before names: a name that is given meanwhile is seen, and one that is taken away keeps
  // its layer for this time.
  STRATA_ASSIGN(std::vector<LayerId> layers, store.ListLayers());
  for (const LayerId& id : layers) {
    std::string path = WhereIsLayer(store, id);
    bool young = PathIsYoung(store, path) || PathIsYoung(store, path + "/manifest");
    state.layers[id].young = young;
  }
  STRATA_ASSIGN(std::vector<std::string> derived, ListDirectory(store.fd(), "derived"));
  for (const std::string& name : derived) {
    struct stat st;
    GcState::Derived& one = state.derived[name];
    // One that is not there any more counts as young, as above.
    const bool there = sys::FstatAt(store.fd(), ("derived/" + name).c_str(), &st) == 0;
    one.young = !there || IsYoung(st.st_mtime);
    if (there) one.last_used = st.st_mtime;
    if (auto found = ParseMaterialisation(name)) one.materialises = std::move(found->source);
  }
  std::vector<RootKey> held_roots;
  if (held) {
    STRATA_ASSIGN(held_roots, held(store));
  }
  STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(store));
  for (const RootKey& key : keys) {
    GcState::Root root;
    auto info = ReadRoot(store, key);
    if (!info && info.error().code() == Errc::kNotFound) continue;
    if (!info && info.error().code() != Errc::kCorrupt) {
      return Unexpected(std::move(info).error());
    }
    root.damaged = !info;
    if (info) root.info = std::move(*info);
    root.info.key = key;
    root.young = IsYoung(root.info.last_used);
    STRATA_ASSIGN(root.held, IsLeased(store, key));
    if (std::find(held_roots.begin(), held_roots.end(), key) != held_roots.end()) root.held = true;
    state.roots.push_back(std::move(root));
  }
  std::sort(state.roots.begin(), state.roots.end(), [](const auto& a, const auto& b) {
    return std::pair(a.info.last_used, a.info.key) < std::pair(b.info.last_used, b.info.key);
  });
  STRATA_ASSIGN(std::set<Target> named, ReadNamed(store));
  for (auto& [id, layer] : state.layers) layer.named = named.count(id) != 0;
  for (GcState::Root& root : state.roots) root.named = named.count(root.info.key) != 0;
  return state;
}

Result<std::set<Target>> ReadNamed(const Store& store) {
  std::set<Target> named;
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store.ListRefs());
  for (const Store::Ref& ref : refs) named.insert(ref.target);
  STRATA_ASSIGN(std::vector<Target> pins, store.ListPins());
  named.insert(pins.begin(), pins.end());
  return named;
}

bool MayEvict(const GcState::Root& root, bool all) {
  return !IsKept(root, all);
}

GcPlan PlanGc(const GcState& state, bool all, const GcEvicted& evicted) {
  GcPlan plan;
  std::set<LayerId> needed;
  for (const GcState::Root& root : state.roots) {
    if (IsKept(root, all)) needed.merge(LayersOf(root.info));
  }
  for (const auto& [id, layer] : state.layers) {
    bool goes = !layer.named && (all || !layer.young) && needed.count(id) == 0;
    if (goes) plan.layers.insert(id);
  }
  std::set<std::string> mounted;
  std::set<std::string> sources;  // of materialisations that may be of use again
  for (const GcState::Root& root : state.roots) {
    bool goes = !IsKept(root, all) &&
                (all || evicted.roots.count(root.info.key) != 0 || IsBroken(root, state, plan));
    if (goes) {
      plan.roots.insert(root.info.key);
    } else {
      mounted.merge(DerivedOf(root.info));
      for (const std::string& lower : root.info.content.lowers) {
        sources.insert(lower.substr(0, lower.rfind('/')));
      }
    }
  }
  for (const auto& [name, derived] : state.derived) {
    if (!derived.materialises.empty()) continue;
    if ((all || !derived.young) && mounted.count(name) == 0) plan.derived.insert(name);
  }
  // They go with what they stand for, and no root has to go with them: who mounts one has it
  // leased.
  for (const auto& [name, derived] : state.derived) {
    if (derived.materialises.empty()) continue;
    const bool unused =
        (all || !derived.young) && (all || sources.count(derived.materialises) == 0);
    if (unused || evicted.derived.count(name) != 0 || IsGone(derived.materialises, state, plan)) {
      plan.derived.insert(name);
    }
  }
  return plan;
}

}  // namespace strata
