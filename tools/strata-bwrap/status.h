// SPDX-License-Identifier: Apache-2.0
//
// --info-fd and --json-status-fd.
#pragma once

#include "tools/strata-bwrap/sandbox_plan.h"

namespace strata::bwrap {

// Which process the sandbox is, and which namespaces it got, to both descriptors. The child waits
// meanwhile. `pid` as the monitor sees it.
void ReportStart(const SandboxPlan& plan, pid_t pid);

// Only of a command that was started: what failed before is not its exit status.
void ReportEnd(const SandboxPlan& plan, int exit_status);

}  // namespace strata::bwrap
