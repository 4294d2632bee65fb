// SPDX-License-Identifier: Apache-2.0
#include "sandbox/json_text.h"

#include <fmt/format.h>

namespace strata {
namespace {

bool IsUtf8(std::string_view text) {
  try {
    static_cast<void>(Json(text).dump());
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace

void SetText(Json& object, const char* key, std::string_view text) {
  object[key] = text;
  if (IsUtf8(text)) return;
  std::string hex;
  for (char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  object[fmt::format("{}_hex", key)] = std::move(hex);
}

}  // namespace strata
