// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/root_info.h"

#include <algorithm>

#include "stager/stage_record.h"

#include "stager/stage_record.h"

namespace strata {

Result<Names> Names::Read(const Store& store) {
  Names names;
  STRATA_ASSIGN(names.refs, store.ListRefs());
  STRATA_ASSIGN(names.pins, store.ListPins());
  return names;
}

std::vector<std::string> Names::Of(const Target& target) const {
  std::vector<std::string> found;
  for (const Store::Ref& ref : refs) {
    if (ref.target == target) found.push_back(ref.name);
  }
  return found;
}

bool Names::IsPinned(const Target& target) const {
  return std::binary_search(pins.begin(), pins.end(), target);
}

std::string Names::Text(const Target& target) const {
  std::string text = fmt::format("{}", fmt::join(Of(target), ", "));
  if (IsPinned(target)) text += text.empty() ? "(pinned)" : " (pinned)";
  return text.empty() ? "-" : text;
}

Json ToJson(const RootInfo& root, const Names& names) {
  Json json;
  json["key"] = root.key.Hex();
  json["refs"] = names.Of(root.key);
  json["pinned"] = names.IsPinned(root.key);
  json["layer_count"] = root.content.layer_count;
  json["depth"] = root.content.lowers.size();
  json["method"] = RootMethodName(root.content.method);
  json["last_used"] = root.last_used;
  return json;
}

std::string_view PolicyName(ConflictPolicy policy) {
  switch (policy) {
    case ConflictPolicy::kError:
      return "error";
    case ConflictPolicy::kReplace:
      return "replace";
    case ConflictPolicy::kSkip:
      return "skip";
  }
  return "unknown";
}

HeldRoots RootsOfStages() {
  return RootsHeldByStages;
}

}  // namespace strata
