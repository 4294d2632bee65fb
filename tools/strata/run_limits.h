// SPDX-License-Identifier: Apache-2.0
//
// What is told about --memory, --pids and --cpus after a run: who killed what, in words and in --stats.
#pragma once

#include <cstdint>

#include "sandbox/sandbox.h"
#include "tools/strata/json.h"

namespace strata {

// Prints an error when the command was killed for want of memory, and warnings (unless `quiet`) when only
// some of its processes were, or were refused; nothing otherwise. `since_ns`: CLOCK_MONOTONIC, before the run.
void PrintLimitReport(const SandboxLimits& asked, const SandboxResult& result, int64_t since_ns,
                      bool quiet);

// Adds "limits", "memory" and "pids".
void AddLimitStats(const SandboxLimits& asked, const LimitOutcome& outcome, Json* stats);

}  // namespace strata
