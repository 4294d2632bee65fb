// SPDX-License-Identifier: Apache-2.0
//
// Private to compose.cc and to those who analyse a set as it does: the members of a dependency set, opened.
#pragma once

#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/manifest.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/staging_rules.h"

namespace strata {

struct Member {
  Digest id;         // of the layer, the view, or the directory with its key
  std::string path;  // of its tree, relative to the store or absolute
  Manifest manifest;
  FileLock lease;    // not held for a directory that the store does not manage
  bool same_file_system = true;
};

// Leased, their manifests checked entry by entry. In the order of the set's items.
Result<std::vector<Member>> OpenMembers(const Store& store, const DependencySet& set);

// Shared lock on a tree of the store ("layers/ID/tree", "derived/NAME/tree"). ENOENT stays kSystem.
Result<FileLock> LeaseTree(const Store& store, const std::string& path);
// The manifest beside it, checked entry by entry.
Result<Manifest> OpenTreeManifest(const Store& store, const std::string& path);

// Directories that only one of the manifests (bottom first) shows, and that have whiteouts there.
std::vector<std::string> UnmergedWhiteouts(const std::vector<const Manifest*>& manifests);

}  // namespace strata
