// SPDX-License-Identifier: Apache-2.0
//
// The loopback interface of a new network namespace, which is down at first. The kernel gives it
// 127.0.0.1 and ::1 when it comes up. No heap; 0 or -errno, with `failure` filled in.
#pragma once

#include "base/child_report.h"

namespace strata {

int BringUpLoopback(ChildFailure* failure) noexcept;

}  // namespace strata
