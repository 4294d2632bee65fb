// SPDX-License-Identifier: Apache-2.0
//
// Tries what a sandbox needs, for `strata doctor`. Each probe runs in a forked child, in namespaces
// of its own, and leaves nothing behind. No kernel version is looked at.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace strata {

// Each returns the failed call as an error. `uid 0` below means: mapped from the caller.

// A user and a mount namespace in which uid 0 may really mount (AppArmor lets the first step pass
// and refuses the second).
Result<void> ProbeUserNamespace();
// All the namespaces of a sandbox at once.
Result<void> ProbeAllNamespaces();
// A new /proc in a new pid namespace.
Result<void> ProbeProc();
// Overlays with `userxattr`. `scratch` is a directory with the subdirectories a, b, upper, work and
// root; empty: a tmpfs.
Result<void> ProbeOverlay(const std::string& scratch);
// How the lower layers are named: one fsconfig each ("lowerdir+"), by path or by descriptor.
Result<void> ProbeLowerByPath();
Result<void> ProbeLowerByDescriptor();
Result<void> ProbeMountSetattr();

}  // namespace strata
