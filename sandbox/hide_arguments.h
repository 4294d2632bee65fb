// SPDX-License-Identifier: Apache-2.0
//
// The arguments of a process can be read by everybody who sees it (/proc/PID/cmdline), and pid 1 of
// a sandbox is a copy of its caller: with the caller's, which name paths of the host.
#pragma once

namespace strata {

// Overwrites this process's own copy of them. For a cloned child: no heap. Whoever else uses argv
// must not need it any more.
void HideArguments() noexcept;

}  // namespace strata
