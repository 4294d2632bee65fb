// SPDX-License-Identifier: Apache-2.0
//
// What the collector decides, apart from how it removes it (gc.h has the rules).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cache/gc.h"

namespace strata {

// A moment of the store.
struct GcState {
  struct Root {
    RootInfo info;  // of a damaged one: the key alone
    bool damaged = false;
    bool held = false;  // by a lease, or by a stage without a process
    bool young = false;
    bool named = false;  // or pinned
  };
  struct Layer {
    bool young = false;
    bool named = false;
  };
  std::vector<Root> roots;  // the least recently used first
  std::map<LayerId, Layer> layers;
  struct Derived {
    bool young = false;
    int64_t last_used = 0;  // of a materialisation
    // Of a materialisation: "layers/ID" or "derived/NAME", else empty.
    std::string materialises{};
  };
  std::map<std::string, Derived> derived;  // by name
};
// Whether roots are leased is found by trying to lock them, one after another.
Result<GcState> ReadGcState(const Store& store, const HeldRoots& held);

// All that has a ref or a pin.
Result<std::set<Target>> ReadNamed(const Store& store);

struct GcPlan {
  std::set<RootKey> roots;
  std::set<LayerId> layers;
  std::set<std::string> derived;
};
// To go all the same: roots that are not kept, and materialisations.
struct GcEvicted {
  std::set<RootKey> roots;
  std::set<std::string> derived;
};
GcPlan PlanGc(const GcState& state, bool all, const GcEvicted& evicted);
// Whether a root goes only with its layers, or with --all or --max-size.
bool MayEvict(const GcState::Root& root, bool all);

// The layers and derived layers that a root is made of, mounted or not.
std::set<LayerId> LayersOf(const RootInfo& root);
std::set<std::string> DerivedOf(const RootInfo& root);

// "layers/ID", or "unverified/ID" for one that nobody has used since a power loss.
std::string WhereIsLayer(const Store& store, const LayerId& id);

// Younger than an hour; of a time in the future too: a clock was put back.
bool IsYoung(int64_t mtime);

}  // namespace strata
