// SPDX-License-Identifier: Apache-2.0
//
// JSON output (json_text.h has the values).
#pragma once

#include "sandbox/json_text.h"
#include "tools/strata/print.h"

namespace strata {

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
