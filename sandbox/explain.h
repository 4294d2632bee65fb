// SPDX-License-Identifier: Apache-2.0
//
// Private to the sandbox, but for the hints about namespaces: turns what the kernel or the child said into sentences, with a hint where
// something can be done about it.
#pragma once

#include <string>

#include "base/result.h"
#include "sandbox/child_plan.h"
#include "sandbox/sandbox.h"

namespace strata {

// Why this machine does not let us make a user namespace, and what to do; empty where unknown.
std::string UserNamespaceHint();
// The same of the other kinds.
std::string NamespaceLimitHint();

// clone with all the namespaces failed.
Error ExplainClone(int sys_errno);
// The parent could not give the child its ids.
Error ExplainIds(Error error);
// A step of the set-up failed in the child.
Error ExplainSetup(const ChildRecord& record, const SandboxSpec& spec);
// The command could not be executed: fills in outcome, reason and hint.
void ExplainOutcome(const ChildRecord& record, const SandboxSpec& spec, SandboxResult* result);

}  // namespace strata
