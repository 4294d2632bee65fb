// SPDX-License-Identifier: Apache-2.0
//
// fsck: whether everything in the store is what it claims to be, and what to do where it is not.
//
// Checked are layers and derived layers (cache/verify.h), roots (their checksum, and that what they
// mount is there), and that refs and pins lead to something. Layers that wait in unverified/ are
// verified as well. Others may go on using the store meanwhile. Nothing that somebody holds a lease
// on is touched.
//
// Repairing drops what cannot be trusted: a derived layer or a root is removed, as it is made again
// when it is needed; a root with a name or a pin stays then, and is composed again by its next use. A damaged
// layer goes to damaged/, with it the roots made of it, and the refs and pins that then lead nowhere.
// A damaged layer that stays is marked, so that importing it again replaces it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/import.h"
#include "cache/store.h"
#include "cache/verify.h"

namespace strata {

enum class FsckRepair { kNo, kYes };

enum class FsckScope { kAll, kDerived };  // kDerived: derived layers alone, and the roots that mount those

struct FsckOptions {
  FsckRepair repair = FsckRepair::kNo;
  FsckScope scope = FsckScope::kAll;
  HeldRoots held;               // roots that are mounted without a lease: in use, too
  std::vector<LayerId> layers;  // only these, and nothing else; empty: all that is in the store
  unsigned jobs = 0;
  Progress* progress = nullptr;
};

struct FsckFinding {
  enum class Kind { kLayer, kDerived, kRoot, kRef, kPin };
  enum class Outcome {
    kReported,
    kRepaired,
    kInUse,  // repairing it has to wait until a running stage has ended
  };
  Kind kind = Kind::kLayer;
  std::string name;  // a full id or key, "segment-...", "gcc:12"
  std::vector<TreeDamage> damages;
  Outcome outcome = Outcome::kReported;
  std::vector<std::string> actions;  // "moved to damaged/ID", "ref base removed"
};
std::string_view FsckKindName(FsckFinding::Kind kind);  // "layer", "derived layer", ...

struct FsckReport {
  std::vector<FsckFinding> findings;
  uint64_t layers = 0;
  uint64_t derived = 0;
  uint64_t roots = 0;
  uint64_t refs = 0;
  uint64_t leftovers = 0;  // of killed processes; an import or gc takes them
  uint64_t put_aside = 0;  // in damaged/, to be imported again
  uint64_t replaced = 0;   // in damaged/, imported again since; gc takes them
};

// An error: it could not be checked to the end.
Result<FsckReport> Fsck(const Store& store, const FsckOptions& options);

}  // namespace strata
