// SPDX-License-Identifier: Apache-2.0
#include "stager/flatten_chain.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/file_lock.h"
#include "cache/directory_layer.h"
#include "stager/merged_tree.h"
#include "stager/plan_builder.h"

namespace strata {

Result<TreePlan> FlattenChain(const std::vector<PlanSource>& bottom_first) {
  MergedTree tree(MergedTree::Rules::kOverlay);
  for (uint32_t i = 0; i < bottom_first.size(); ++i) {
    tree.Merge({.manifest = bottom_first[i].manifest, .source = i});
  }
  return PlanTree(tree, bottom_first);
}

Result<void> MakeRootTree(const Store& store, const RootContent& content, int tree_fd,
                          const MakeTreeOptions& options, const std::vector<SetItem>& items) {
  std::vector<Manifest> manifests;
  std::vector<FileLock> leases;  // on what is kept of a directory
  for (const std::string& lower : content.lowers) {
    const auto item = std::find_if(items.begin(), items.end(),
                                   [&](const SetItem& each) { return each.directory == lower; });
    if (item != items.end()) {
      STRATA_ASSIGN(DirectoryLayer directory, OpenDirectoryLayer(store, *item));
      manifests.push_back(std::move(directory.manifest));
      leases.push_back(std::move(directory.lease));
      continue;
    }
    constexpr std::string_view kTree = "/tree";
    if (lower.front() == '/' || !lower.ends_with(kTree)) {
      return Fail(Errc::kUnsupported,
                  "{}: a directory that the store does not manage is not linked", lower);
    }
    std::string path = lower.substr(0, lower.size() - kTree.size()) + "/manifest";
    STRATA_ASSIGN(Manifest manifest, Manifest::Open(store.fd(), path));
    manifests.push_back(std::move(manifest));
  }
  std::vector<PlanSource> sources;
  for (size_t i = 0; i < manifests.size(); ++i) {
    sources.push_back({content.lowers[i], &manifests[i]});
  }
  STRATA_ASSIGN(TreePlan plan, FlattenChain(sources));
  if (options.progress != nullptr) options.progress->total_entries = plan.manifest.size() - 1;
  return MakeTree(store, plan, tree_fd, options);
}

}  // namespace strata
