// SPDX-License-Identifier: Apache-2.0
//
// Compose (sandbox/composition.h) as the commands call it: with a progress line, with what
// integration commands say on standard error (unless --quiet), and with $SOURCE_DATE_EPOCH.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "sandbox/composition.h"
#include "tools/strata/command.h"

namespace strata {

// $SOURCE_DATE_EPOCH; nothing where it is not set.
Result<std::optional<int64_t>> SourceDateEpoch();

Result<Composition> Compose(Context& context, const DependencySet& set);

}  // namespace strata
