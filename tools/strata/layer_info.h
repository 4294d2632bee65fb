// SPDX-License-Identifier: Apache-2.0
//
// What `list` and `show` say of a layer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/store.h"
#include "tools/strata/json.h"
#include "tools/strata/root_info.h"

namespace strata {

struct LayerInfo {
  LayerId id;
  std::vector<std::string> refs;
  bool pinned = false;
  uint64_t entries = 0;  // the root not counted
  uint64_t content_bytes = 0;
  uint64_t manifest_bytes = 0;
  int64_t created = 0;  // when it was published in this store, in seconds since 1970
  std::vector<std::string> integration_commands;
};

Result<LayerInfo> ReadLayerInfo(const Store& store, const LayerId& id, const Names& names);

// {"id", "refs", "pinned", "entries", "content_bytes", "created"}
Json ToJson(const LayerInfo& info);

// 12 digits, for people.
inline std::string ShortId(const LayerId& id) {
  return id.Hex().substr(0, 12);
}

// The names of entry types and fields as JSON has them.
std::string_view TypeName(EntryType type);

}  // namespace strata
