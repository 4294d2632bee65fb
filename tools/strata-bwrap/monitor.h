// SPDX-License-Identifier: Apache-2.0
//
// The caller's side of a sandbox: clone, report, wait.
#pragma once

#include "tools/strata-bwrap/options.h"

namespace strata::bwrap {

// Returns the exit status: the command's, 128 + N when signal N killed it, 1 when the set-up
// failed.
int RunSandbox(const Options& options);

}  // namespace strata::bwrap
