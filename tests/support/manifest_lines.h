// SPDX-License-Identifier: Apache-2.0
//
// Manifests without trees, written as a few lines.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cache/manifest.h"
#include "tests/support/layer_maker.h"

namespace strata::testing {

// "d usr/lib", "f usr/bin/cc=content", "l lib->usr/lib", "w gone" (whiteout), "o dir" (opaque),
// "i dir" (implicit), "h new=old" (hard link). Parents are made as they are needed, explicitly.
inline Manifest ManifestOf(const std::vector<std::string>& lines) {
  ManifestBuilder builder;
  std::map<std::string, ManifestBuilder::Node> nodes{{"", ManifestBuilder::kRoot}};
  std::function<ManifestBuilder::Node(const std::string&)> node = [&](const std::string& path) {
    auto found = nodes.find(path);
    if (found != nodes.end()) return found->second;
    size_t slash = path.rfind('/');
    ManifestBuilder::Node parent = node(slash == std::string::npos ? "" : path.substr(0, slash));
    ManifestBuilder::Node made =
        builder.Add(parent, slash == std::string::npos ? path : path.substr(slash + 1));
    builder.At(made).mode = 0755;
    nodes[path] = made;
    return made;
  };
  for (const std::string& line : lines) {
    std::string path = line.substr(2), extra;
    size_t split = path.find(line[0] == 'l' ? "->" : "=");
    if (split != std::string::npos) {
      extra = path.substr(split + (line[0] == 'l' ? 2 : 1));
      path.resize(split);
    }
    ManifestBuilder::Node made = node(path == "/" ? "" : path);
    ManifestBuilder::Data& data = builder.At(made);
    switch (line[0]) {
      case 'd':
        if (!extra.empty()) data.mode = static_cast<uint32_t>(std::stoul(extra, nullptr, 8));
        break;
      case 'i':
        data.flags |= kImplicit;
        break;
      case 'o':
        data.flags |= kOpaque;
        break;
      case 'f':
        data.type = EntryType::kFile;
        data.mode = 0644;
        data.size = extra.size();
        data.digest = Sha256::Of(extra.data(), extra.size());
        break;
      case 'l':
        data.type = EntryType::kSymlink;
        data.target = extra;
        break;
      case 'w':
        data = {};
        data.type = EntryType::kWhiteout;
        break;
      case 'h':
        data.type = EntryType::kFile;
        data.hardlink_to = nodes.at(extra);
        break;
    }
  }
  Manifest manifest = Must(Manifest::FromBytes(Must(builder.Finish())));
  Must(manifest.Validate());
  return manifest;
}

}  // namespace strata::testing
