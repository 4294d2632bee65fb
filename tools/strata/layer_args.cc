// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/layer_args.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "base/io.h"
#include "cache/layer_text.h"

namespace strata {
namespace {

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
  std::optional<DependencySet> root;
  for (const LayerWord& word : words) {
    auto added = AddLayerText(store, word.text, &set, &root);
    if (added) continue;
    Error error = std::move(added).error();
    if (word.line > 0) {
      error = std::move(error).Wrap(fmt::format("{}:{}", NameOf(args.layers_from), word.line));
    }
    return Unexpected(std::move(error));
  }
  if (words.size() == 1 && root) return std::move(*root);
  return set;
}

}  // namespace strata
