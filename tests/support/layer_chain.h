// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cache/store.h"
#include "stager/lower_chain.h"
#include "tests/support/layer_maker.h"

namespace strata::testing {

// Some layers of a store, with what is needed to look them up and to mount them.
struct Chain {
  Chain(const Store& store, const std::vector<LayerId>& bottom_first) {
    for (const LayerId& id : bottom_first) {
      manifests.push_back(Must(store.OpenManifest(id)));
      dirs.push_back(store.path() + "/layers/" + id.Hex() + "/tree");
    }
    for (const Manifest& manifest : manifests) pointers.push_back(&manifest);
  }
  LowerChain lower() const { return LowerChain(pointers); }

  std::vector<Manifest> manifests;
  std::vector<const Manifest*> pointers;
  std::vector<std::string> dirs;
};

}  // namespace strata::testing
