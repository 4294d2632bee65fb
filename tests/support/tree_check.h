// SPDX-License-Identifier: Apache-2.0
//
// Whether a layer in the store is what format.md says: the manifest canonical, the tree what the
// manifest records.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/path.h"
#include "cache/manifest.h"
#include "cache/store.h"
#include "tests/support/overlay_view.h"

namespace strata::testing {

// TreeEntry::facts as the tree on disk must show it.
inline std::string ExpectedFacts(const Manifest& manifest, const ManifestEntry& e) {
  static constexpr unsigned kTypes[] = {0, S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFCHR};
  if (e.type == EntryType::kWhiteout) return "whiteout";
  std::string facts =
      fmt::format("{:06o} {}.{:09}", kTypes[static_cast<int>(e.type)] | (e.mode & 01777),
                  e.mtime_sec, e.mtime_nsec);
  std::vector<std::string> list;
  for (const Xattr& xattr : manifest.xattrs(e)) {
    if (xattr.name.compare(0, 5, "user.") == 0) list.push_back(xattr.name + "=" + xattr.value);
  }
  if (e.opaque()) list.push_back("user.overlay.opaque=y");
  std::sort(list.begin(), list.end());
  for (std::string& xattr : list) xattr = QuotePath(xattr);
  if (e.type == EntryType::kFile || e.is_directory()) {
    facts += fmt::format(" [{}]", fmt::join(list, " "));
  }
  if (e.type == EntryType::kFile) facts += " " + e.digest.Hex();
  if (e.type == EntryType::kSymlink) facts += fmt::format(" -> {}", manifest.target(e));
  return facts;
}

inline void ExpectSoundLayer(const Store& store, const LayerId& id) {
  Result<Manifest> manifest = store.OpenManifest(id);
  ASSERT_TRUE(manifest) << manifest.error().message();
  EXPECT_EQ(manifest->Id(), id);
  Result<void> valid = manifest->Validate();
  EXPECT_TRUE(valid) << valid.error().message();
  Result<Tree> disk = ReadDirectory(store.path() + "/layers/" + id.Hex() + "/tree");
  ASSERT_TRUE(disk) << disk.error().message();

  std::map<std::string, std::string> expected;
  std::map<uint32_t, std::string> first_names;
  manifest->Walk([&](const std::string& path, uint32_t index) {
    if (index == 0) return;
    const ManifestEntry& e = manifest->entry(index);
    expected[path] = ExpectedFacts(*manifest, e);
    EXPECT_EQ(disk->count(path), 1U) << path;
    if (e.hardlink == kNoEntry || disk->count(path) == 0) return;
    const std::string& first = first_names.try_emplace(e.hardlink, path).first->second;
    EXPECT_EQ(disk->at(path).group, disk->at(first).group) << path;
  });
  std::map<std::string, std::string> found;
  for (const auto& [path, entry] : *disk) {
    found[path] = entry.facts.compare(0, 2, "02") == 0 ? "whiteout" : entry.facts;
    EXPECT_EQ(entry.special, 0U) << path;
  }
  EXPECT_EQ(found, expected);
}

}  // namespace strata::testing
