// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/json.h"

namespace strata {
namespace {

std::string Dump(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

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
