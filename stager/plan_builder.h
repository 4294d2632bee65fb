// SPDX-License-Identifier: Apache-2.0
//
// Makes TreePlans of MergedTrees: all of one (a segment, a whole root), or the difference of two (a delta).
//
// `sources` is the composition's list that pieces and origins refer to; the plan gets a copy of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "stager/merged_tree.h"
#include "stager/tree_plan.h"

namespace strata {

// Everything that `tree` shows; with MergedTree::Rules::kRun whiteouts and opaque marks too.
Result<TreePlan> PlanTree(MergedTree& tree, const std::vector<PlanSource>& sources);

// What has to lie on `shown` (kOverlay) for `wanted` (kStaging) to be seen: files, directories with their
// metadata, whiteouts. Directories in `also` (paths) are repeated if they are in `wanted`. No entries but the root where
// nothing differs.
Result<TreePlan> PlanDelta(MergedTree& wanted, MergedTree& shown,
                           const std::vector<std::string>& also,
                           const std::vector<PlanSource>& sources);

// The part that both share: a plan in the making.
class PlanBuilder {
 public:
  using Node = ManifestBuilder::Node;
  // Identity of a file: its source and the leader of its hardlink group there (else itself).
  using FileId = std::pair<uint32_t, uint32_t>;

  explicit PlanBuilder(const std::vector<PlanSource>& sources) : sources_(sources) {}

  // An entry that is no directory.
  // `count`: of the layers that have one there.
  void AddFile(Node directory, const Piece& piece, uint32_t entry, uint32_t count = 1);
  Node AddDirectory(Node directory, const Piece& piece, uint32_t entry, bool opaque, bool implicit,
                    uint32_t count = 1);
  void AddWhiteout(Node directory, std::string_view name);
  // What is below the manifest's directory `entry`. `marks`: with whiteouts and opaque marks.
  void AddBelow(Node directory, const Piece& piece, uint32_t entry, bool marks);
  // What is below a node of a tree.
  void AddBelow(Node directory, MergedTree& tree, MergedTree::NodeId node);

  ManifestBuilder& builder() { return builder_; }
  FileId IdOf(const Piece& piece, uint32_t entry) const;
  bool Has(const FileId& id) const { return files_.contains(id); }
  std::set<Digest> Contents() const;             // of its files
  std::set<uint32_t> SourcesOfGroups() const;  // that hard-linked files of it come from
  Result<TreePlan> Finish();

 private:
  void Note(Node node, const Piece& piece, uint32_t count);

  const std::vector<PlanSource>& sources_;
  ManifestBuilder builder_;
  std::map<FileId, Node> files_;  // of those in hardlink groups: the first name
  std::vector<TreePlan::Origin> origins_;  // by node
  std::vector<Provider> providers_;        // by node
};

}  // namespace strata
