// SPDX-License-Identifier: Apache-2.0
//
// --layer: a layer of strata's store as a source of an overlay.
#pragma once

#include <vector>

namespace strata::bwrap {

// Before the options are read, which change the environment (--setenv, --clearenv): the store is
// the one that the caller's environment tells.
void RememberStorePlace();

// The tree of the layer that `name` (a ref or id) stands for. The path is never freed. Adds to
// `leases` a descriptor that keeps the layer from being removed as long as it is open anywhere.
// Ends the process on errors.
const char* OpenStoreLayer(const char* name, std::vector<int>* leases);

// Before clone: the store is not for the sandbox, not even for the links in its root.
void CloseStore();

}  // namespace strata::bwrap
