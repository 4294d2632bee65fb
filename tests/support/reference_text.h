// SPDX-License-Identifier: Apache-2.0
//
// Layers and trees of the reference model as text: short, to write tests with, and in full, to
// report a set that fails.
//
//   usr/            a directory       usr/@0700   with its mode       usr/*   opaque; /* the root
//   usr/f=text      a file            usr/f=text@0600
//   usr/f=text#g    of a hardlink group
//   lib->usr/lib    a symlink
//   !usr/f          a whiteout
//
// Parents that are not named are implicit.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/path.h"
#include "tests/support/reference_stage.h"

namespace strata::testing {

inline RefPath SplitPath(const std::string& path) {
  RefPath parts;
  std::stringstream in(path);
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  return parts;
}

inline std::string JoinPath(const RefPath& path) {
  return fmt::format("{}", fmt::join(path, "/"));
}

inline void AddImplicitParents(RefLayer& layer) {
  std::vector<RefPath> paths;
  for (const auto& [path, entry] : layer.entries) paths.push_back(path);
  for (RefPath path : paths) {
    for (path.pop_back(); !path.empty(); path.pop_back()) {
      RefEntry parent;
      parent.implicit = true;
      layer.entries.try_emplace(path, parent);
    }
  }
}

inline RefLayer ParseLayer(const std::string& text) {
  RefLayer layer;
  std::stringstream words(text);
  for (std::string word; words >> word;) {
    RefEntry entry;
    if (word == "/*") {
      layer.opaque_root = true;
      continue;
    }
    auto cut = [&word](const char* mark) {
      const size_t at = word.rfind(mark);
      if (at == std::string::npos) return std::string();
      std::string rest = word.substr(at + 1);
      word.resize(at);
      return rest;
    };
    const size_t arrow = word.find("->");
    if (word[0] == '!') {
      entry = {EntryType::kWhiteout, false, false, 0, 0, 0, 0, 0, "", "", {}, ""};
      word.erase(0, 1);
    } else if (arrow != std::string::npos) {
      entry.type = EntryType::kSymlink;
      entry.mode = 0777;
      entry.target = word.substr(arrow + 2);
      word.resize(arrow);
    } else {
      const bool file = word.find('=') != std::string::npos;
      entry.group = cut("#");
      const std::string mode = cut("@");
      entry.type = file ? EntryType::kFile : EntryType::kDirectory;
      entry.mode = !mode.empty() ? static_cast<unsigned>(std::stoul(mode, nullptr, 8))
                                 : (file ? 0644 : 0755);
      if (file) {
        entry.content = cut("=");
      } else {
        entry.opaque = word.back() == '*';
        word.resize(word.rfind('/'));
      }
    }
    layer.entries[SplitPath(word)] = entry;
  }
  AddImplicitParents(layer);
  return layer;
}

inline std::string ShowTree(const RefTree& tree) {
  std::map<std::pair<size_t, std::string>, int> groups;
  for (const auto& [path, staged] : tree) ++groups[{staged.layer, staged.entry.group}];
  std::string text;
  for (const auto& [path, staged] : tree) {
    const RefEntry& e = staged.entry;
    text += (text.empty() ? "" : " ") + JoinPath(path);
    if (e.is(EntryType::kSymlink)) {
      text += "->" + e.target;
      continue;
    }
    const bool file = e.is(EntryType::kFile);
    text += file ? "=" + e.content : "/";
    if (e.mode != (file ? 0644 : 0755)) text += fmt::format("@{:04o}", e.mode);
    if (!e.group.empty() && groups[{staged.layer, e.group}] > 1) text += "#" + e.group;
  }
  return text;
}

inline std::string ShowConflicts(const std::vector<RefConflict>& conflicts) {
  std::string text;
  for (const RefConflict& c : conflicts) {
    text += fmt::format("{}{}<{} {}", text.empty() ? "" : ", ", c.lower, c.upper, JoinPath(c.path));
  }
  return text;
}

// Everything, one line an entry.
inline std::string ListEntry(const RefEntry& e) {
  static constexpr const char* kTypes[] = {"", "dir", "file", "link", "fifo", "whiteout"};
  std::string text = kTypes[static_cast<int>(e.type)];
  if (e.opaque) text += " opaque";
  if (e.implicit) text += " implicit";
  if (e.is(EntryType::kWhiteout) || e.implicit) return text;
  text += fmt::format(" {:04o} {}:{} {}.{:09}", e.mode, e.uid, e.gid, e.sec, e.nsec);
  for (const Xattr& xattr : e.xattrs) text += " " + QuotePath(xattr.name + "=" + xattr.value);
  if (e.is(EntryType::kFile)) text += " \"" + e.content + "\"";
  if (e.is(EntryType::kSymlink)) text += " -> " + QuotePath(e.target);
  if (!e.group.empty()) text += " group " + QuotePath(e.group);
  return text;
}

inline std::string ListLayers(const std::vector<RefLayer>& layers) {
  std::string text;
  for (size_t i = 0; i < layers.size(); ++i) {
    text += fmt::format("layer {}{}\n", i, layers[i].opaque_root ? ", opaque" : "");
    for (const auto& [path, entry] : layers[i].entries) {
      text += "  " + QuotePath(JoinPath(path)) + "  " + ListEntry(entry) + "\n";
    }
  }
  return text;
}

}  // namespace strata::testing
