// SPDX-License-Identifier: Apache-2.0
//
// Makes the ChildPlan of a sandbox, before clone.
#pragma once

#include <string>
#include <vector>

#include "sandbox/child_plan.h"

namespace strata {

// The pieces of a ChildPlan that need an owner.
struct PlanStorage {
  ChildPlan plan{};
  std::vector<const char*> lowers;
  std::string upper;
  std::string work;
  std::string tmpfs_upper_options;
  std::string shm_options;
  std::string tmp_options;
  std::vector<ChildMount> mounts;
  std::vector<std::string> mount_options;
  std::vector<std::string> candidates;
  std::vector<const char*> candidate_pointers;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<int> kept;
};

// `spec` and `storage` must stay as they are for as long as the plan is used. `held`: as spec.held,
// above 2.
void MakePlan(const SandboxSpec& spec, std::vector<int> held, int status_fd, int lifeline_fd,
              PlanStorage* storage);

}  // namespace strata
