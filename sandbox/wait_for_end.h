// SPDX-License-Identifier: Apache-2.0
//
// Private to the sandbox: what the parent does while one runs. Signals are forwarded, the terminal
// is relayed, the time is watched.
#pragma once

#include "base/process.h"
#include "base/result.h"
#include "sandbox/sandbox.h"

namespace strata {

// Returns once pid 1 has ended (it is not reaped yet) and what it wrote to the terminal is shown.
// `terminal_socket`: where the command's terminal comes from, or -1. `lifeline`: the write end of a
// pipe whose other ends are closed when the command is let go; spec.meanwhile is called then. The
// result: who ended it.
enum class EndedBy { kItself, kTimeout, kCancel };
Result<EndedBy> WaitForEnd(const SandboxSpec& spec, int terminal_socket, int lifeline,
                           Process& pid1);

}  // namespace strata
