// SPDX-License-Identifier: Apache-2.0
//
// What may stand for a layer where people or programs name one:
//
//   REF, ID        a ref, an id prefix of 4 or more digits
//   ROOT           a composed root, by ref or key. Alone it is that very set, with its commands and
//                  its policy; among others it stands for its layers, in place, and its commands
//                  come first
//   dir:PATH[@KEY] an unmanaged directory (cache/directory_layer.h). KEY is what follows an '@' in
//                  the last component: a directory with an '@' in its name is written with a '/' at
//                  the end
//   X:at=/prefix, X:only=GLOB    a view of any of these but a root (cache/view.h); both, and
//                  several only=, may be given
//
// On the way of every `strata run`: a ref costs reading one small file, and an id in full nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {

// Adds what `text` stands for to the set, on top. Sets `*root` where that is a composed root: its
// layers and commands were added; that it may be the whole set is the caller's to see to, who alone
// knows whether it is alone. Errors name the text.
Result<void> AddLayerText(const Store& store, std::string_view text, DependencySet* set,
                          std::optional<DependencySet>* root);

// The same for an unmanaged directory whose path, key (empty optional: none) and view ("at=/opt",
// may be empty) are known, whatever bytes they have.
Result<void> AddDirectory(const Store& store, const std::string& path,
                          const std::optional<std::string>& key, std::string_view view,
                          DependencySet* set);

// "layer 3f2a90cc01b7 (app):at=/opt", for messages about conflicts.
std::string DescribeItem(const Store& store, const SetItem& item);

}  // namespace strata
