// SPDX-License-Identifier: Apache-2.0
//
// Small random layers over few names, so that they meet each other: directories, files, links,
// whiteouts, opaque directories.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/support/layer_maker.h"

namespace strata::testing {

inline unsigned Pick(std::mt19937& random, unsigned count) {
  return std::uniform_int_distribution<unsigned>(0, count - 1)(random);
}

inline std::string RandomPath(std::mt19937& random) {
  std::string path(1, static_cast<char>('a' + Pick(random, 4)));
  while (path.size() < 5 && Pick(random, 3) != 0) {
    path += '/';
    path += static_cast<char>('a' + Pick(random, 4));
  }
  return path;
}

// Whether every parent of `path` can be a directory of the layer.
inline bool Fits(const LayerMaker& layer, const std::string& path) {
  if (layer.Has(path)) return false;
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (layer.Has(parent) && layer.At(parent).type != EntryType::kDirectory) return false;
  }
  return true;
}

inline LayerId RandomLayer(const Store& store, std::mt19937& random) {
  static constexpr unsigned kFileModes[] = {0644, 0755, 0444, 0000, 0600, 04755};
  static constexpr unsigned kDirModes[] = {0755, 0755, 0755, 0700, 0555, 01777, 02775};
  LayerMaker layer(store);
  std::vector<std::string> files;
  for (unsigned i = 0, count = 5 + Pick(random, 20); i < count; ++i) {
    const std::string path = RandomPath(random);
    if (!Fits(layer, path)) continue;
    layer.Mtime(1500000000 + Pick(random, 3), Pick(random, 2) * 500);
    layer.Owner(Pick(random, 3), Pick(random, 3));
    switch (Pick(random, 10)) {
      case 0:
        layer.Symlink(path, RandomPath(random));
        break;
      case 1:
        layer.Whiteout(path);
        break;
      case 2:
        layer.Opaque(path);
        break;
      case 3:
      case 4:
        layer.Dir(path, kDirModes[Pick(random, 7)]);
        break;
      case 5:
        if (!files.empty()) {
          layer.Link(files[Pick(random, static_cast<unsigned>(files.size()))], path);
          break;
        }
        [[fallthrough]];
      default: {
        std::vector<Xattr> xattrs;
        if (Pick(random, 4) == 0) xattrs.push_back({"user.k", std::to_string(Pick(random, 2))});
        layer.File(path, std::string(Pick(random, 3), 'x'), kFileModes[Pick(random, 6)],
                   std::move(xattrs));
        files.push_back(path);
      }
    }
  }
  return layer.Publish();
}

}  // namespace strata::testing
