// SPDX-License-Identifier: Apache-2.0
//
// JSON output. Members keep their order. A text that is not UTF-8, which JSON cannot hold, is
// written with replacement characters, and beside it stands KEY_hex with its bytes.
#pragma once

#define JSON_NO_IO  // no iostream: their initialisers would be part of every start
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tools/strata/print.h"

namespace strata {

using Json = nlohmann::ordered_json;

void SetText(Json& object, const char* key, std::string_view text);

// Two spaces of indentation, and a newline at the end.
void PrintJson(Output& out, const Json& value);

// An array too long to be held in memory: one element a line.
class JsonLines {
 public:
  explicit JsonLines(Output& out) : out_(out) { out_.Write("["); }
  void Add(const Json& element);
  void End() { out_.Write("\n]\n"); }

 private:
  Output& out_;
  bool first_ = true;
};

}  // namespace strata
