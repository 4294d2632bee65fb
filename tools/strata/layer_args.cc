// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/layer_args.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <optional>
#include <utility>

#include "base/io.h"
#include "base/path.h"
#include "cache/directory_layer.h"
#include "cache/view.h"

namespace strata {
namespace {

constexpr std::string_view kDirectoryMark = "dir:";

struct LayerWord {
  std::string_view text;
  size_t line;  // of --layers-from; 0 for an operand
};

std::string NameOf(const std::string& file) { return file == "-" ? "standard input" : file; }

Result<std::string> ReadList(const std::string& file) {
  return file == "-" ? ReadAll(STDIN_FILENO, NameOf(file)) : ReadFile(AT_FDCWD, file);
}

std::vector<LayerWord> SplitLines(std::string_view rest) {
  std::vector<LayerWord> words;
  words.reserve(rest.size() / 64 + 1);
  for (size_t line = 1; !rest.empty(); ++line) {
    size_t end = rest.find('\n');
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    while (!text.empty() && (text.back() == '\r' || text.back() == ' ' || text.back() == '\t')) {
      text.remove_suffix(1);
    }
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    if (text.empty() || text.front() == '#') continue;
    words.push_back({text, line});
  }
  return words;
}

Result<SetItem> ReadDirectory(const Store& store, std::string_view text, bool has_view) {
  std::optional<std::string> key;
  std::string_view path = text;
  size_t at = text.rfind('@');
  if (at != std::string_view::npos && text.find('/', at) == std::string_view::npos) {
    key = text.substr(at + 1);
    path = text.substr(0, at);
    if (key->empty()) return Fail(Errc::kInvalid, "the key after '@' is empty");
  }
  if (path.empty()) return Fail(Errc::kInvalid, "no path after 'dir:'");
  if (has_view && !key) {
    return Unexpected(
        Error(Errc::kInvalid, "a view is made once and kept, so its directory needs a key")
            .Hint(fmt::format("dir:{}@KEY: the promise that it never changes under that key",
                              QuotePath(path))));
  }
  return MakeDirectoryItem(store, std::string(path), key);
}

// The layers of a root, in place; its commands before the others'. One that is alone is the set.
Result<void> AddRoot(const Store& store, const RootKey& key, bool alone, DependencySet* set) {
  STRATA_ASSIGN(RootInfo root, ReadRoot(store, key));
  if (alone) {
    *set = std::move(root.set);
    return {};
  }
  set->items.insert(set->items.end(), root.set.items.begin(), root.set.items.end());
  set->integration.insert(set->integration.end(), root.set.integration.begin(),
                          root.set.integration.end());
  return {};
}

Result<void> AddLayer(const Store& store, std::string_view text, bool alone, DependencySet* set) {
  SetItem item;
  size_t view_at = FindView(text);
  if (view_at != std::string_view::npos) {
    STRATA_ASSIGN(View view, ParseView(text.substr(view_at + 1)));
    item.view = view.Canonical();
    text = text.substr(0, view_at);
  }
  if (text.starts_with(kDirectoryMark)) {
    std::string view = std::move(item.view);
    STRATA_ASSIGN(item, ReadDirectory(store, text.substr(kDirectoryMark.size()), !view.empty()));
    item.view = std::move(view);
  } else {
    STRATA_ASSIGN(Target target, store.ResolveTarget(text));
    if (target.is_root()) {
      if (view_at == std::string_view::npos) return AddRoot(store, target.root, alone, set);
      return Fail(Errc::kInvalid, "{} is a composed root, and only a layer has views", text);
    }
    item.id = target.layer;
  }
  set->items.push_back(std::move(item));
  return {};
}

}  // namespace

Result<DependencySet> ReadLayerArgs(const Store& store, const LayerArgs& args) {
  std::string list;
  if (!args.layers_from.empty()) {
    STRATA_ASSIGN_WITH(list, ReadList(args.layers_from), "--layers-from");
  }
  std::vector<LayerWord> words = SplitLines(list);
  for (const std::string& layer : args.layers) words.push_back({layer, 0});
  if (words.empty()) {
    return Unexpected(Error(Errc::kInvalid, args.layers_from.empty()
                                                ? "no LAYER given"
                                                : "--layers-from: there is no LAYER in it")
                          .Hint("`strata list` shows what there is"));
  }
  DependencySet set;
  set.items.reserve(words.size());
  for (const LayerWord& word : words) {
    // As Store::ResolveTarget has it, and it is what long lists are made of.
    if (auto id = LayerId::FromHex(word.text)) {
      set.items.emplace_back().id = *id;
      continue;
    }
    auto added = AddLayer(store, word.text, words.size() == 1, &set);
    if (added) continue;
    Error error = std::move(added).error();
    // A ref is named by its own errors.
    if (word.text.starts_with(kDirectoryMark) || FindView(word.text) != std::string::npos) {
      error = std::move(error).Wrap(QuotePath(word.text));
    }
    if (word.line > 0) {
      error = std::move(error).Wrap(fmt::format("{}:{}", NameOf(args.layers_from), word.line));
    }
    return Unexpected(std::move(error));
  }
  return set;
}

}  // namespace strata
