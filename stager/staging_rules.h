// SPDX-License-Identifier: Apache-2.0
//
// The definition of staging (design section 3), worked out from manifests: which entry of which layer
// shows at each path, which layers have to be rewritten for a plain overlay to agree, what conflicts.
//
// A layer is applied in two steps. First it is made *effective* for the tree staged so far: each of its
// directories that stands where that tree has a symlink leading to a directory is redirected, its
// children go to the link's target (links are resolved inside the root, in the tree of the layers below
// only). An own entry wins over a redirected one at the same path, and any entry over a whiteout. Then
// the effective layer is merged by rules that no longer know about links.
//
// Not thread-safe. The manifests must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "stager/merged_tree.h"

namespace strata {

// Layers by their index, bottom first.
struct Conflict {
  enum class Kind {
    kOverDirectory,   // a non-directory over a directory that shows something
    kOverUsedLink,    // a non-directory over a link that other layers write through
    kOpaqueOverLink,  // an opaque directory over a link to a directory
  };
  Kind kind = Kind::kOverDirectory;
  std::string path;
  uint32_t lower = 0;
  uint32_t upper = 0;
};

// A path where several layers have something that is no directory, or a directory in the place of such.
struct Overlap {
  std::string path;
  std::vector<uint32_t> layers;  // bottom first; the last one wins
  bool identical = true;         // all the same in type, metadata, content and target
};

// A tree in memory: a layer made effective.
struct EffectiveLayer {
  Manifest manifest;
  std::vector<TreePlan::Origin> origins;  // into the composition's sources
};

class StagingRules {
 public:
  // `collect_overlaps`: fill overlaps(), which costs memory for each.
  explicit StagingRules(ConflictPolicy policy, bool collect_overlaps = false)
      : policy_(policy), collect_overlaps_(collect_overlaps), tree_(MergedTree::Rules::kStaging) {}

  // The next layer, on top of those before.
  Result<void> Add(const Manifest& manifest, uint32_t source);

  // What staging shows.
  MergedTree& tree() { return tree_; }
  // The layers as merged: unchanged ones, and effective ones (with origins).
  const std::vector<Piece>& effective() const { return tree_.pieces(); }
  bool rewritten(size_t layer) const { return tree_.pieces()[layer].origins != nullptr; }
  // Whether a plain overlay of the layers as they are shows the same (ghosts aside: see compose.cc).
  bool overlay_agrees() const { return rewritten_ == 0 && !tree_.implicit_hides_metadata(); }

  // In the order of the layers. With ConflictPolicy::kError what would have been reported; the tree is
  // then the one of kReplace.
  const std::vector<Conflict>& conflicts() const { return conflicts_; }
  std::vector<Overlap> TakeOverlaps();  // sorted by path

 private:
  using NodeId = MergedTree::NodeId;
  struct Redirect {
    uint32_t entry;      // the layer's directory
    std::string path;    // of it
    std::string target;  // where its children go
  };
  struct UsedLink {
    uint32_t layer;  // the first one that was redirected through it
    uint32_t link;   // the layer that the link is of: another link at the same path is not the one
  };
  struct Resolved {
    NodeId directory;
    std::vector<NodeId> links;  // followed on the way
  };

  void FindRedirects(NodeId directory, const Manifest& layer, uint32_t entry,
                     const std::string& path);
  void FindConflicts(NodeId directory, const Manifest& layer, uint32_t entry,
                     const std::string& path);
  void CheckNonDirectory(NodeId existing, const Manifest& layer, uint32_t entry,
                         const std::string& path);
  std::optional<Resolved> Resolve(NodeId directory, std::string_view target);
  Result<void> Rewrite(Piece* piece, const std::vector<Redirect>& redirects);
  void NoteOverlap(NodeId existing, const Manifest& layer, uint32_t entry,
                   const std::string& path);

  const ConflictPolicy policy_;
  const bool collect_overlaps_;
  MergedTree tree_;
  std::vector<std::unique_ptr<EffectiveLayer>> owned_;
  std::unordered_map<std::string, UsedLink> used_links_;  // by path
  std::unordered_map<std::string, Overlap> overlaps_;     // by path
  std::vector<Conflict> conflicts_;
  size_t rewritten_ = 0;

  // Of the layer being added.
  uint32_t layer_ = 0;
  std::vector<Redirect> redirects_;
  std::vector<NodeId> links_;
  std::unordered_set<uint32_t> skipped_;  // entries left out, with all below
};

// "LOWER and UPPER conflict at /path: ..." for an error or a warning; the names as the user gave them.
std::string Describe(const Conflict& conflict, const std::string& lower, const std::string& upper);

}  // namespace strata
