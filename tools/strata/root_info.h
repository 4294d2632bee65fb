// SPDX-License-Identifier: Apache-2.0
//
// What `list` and `show` say of a composed root, and names for both kinds of things.
#pragma once

#include <string>
#include <vector>

#include "cache/roots.h"
#include "tools/strata/json.h"

namespace strata {

// Refs and pins, read once.
struct Names {
  static Result<Names> Read(const Store& store);
  std::vector<std::string> Of(const Target& target) const;
  bool IsPinned(const Target& target) const;
  // "a, b (pinned)", for people; "-" for what has none.
  std::string Text(const Target& target) const;

  std::vector<Store::Ref> refs;
  std::vector<Target> pins;
};

// 12 digits, for people.
inline std::string ShortKey(const RootKey& key) {
  return key.Hex().substr(0, 12);
}

// {"key", "refs", "pinned", "layer_count", "depth", "method", "last_used"}
Json ToJson(const RootInfo& root, const Names& names);

std::string_view PolicyName(ConflictPolicy policy);  // "error", "replace", "skip"

// The roots that stages without a process of their own have mounted; for Store::RemoveLayer and others.
HeldRoots RootsOfStages();

}  // namespace strata
