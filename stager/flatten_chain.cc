// SPDX-License-Identifier: Apache-2.0
#include "stager/flatten_chain.h"

#include <string>
#include <string_view>

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
                          const MakeTreeOptions& options) {
  std::vector<Manifest> manifests;
  for (const std::string& lower : content.lowers) {
    constexpr std::string_view kTree = "/tree";
    if (lower.front() == '/' || !lower.ends_with(kTree)) {
      return Fail(Errc::kUnsupported,
                  "{}: a directory that the store does not manage is not linked or copied", lower);
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
