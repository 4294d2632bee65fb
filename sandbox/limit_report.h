// SPDX-License-Identifier: Apache-2.0
//
// What there is to say about limits after a run: who killed what for them, and what was refused.
#pragma once

#include <cstdint>

#include "sandbox/observer.h"
#include "sandbox/run_request.h"
#include "sandbox/sandbox.h"

namespace strata {

// A problem when the command was killed for want of memory, warnings when only some of its
// processes were, or were refused; nothing otherwise. `since_ns`: CLOCK_MONOTONIC, before the run.
void TellOfLimits(const RunRequest& request, const SandboxResult& result, int64_t since_ns,
                  const Observer& observer);

}  // namespace strata
