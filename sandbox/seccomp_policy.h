// SPDX-License-Identifier: Apache-2.0
//
// The seccomp filter for builds, written with libseccomp. What it denies, and why, is the manual in
// seccomp_filter.h. Only the build-time generator and the tests link this: strata itself carries
// the finished arrays.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "sandbox/seccomp_filter.h"

namespace strata {

// AUDIT_ARCH_* of the machine that strata is built for: the native architecture, and the 32-bit one
// that its kernel may run as well.
std::vector<uint32_t> NativeArchitectures();

// The filter for these architectures. A system call of any other is answered with ENOSYS; on x86-64
// that is x32 (the kernel reports no other architecture there).
Result<std::vector<sock_filter>> MakeBuildFilter(
    ChownPolicy chown, NestedUserns nested,
    const std::vector<uint32_t>& architectures = NativeArchitectures());

}  // namespace strata
