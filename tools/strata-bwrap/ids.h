// SPDX-License-Identifier: Apache-2.0
//
// The user namespaces of a sandbox and their ids. Run in the cloned child, in this order, and end
// it on errors. No heap.
#pragma once

#include "tools/strata-bwrap/sandbox_plan.h"

namespace strata::bwrap {

// --userns: the uid and gid that are wanted there.
void BecomeSandboxIds(const SandboxPlan& plan) noexcept;

// --unshare-user: the caller as the ids that are wanted. While a devpts is to be mounted, which
// needs a uid 0, the caller is that instead, and MapFinalIds changes it back by a second namespace.
void MapFirstIds(const SandboxPlan& plan) noexcept;

// The last user namespace: --userns2, the wanted ids, no more namespaces after it.
void MapFinalIds(const SandboxPlan& plan) noexcept;

}  // namespace strata::bwrap
