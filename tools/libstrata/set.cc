// SPDX-License-Identifier: Apache-2.0
#include "tools/libstrata/set.h"

#include <algorithm>
#include <map>

#include "cache/layer_text.h"
#include "stager/overlaps.h"

strata::DependencySet strata_set::Whole() const {
  strata::DependencySet whole = root && additions == 1 ? *root : added;
  whole.integration.insert(whole.integration.end(), commands.begin(), commands.end());
  if (on_conflict) whole.on_conflict = *on_conflict;
  return whole;
}

namespace strata {
namespace {

constexpr size_t kLongestKey = 200;

struct Told {
  std::vector<size_t> members;
  bool conflict = false;
};

std::map<std::string, Told> ByPath(const OverlapReport& report) {
  std::map<std::string, Told> paths;
  for (const Overlap& overlap : report.overlaps) {
    paths[overlap.path].members.assign(overlap.layers.begin(), overlap.layers.end());
  }
  for (const Conflict& conflict : report.conflicts) {
    Told& told = paths[conflict.path];
    told.conflict = true;
    for (size_t member : {conflict.lower, conflict.upper}) told.members.push_back(member);
  }
  for (auto& [path, told] : paths) {
    std::sort(told.members.begin(), told.members.end());
    told.members.erase(std::unique(told.members.begin(), told.members.end()), told.members.end());
  }
  return paths;
}

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Errc;
using strata::Fail;
using strata::Need;
using strata::Result;
using strata::Text;

int strata_set_new(const strata_store* store, strata_set** set, strata_error** error) {
  if (set != nullptr) *set = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    *set = new strata_set{std::move(opened), {}, 0, {}, {}, {}};
    return {};
  });
}

int strata_set_add(strata_set* set, const char* layer, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    STRATA_ASSIGN(std::string text, Text(layer, "layer"));
    STRATA_TRY(strata::AddLayerText(*set->store, text, &set->added, &set->root));
    ++set->additions;
    return {};
  });
}

int strata_set_add_directory(strata_set* set, const char* path, const char* key, const char* view,
                             strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    STRATA_ASSIGN(std::string where, Text(path, "path"));
    std::optional<std::string> promise;
    if (key != nullptr) promise = key;
    if (promise && (promise->empty() || promise->size() > strata::kLongestKey)) {
      return Fail(Errc::kInvalid, "key: it has {} bytes; 1 to {} are allowed", promise->size(),
                  strata::kLongestKey);
    }
    STRATA_TRY(
        strata::AddDirectory(*set->store, where, promise, strata::TextOrEmpty(view), &set->added));
    ++set->additions;
    return {};
  });
}

int strata_set_integrate(strata_set* set, const char* command, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    STRATA_ASSIGN(std::string text, Text(command, "command"));
    if (text.empty()) return Fail(Errc::kInvalid, "command is empty");
    set->commands.push_back(std::move(text));
    return {};
  });
}

int strata_set_on_conflict(strata_set* set, strata_conflict policy, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    STRATA_TRY(strata::CheckEnum(policy, STRATA_CONFLICT_SKIP, "policy"));
    static_assert(static_cast<int>(strata::ConflictPolicy::kSkip) == STRATA_CONFLICT_SKIP);
    set->on_conflict = static_cast<strata::ConflictPolicy>(policy);
    return {};
  });
}

size_t strata_set_count(const strata_set* set) {
  size_t count = 0;
  static_cast<void>(Call(nullptr, [&]() -> Result<void> {
    STRATA_TRY(Need(set, "set"));
    strata::DependencySet whole = set->Whole();
    whole.Deduplicate();
    count = whole.items.size();
    return {};
  }));
  return count;
}

void strata_set_free(strata_set* set) {
  delete set;
}

int strata_list_overlaps(const strata_set* set,
                         int (*each)(void* user, const strata_overlap* overlap), void* user,
                         strata_error** error) {
  return Call(error, [&]() -> Result<int> {
    STRATA_TRY(Need(set, "set"));
    if (each == nullptr) return Fail(Errc::kInvalid, "each is NULL");
    STRATA_ASSIGN(strata::OverlapReport report, strata::FindOverlaps(*set->store, set->Whole()));
    for (const auto& [path, told] : strata::ByPath(report)) {
      const std::string shown = "/" + path;
      const strata_overlap overlap{sizeof overlap, shown.c_str(), told.members.data(),
                                   told.members.size(), told.conflict ? 1 : 0};
      const int verdict = each(user, &overlap);
      if (verdict > 0) return verdict;
    }
    return 0;
  });
}
