// SPDX-License-Identifier: Apache-2.0
//
// JSON values. Members keep their order. A text that is not UTF-8, which JSON cannot hold, is
// written with replacement characters, and beside it stands KEY_hex with its bytes.
#pragma once

#define JSON_NO_IO  // no iostream: their initialisers would be part of every start
#include <nlohmann/json.hpp>
#include <string_view>

namespace strata {

using Json = nlohmann::ordered_json;

void SetText(Json& object, const char* key, std::string_view text);

}  // namespace strata
