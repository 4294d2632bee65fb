// SPDX-License-Identifier: Apache-2.0
//
// What happens where a layer is published that the store has already, but damaged: the whole one
// takes its place, at one instant. The damaged one may be mounted somewhere, so it stays aside
// (format.md, "damaged/") until gc finds that nobody can be using it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cache/store.h"

namespace strata {

// Whether layers/ID is this layer, as far as can be told without opening its files; and fsck, which
// does open them, has found nothing. What cannot be looked at counts as whole.
bool LooksWhole(const Store& store, const LayerId& id);

// Puts the complete layer `replacement`, which has a name by NameForReplaced, in the place of
// layers/ID, and that there. False where somebody else has put one into that place meanwhile: then
// the replacement is among the damaged ones, for gc.
Result<bool> ExchangeLayer(const Store& store, const std::string& replacement, const LayerId& id);

// "damaged/ID.RANDOM", and back from "ID.RANDOM"; nothing for a layer that fsck has put aside.
std::string NameForReplaced(const LayerId& id);
std::optional<LayerId> ReplacedLayer(std::string_view name);

// fsck's finding: a file beside the tree, which goes where the layer goes. Best effort: without it,
// a replacement is made only for what LooksWhole sees by itself.
void MarkDamaged(const Store& store, const LayerId& id);
void ClearDamaged(const Store& store, const LayerId& id);

}  // namespace strata
