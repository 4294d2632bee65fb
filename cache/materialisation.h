// SPDX-License-Identifier: Apache-2.0
//
// Materialisations: a layer or derived layer whose manifest has other owners than 0:0, once more on
// disk for one id mapping, with those owners (format.md, "Owners"). Here are their names and what
// keeps the store in order; stager/materialise.h makes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id_map.h"
#include "base/result.h"
#include "cache/store.h"

namespace strata {

// What becomes of an entry whose owner the mapping does not have.
enum class UnmappedOwner {
  kFail,    // an error that names it
  kCaller,  // it belongs to 0, the caller, as all do where one id is mapped
};

// Of `source` ("layers/ID", "derived/NAME"): its name in derived/. `lacking`: for one that lacks
// some of the owners (kCaller).
std::string MaterialisationName(std::string_view source, const IdMapping& mapping, bool lacking);

struct MaterialisationOf {
  std::string mapping;  // 16 hex digits that stand for it
  std::string source;   // "layers/ID", "derived/NAME"
};
// Nothing for the name of another derived layer.
std::optional<MaterialisationOf> ParseMaterialisation(std::string_view name);
// Whether it is for that mapping.
bool IsFor(const MaterialisationOf& materialisation, const IdMapping& mapping);

// The mapping of this caller that the materialisation is for. Nothing where it has none such any
// more.
std::optional<IdMapping> FindMapping(const MaterialisationOf& materialisation);

// Removes all materialisations of `source`. kBusy where somebody has one mounted.
Result<void> RemoveMaterialisations(const Store& store, std::string_view source);

}  // namespace strata
