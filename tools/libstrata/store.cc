// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "tools/libstrata/handles.h"

namespace strata {
namespace {

strata_target Describe(const Target& target) {
  strata_target described{};
  described.size = sizeof described;
  described.kind = target.is_root() ? STRATA_ROOT : STRATA_LAYER;
  const std::string hex = target.Hex();
  hex.copy(described.id, sizeof described.id - 1);
  return described;
}

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Need;
using strata::Result;
using strata::Text;

int strata_store_open(const char* path, strata_store** store, strata_error** error) {
  if (store != nullptr) *store = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(store, "store"));
    std::string where = strata::TextOrEmpty(path);
    if (path == nullptr) {
      STRATA_ASSIGN(where, strata::Store::DefaultPath());
    } else if (where.empty()) {
      return strata::Fail(strata::Errc::kInvalid, "path is empty");
    }
    STRATA_ASSIGN(strata::Store opened, strata::Store::Open(where));
    *store = new strata_store{std::make_shared<const strata::OpenStore>(std::move(opened))};
    return {};
  });
}

const char* strata_store_path(const strata_store* store) {
  return store != nullptr ? store->store->path().c_str() : "";
}

void strata_store_free(strata_store* store) {
  delete store;
}

int strata_resolve(const strata_store* store, const char* name, strata_target* target,
                   strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(strata::CheckOutput(target, "strata_target"));
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string text, Text(name, "name"));
    STRATA_ASSIGN(strata::Target found, opened->ResolveTarget(text));
    strata::WriteOutput(strata::Describe(found), target);
    return {};
  });
}

int strata_tag(const strata_store* store, const char* name, const char* ref, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string text, Text(name, "name"));
    STRATA_ASSIGN(std::string new_ref, Text(ref, "ref"));
    STRATA_ASSIGN(strata::Target target, opened->ResolveTarget(text));
    return opened->SetRef(new_ref, target);
  });
}

int strata_untag(const strata_store* store, const char* ref, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string text, Text(ref, "ref"));
    return opened->RemoveRef(text);
  });
}

int strata_list_refs(const strata_store* store,
                     int (*each)(void* user, const char* ref, const strata_target* target),
                     void* user, strata_error** error) {
  return Call(error, [&]() -> Result<int> {
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    if (each == nullptr) return strata::Fail(strata::Errc::kInvalid, "each is NULL");
    STRATA_ASSIGN(std::vector<strata::Store::Ref> refs, opened->ListRefs());
    for (const strata::Store::Ref& ref : refs) {
      const strata_target target = strata::Describe(ref.target);
      const int verdict = each(user, ref.name.c_str(), &target);
      if (verdict > 0) return verdict;
    }
    return 0;
  });
}
