// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/json.h"

namespace strata {
namespace {

std::string Dump(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

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

void PrintJson(Output& out, const Json& value) {
  out.Write(Dump(value, 2));
  out.Write("\n");
}

void JsonLines::Add(const Json& element) {
  out_.Write(first_ ? "\n" : ",\n");
  first_ = false;
  out_.Write(Dump(element, -1));
}

}  // namespace strata
