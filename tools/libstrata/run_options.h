// SPDX-License-Identifier: Apache-2.0
//
// strata_run_options as a RunRequest.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/run_request.h"
#include "tools/libstrata/strata.h"

namespace strata {

// `request` refers to `descriptors`.
struct TranslatedRun {
  RunRequest request;
  std::vector<std::string> argv;
  std::vector<UniqueFd> descriptors;  // what was opened for standard streams
  int control_fd = -1;
};

// Checks all that can be checked without looking anything up.
Result<TranslatedRun> TranslateRun(const strata_run_options& given);

}  // namespace strata
