// SPDX-License-Identifier: Apache-2.0
//
// The LAYERs of a command line (cache/layer_text.h says what may stand for one), and the dependency
// set that several make.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "tools/strata/options.h"

namespace strata {

// For a command's table of options.
constexpr OptionSpec LayersFromOption(int id) {
  return Value(id, "layers-from", 0, "FILE|-",
               "read LAYERs from FILE, one a line; they come below those of the command line");
}

struct LayerArgs {
  std::vector<std::string> layers;  // the operands, bottom first
  std::string layers_from;          // a file, "-" for standard input; empty: none
};

// The caller appends its own --integrate commands, and sets on_conflict where it was asked for.
// Errors name the LAYER as given, or the line of the file. kInvalid where there is none.
Result<DependencySet> ReadLayerArgs(const Store& store, const LayerArgs& args);

}  // namespace strata
