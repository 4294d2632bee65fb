// SPDX-License-Identifier: Apache-2.0
//
// The analysis of a few layers that need none: where directories meet nothing but directories, and
// files nothing but files, staging is what an overlay of the layers as they are shows, and nothing
// conflicts. Most sets are like that, and to see it the child lists that layers share are walked
// side by side, which costs a quarter of building a MergedTree of them.
//
// Where this cannot tell (a link or a file meets a directory; an implicit directory hides metadata;
// there are whiteouts, or opaque directories that hide something), StagingRules do.
#pragma once

#include <span>
#include <vector>

#include "cache/manifest.h"
#include "stager/staging_rules.h"

namespace strata {

// More are no quicker walked side by side than merged one after the other.
inline constexpr size_t kMaxPlainStack = 8;

// Whether the layers (bottom first, at most kMaxPlainStack) are certainly such a stack. With
// `overlaps`, the paths where several have something that is no directory are put there, sorted by
// path.
bool IsPlainStack(std::span<const Manifest* const> layers,
                  std::vector<Overlap>* overlaps = nullptr);

}  // namespace strata
