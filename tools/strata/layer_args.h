// SPDX-License-Identifier: Apache-2.0
//
// What may stand for LAYER on a command line, and the dependency set that several make:
//
//   REF, ID        a ref, an id prefix of 4 or more digits
//   ROOT           a composed root, by ref or key. Alone it is that very set, with its commands and
//   its
//                  policy; among others it stands for its layers, in place, and its commands come
//                  first
//   dir:PATH[@KEY] an unmanaged directory (cache/directory_layer.h). KEY is what follows an '@' in
//   the
//                  last component: a directory with an '@' in its name is written with a '/' at the
//                  end
//   X:at=/prefix, X:only=GLOB    a view of any of these but a root (cache/view.h); both, and
//   several
//                  only=, may be given
//
// On the way of every `strata run`: a ref costs reading one small file, and an id in full nothing.
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
