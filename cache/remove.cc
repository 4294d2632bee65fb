// SPDX-License-Identifier: Apache-2.0
//
// Removing one layer or root by name. The order of locks is the collector's (format.md): the
// layer, then the roots that need it; only then the names are read, as whoever gives one holds a
// lease meanwhile.
#include <algorithm>
#include <cerrno>

#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/durable.h"
#include "cache/materialisation.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {
namespace {

// What names a target, besides `names`; or that it is pinned: "b, c", "pin". Empty: nothing.
Result<std::string> OtherNames(const Store& store, const Target& target,
                               const std::vector<std::string>& names) {
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store.ListRefs());
  std::string others;
  for (const Store::Ref& ref : refs) {
    if (ref.target != target) continue;
    if (std::find(names.begin(), names.end(), ref.name) != names.end()) continue;
    others += (others.empty() ? "" : ", ") + ref.name;
  }
  STRATA_ASSIGN(std::vector<Target> pins, store.ListPins());
  if (std::find(pins.begin(), pins.end(), target) != pins.end()) {
    others += others.empty() ? "a pin" : " and a pin";
  }
  return others;
}

Error HasNames(const Target& target, const std::string& others) {
  Error error(Errc::kExists,
              fmt::format("{} {:.12} has {}{}", target.KindName(), target.Hex(),
                          others.compare(0, 5, "a pin") == 0 ? "" : "another name: ", others));
  if (others.find("a pin") == std::string::npos) return error;
  return std::move(error).Hint(fmt::format("strata unpin {:.12}", target.Hex()));
}

Result<FileLock> LockRoot(const Store& store, const RootKey& key, const HeldRoots& held) {
  auto lock = FileLock::OnExistingFile(store.fd(), "roots/" + key.Hex(), LockMode::kExclusive,
                                       LockWait::kFail);
  if (!lock && lock.error().sys_errno() == ENOENT) {
    return Fail(Errc::kNotFound, "no cached root {}", key.Hex());
  }
  bool busy = !lock && lock.error().code() == Errc::kBusy;
  if (!lock && !busy) return Unexpected(std::move(lock).error());
  if (!busy && held) {
    STRATA_ASSIGN(std::vector<RootKey> keys, held(store));
    busy = std::find(keys.begin(), keys.end(), key) != keys.end();
  }
  if (busy) return Fail(Errc::kBusy, "root {:.12} is in use by a running stage", key.Hex());
  return lock;
}

Result<void> UnlinkRoot(const Store& store, const RootKey& key) {
  std::string path = "roots/" + key.Hex();
  int rc = sys::UnlinkAt(store.fd(), path.c_str());
  if (rc < 0 && rc != -ENOENT) return FailSys(-rc, "unlink", path);
  return {};
}

struct LockedRoot {
  RootKey key;
  FileLock lock;
};

// Every cached root that needs the layer, locked.
Result<std::vector<LockedRoot>> LockRootsThatNeed(const Store& store, const LayerId& id,
                                                  const HeldRoots& held) {
  std::vector<LockedRoot> locked;
  STRATA_ASSIGN(std::vector<RootInfo> roots, ReadRoots(store));
  for (const RootInfo& root : roots) {
    if (!root.Needs(id)) continue;
    auto lock = LockRoot(store, root.key, held);
    if (!lock && lock.error().code() == Errc::kNotFound) continue;
    if (!lock) {
      return Unexpected(std::move(lock).error().Wrap(fmt::format("layer {:.12}", id.Hex())));
    }
    STRATA_ASSIGN(std::string names, OtherNames(store, root.key, {}));
    if (!names.empty()) {
      return Unexpected(
          Error(Errc::kExists, fmt::format("layer {:.12} is needed by root {:.12}, "
                                           "which has a name: {}",
                                           id.Hex(), root.key.Hex(), names))
              .Hint(fmt::format("remove the root first: strata rm {:.12}", root.key.Hex())));
    }
    locked.push_back({root.key, std::move(*lock)});
  }
  return locked;
}

}  // namespace

Result<void> Store::RemoveLayer(const LayerId& id, const std::vector<std::string>& names,
                                const HeldRoots& held) const {
  const std::string path = "layers/" + id.Hex();
  auto lock =
      FileLock::OnDirectory(root_.get(), path + "/tree", LockMode::kExclusive, LockWait::kFail);
  if (!lock) {
    if (lock.error().sys_errno() == ENOENT) return RemoveWithoutTree(id, names);
    if (lock.error().code() == Errc::kBusy) {
      return Fail(Errc::kBusy, "layer {:.12} is in use by a running stage", id.Hex());
    }
    return Unexpected(std::move(lock).error());
  }
  STRATA_ASSIGN(std::vector<LockedRoot> roots, LockRootsThatNeed(*this, id, held));
  STRATA_ASSIGN(std::string others, OtherNames(*this, id, names));
  if (!others.empty()) return Unexpected(HasNames(id, others));
  // The names first: who is killed in between leaves a layer without a name, not the reverse.
  for (const std::string& name : names) STRATA_TRY(RemoveRef(name));
  for (const LockedRoot& root : roots) STRATA_TRY(UnlinkRoot(*this, root.key));
  std::string trash = "trash/" + RandomName();
  STRATA_TRY(sys::Check(sys::RenameAt2(root_.get(), path.c_str(), root_.get(), trash.c_str()),
                        "rename", path));
  // In use by nobody: who mounts one holds one of those roots. What remains is the collector's.
  static_cast<void>(RemoveMaterialisations(*this, path));
  return RemoveTree(root_.get(), trash);
}

// One that was put aside, or that somebody has taken apart: no stage can be using it.
Result<void> Store::RemoveWithoutTree(const LayerId& id,
                                      const std::vector<std::string>& names) const {
  struct stat st;
  bool there = false;
  for (const char* place : {"layers", "unverified", "damaged"}) {
    there = there || sys::FstatAt(root_.get(), LayerPathIn(place, id).c_str(), &st) == 0;
  }
  if (!there) return Fail(Errc::kNotFound, "no layer {}", id.Hex());
  for (const std::string& name : names) STRATA_TRY(RemoveRef(name));
  STRATA_TRY(DropAside(*this, id));
  static_cast<void>(RemoveMaterialisations(*this, LayerPathIn("layers", id)));
  return RemoveTree(root_.get(), LayerPathIn("layers", id));
}

Result<void> RemoveRootAndNames(const Store& store, const RootKey& key,
                                const std::vector<std::string>& names, const HeldRoots& held) {
  STRATA_ASSIGN(FileLock lock, LockRoot(store, key, held));
  STRATA_ASSIGN(std::string others, OtherNames(store, key, names));
  if (!others.empty()) return Unexpected(HasNames(key, others));
  for (const std::string& name : names) STRATA_TRY(store.RemoveRef(name));
  return UnlinkRoot(store, key);
}

}  // namespace strata
