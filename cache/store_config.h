// SPDX-License-Identifier: Apache-2.0
//
// The store's configuration: the file `config` in it, which people write (format.md).
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "cache/store.h"

namespace strata {

struct StoreConfig {
  std::optional<uint64_t> max_size;  // in bytes; see CollectIfTooLarge
};

// A line that makes no sense is an error that names it. Without the file all is as by default.
Result<StoreConfig> ReadStoreConfig(const Store& store);

}  // namespace strata
