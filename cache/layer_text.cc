// SPDX-License-Identifier: Apache-2.0
#include "cache/layer_text.h"

#include <algorithm>
#include <utility>

#include "base/path.h"
#include "cache/directory_layer.h"
#include "cache/view.h"

namespace strata {
namespace {

constexpr std::string_view kDirectoryMark = "dir:";

Result<SetItem> MakeItem(const Store& store, const std::string& path,
                         const std::optional<std::string>& key, const std::string& view) {
  if (!view.empty() && !key) {
    return Unexpected(
        Error(Errc::kInvalid, "a view is made once and kept, so its directory needs a key")
            .Hint(fmt::format("dir:{}@KEY: the promise that it never changes under that key",
                              QuotePath(path))));
  }
  STRATA_ASSIGN(SetItem item, MakeDirectoryItem(store, path, key));
  item.view = view;
  return item;
}

Result<SetItem> ReadDirectory(const Store& store, std::string_view text, const std::string& view) {
  std::optional<std::string> key;
  std::string_view path = text;
  size_t at = text.rfind('@');
  if (at != std::string_view::npos && text.find('/', at) == std::string_view::npos) {
    key = text.substr(at + 1);
    path = text.substr(0, at);
    if (key->empty()) return Fail(Errc::kInvalid, "the key after '@' is empty");
  }
  if (path.empty()) return Fail(Errc::kInvalid, "no path after 'dir:'");
  return MakeItem(store, std::string(path), key, view);
}

// The layers of a root, in place; its commands before the others'.
Result<void> AddRoot(const Store& store, const RootKey& key, DependencySet* set,
                     std::optional<DependencySet>* whole) {
  STRATA_ASSIGN(RootInfo root, ReadRoot(store, key));
  set->items.insert(set->items.end(), root.set.items.begin(), root.set.items.end());
  set->integration.insert(set->integration.end(), root.set.integration.begin(),
                          root.set.integration.end());
  *whole = std::move(root.set);
  return {};
}

Result<void> Add(const Store& store, std::string_view text, DependencySet* set,
                 std::optional<DependencySet>* root) {
  std::string view;
  size_t view_at = FindView(text);
  if (view_at != std::string_view::npos) {
    STRATA_ASSIGN(View parsed, ParseView(text.substr(view_at + 1)));
    view = parsed.Canonical();
    text = text.substr(0, view_at);
  }
  if (text.starts_with(kDirectoryMark)) {
    STRATA_ASSIGN(SetItem item, ReadDirectory(store, text.substr(kDirectoryMark.size()), view));
    set->items.push_back(std::move(item));
    return {};
  }
  STRATA_ASSIGN(Target target, store.ResolveTarget(text));
  if (target.is_root()) {
    if (view_at == std::string_view::npos) return AddRoot(store, target.root, set, root);
    return Fail(Errc::kInvalid, "{} is a composed root, and only a layer has views", text);
  }
  set->items.push_back({target.layer, std::move(view)});
  return {};
}

}  // namespace

Result<void> AddLayerText(const Store& store, std::string_view text, DependencySet* set,
                          std::optional<DependencySet>* root) {
  // As Store::ResolveTarget has it, and it is what long lists are made of.
  if (auto id = LayerId::FromHex(text)) {
    set->items.emplace_back().id = *id;
    return {};
  }
  Result<void> added = Add(store, text, set, root);
  // A ref is named by its own errors.
  if (added || (!text.starts_with(kDirectoryMark) && FindView(text) == std::string::npos)) {
    return added;
  }
  return Unexpected(std::move(added).error().Wrap(QuotePath(text)));
}

Result<void> AddDirectory(const Store& store, const std::string& path,
                          const std::optional<std::string>& key, std::string_view view,
                          DependencySet* set) {
  std::string canonical;
  if (!view.empty()) {
    STRATA_ASSIGN_WITH(View parsed, ParseView(view), QuotePath(path));
    canonical = parsed.Canonical();
  }
  STRATA_ASSIGN_WITH(SetItem item, MakeItem(store, path, key, canonical), QuotePath(path));
  set->items.push_back(std::move(item));
  return {};
}

std::string DescribeItem(const Store& store, const SetItem& item) {
  std::string text = item.directory.empty() ? fmt::format("layer {:.12}", item.id.Hex())
                                            : fmt::format("dir:{}", item.directory);
  if (auto refs = store.ListRefs(); refs && item.directory.empty()) {
    auto ref = std::find_if(refs->begin(), refs->end(),
                            [&](const Store::Ref& r) { return r.target == Target(item.id); });
    if (ref != refs->end()) text += fmt::format(" ({})", ref->name);
  }
  if (!item.view.empty()) text += ":" + item.view;
  return text;
}

}  // namespace strata
