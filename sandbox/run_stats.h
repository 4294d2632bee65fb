// SPDX-License-Identifier: Apache-2.0
//
// What --stats and strata_result_json() tell of a run, as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/json_text.h"
#include "sandbox/run_session.h"

namespace strata {

// Of a session that has been finished: `status` is what Finish() returned, `finished_ns` when.
Json StatsOf(const RunSession& session, const RunRequest& request, int status, int64_t finished_ns);

// Nothing has run: whoever reads it learns that, and why.
Json StatsOfFailure(const std::vector<std::string>& argv, const DependencySet& set,
                    int64_t start_ns, const Error& error);

std::string StatsText(const Json& stats);

}  // namespace strata
