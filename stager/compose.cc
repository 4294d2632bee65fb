// SPDX-License-Identifier: Apache-2.0
#include "stager/compose.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/hash.h"
#include "stager/composition.h"
#include "stager/delta_base.h"
#include "stager/plain_stack.h"
#include "stager/plan_builder.h"
#include "stager/quick_delta.h"
#include "stager/segments.h"

namespace strata {
namespace {

constexpr size_t kMaxReported = 10;

// What to mount, and what keeps it there.
struct Chain {
  std::vector<std::string> lowers;
  std::vector<FileLock> leases;
  std::vector<const Manifest*> manifests;  // of the lowers
};

class Composer {
 public:
  Composer(const Store& store, const DependencySet& set, const ComposeOptions& options)
      : store_(store), set_(set), options_(options), rules_(set.on_conflict) {}

  Result<RootDraft> Run() {
    if (set_.items.size() > options_.max_direct && options_.delta_part > 0) {
      STRATA_ASSIGN(near_, FindNearRoots(store_, set_));
      auto quick = PlanQuickDelta(store_, set_, near_, options_.delta_part);
      if (quick) return RunQuick(std::move(*quick));
    }
    STRATA_ASSIGN(members_, OpenMembers(store_, set_));
    FindFirst();
    if (!IsPlain()) STRATA_TRY(ApplyRules());
    STRATA_TRY(CheckMountPoints());
    STRATA_TRY(Choose());
    std::vector<std::string> commands;
    for (const Member& member : members_) {
      for (std::string& command : member.manifest.integration_commands()) {
        commands.push_back(std::move(command));
      }
    }
    return Draft(std::move(commands));
  }

 private:
  // All that is needed is in the layers that another root lacks, which are the members then.
  Result<RootDraft> RunQuick(QuickDelta quick) {
    members_ = std::move(quick.added);
    sources_ = std::move(quick.sources);
    chain_.lowers.push_back(std::move(quick.base));
    chain_.manifests.push_back(quick.base_manifest.get());
    chain_.leases.push_back(std::move(quick.base_lease));
    opened_.push_back(std::move(quick.base_manifest));
    method_ = RootMethod::kDelta;
    STRATA_TRY(AddDelta(quick.plan));
    return Draft(std::move(quick.commands));
  }

  RootDraft Draft(std::vector<std::string> commands) {
    RootDraft draft;
    draft.set = set_;
    draft.content.lowers = std::move(chain_.lowers);
    draft.content.base_count = base_count_;
    draft.content.method = method_;
    NoteOwners(draft.content);
    draft.content.layer_count = static_cast<uint32_t>(set_.items.size());
    draft.leases = std::move(chain_.leases);
    draft.commands = std::move(commands);
    draft.commands.insert(draft.commands.end(), set_.integration.begin(), set_.integration.end());
    draft.warnings = std::move(warnings_);
    return draft;
  }

  // What lies below an opaque root does not show; overlayfs does not look for that mark.
  void FindFirst() {
    for (size_t i = members_.size(); i-- > 0;) {
      if (i > 0 && !members_[i].manifest.entry(0).opaque()) continue;
      first_ = i;
      break;
    }
  }

  // Whether the layers can be mounted as they are, without looking further.
  bool IsPlain() {
    if (layer_count() > options_.max_direct) return false;
    std::vector<const Manifest*> manifests;
    for (size_t i = first_; i < members_.size(); ++i) manifests.push_back(&members_[i].manifest);
    plain_ = IsPlainStack(manifests);
    return plain_;
  }

  Result<void> ApplyRules() {
    for (const Member& member : members_) sources_.push_back({member.path, &member.manifest});
    for (size_t i = first_; i < members_.size(); ++i) {
      STRATA_TRY_WITH(rules_.Add(members_[i].manifest, static_cast<uint32_t>(i)), NameOf(i));
    }
    if (rules_.conflicts().empty()) return {};
    std::string all;
    for (size_t i = 0; i < rules_.conflicts().size(); ++i) {
      const Conflict& c = rules_.conflicts()[i];
      if (i == kMaxReported) {
        warnings_.push_back(fmt::format("and {} more", rules_.conflicts().size() - i));
        break;
      }
      warnings_.push_back(Describe(c, NameOf(first_ + c.lower), NameOf(first_ + c.upper)));
    }
    if (set_.on_conflict != ConflictPolicy::kError) return {};
    return Unexpected(Error(Errc::kInvalid, fmt::format("conflict: {}", fmt::join(warnings_, "; ")))
                          .Hint("--on-conflict=replace lets the later layer win, "
                                "--on-conflict=skip the earlier one"));
  }

  // An unmanaged directory is mounted as it is, whatever its owners are.
  void NoteOwners(RootContent& content) const {
    for (uint32_t i = 0; i < content.lowers.size(); ++i) {
      if (content.lowers[i].starts_with('/')) continue;
      if (!chain_.manifests[i]->has_foreign_owners()) continue;
      content.foreign_lowers.push_back(i);
      if (chain_.manifests[i]->has_files_of_other_users()) content.needs_range = true;
    }
  }

  // Fails where a link or a file would hide, or be hidden by, what a sandbox mounts.
  Result<void> CheckMountPoints() {
    for (const char* name : {"proc", "dev"}) {
      const std::optional<InRoot> top = FindInRoot(name);
      if (!top || top->type == EntryType::kDirectory) continue;
      return Fail(Errc::kInvalid, "{}: /{} is {}, not a directory", NameOf(top->member), name,
                  top->type == EntryType::kSymlink ? "a link" : "a file");
    }
    return {};
  }

  // What the root has by that name, and whose it is.
  struct InRoot {
    size_t member;
    EntryType type;
  };
  std::optional<InRoot> FindInRoot(const char* name) {
    if (!plain_) {
      MergedTree& tree = rules_.tree();
      auto id = tree.Find(MergedTree::kRoot, name);
      if (!id) return std::nullopt;
      return InRoot{tree.piece(tree.node(*id)).source, tree.type(*id)};
    }
    for (size_t i = members_.size(); i-- > first_;) {
      const Manifest& manifest = members_[i].manifest;
      auto child = manifest.Child(0, name);
      if (child) return InRoot{i, manifest.entry(*child).type};
    }
    return std::nullopt;
  }

  std::string NameOf(size_t member) const {
    const SetItem& item = set_.items[member];
    if (options_.name_of) return options_.name_of(item);
    return fmt::format("layer {:.12}", item.id.Hex());
  }

  size_t layer_count() const { return members_.size() - first_; }

  Result<void> Choose() {
    if (layer_count() <= options_.max_direct) return MakeDirect();
    if (options_.delta_part > 0) {
      STRATA_ASSIGN(bool made, MakeDelta());
      if (made) return {};
    }
    return MakeSegments();
  }

  // (a) The layers as they are.
  Result<void> MakeDirect() {
    method_ = RootMethod::kDirect;
    for (size_t i = first_; i < members_.size(); ++i) {
      STRATA_TRY(AddMember(i));
    }
    return CloseChain(plain_ || rules_.overlay_agrees());
  }

  // (b) The segments of another root, and what is different.
  Result<bool> MakeDelta() {
    for (const DeltaBase& base : FindDeltaBases(near_, members_, options_.delta_part)) {
      chain_ = {};
      bool usable = true;
      for (const std::string& lower : base.lowers) {
        auto added = AddLower(lower);
        if (added) continue;
        if (added.error().sys_errno() != ENOENT && added.error().code() != Errc::kNotFound) {
          return Unexpected(std::move(added).error());
        }
        usable = false;  // collected meanwhile
        break;
      }
      if (!usable) continue;
      MergedTree shown = Shown();
      STRATA_ASSIGN(TreePlan plan, PlanDelta(rules_.tree(), shown, Ghosts(), sources_));
      if (plan.manifest.size() * options_.delta_part > base.entries) continue;
      method_ = RootMethod::kDelta;
      STRATA_TRY(AddDelta(plan));
      return true;
    }
    chain_ = {};
    return false;
  }

  // (c) Runs of layers, each flattened.
  Result<void> MakeSegments() {
    method_ = RootMethod::kSegments;
    const std::vector<Piece>& effective = rules_.effective();
    std::vector<ChainLink> links;
    for (size_t i = 0; i < effective.size(); ++i) {
      links.push_back(
          {EffectiveId(i), effective[i].manifest->size(), !members_[first_ + i].same_file_system});
    }
    std::vector<ChainRange> ranges = CutChain(links, options_.max_segments);
    CountWork(ranges);
    for (const ChainRange& range : ranges) {
      if (range.end - range.begin == 1 && !rules_.rewritten(range.begin)) {
        STRATA_TRY(AddMember(first_ + range.begin));
      } else {
        STRATA_TRY(AddSegment(range, links));
      }
    }
    return CloseChain(false);
  }

  void CountWork(const std::vector<ChainRange>& ranges) {
    if (options_.progress == nullptr) return;
    uint64_t entries = 0;
    for (const ChainRange& range : ranges) {
      if (range.end - range.begin == 1 && !rules_.rewritten(range.begin)) continue;
      for (size_t i = range.begin; i < range.end; ++i) {
        entries += rules_.effective()[i].manifest->size() - 1;
      }
    }
    options_.progress->total_entries = entries;
  }

  Result<void> AddSegment(const ChainRange& range, const std::vector<ChainLink>& links) {
    const RunPlace place = range.begin == 0 ? RunPlace::kBottom : RunPlace::kAbove;
    std::vector<Digest> ids;
    for (size_t i = range.begin; i < range.end; ++i) ids.push_back(links[i].id);
    const std::string name = SegmentName(ids, place);
    STRATA_ASSIGN(std::optional<DerivedLayer> found, FindDerived(store_, name));
    if (!found) {
      MergedTree run(place == RunPlace::kBottom ? MergedTree::Rules::kStaging
                                                : MergedTree::Rules::kRun);
      for (size_t i = range.begin; i < range.end; ++i) run.Merge(rules_.effective()[i]);
      STRATA_ASSIGN(TreePlan plan, PlanTree(run, sources_));
      std::optional<Providers> providers;
      if (range.end - range.begin == members_.size() && !AnyRewritten()) {
        providers = ProvidersOf(plan, set_, members_, run.mixed());
      }
      STRATA_ASSIGN_WITH(
          found, PublishTree(store_, plan, name, MakeOptions(), providers ? &*providers : nullptr),
          "make a segment");
    }
    return AddDerived(std::move(*found));
  }

  bool AnyRewritten() const {
    for (size_t i = 0; i < layer_count(); ++i) {
      if (rules_.rewritten(i)) return true;
    }
    return false;
  }

  // The delta that makes the chain show what it should, where it does not yet.
  Result<void> CloseChain(bool agrees) {
    std::vector<std::string> ghosts = Ghosts();  // of plain layers there are none
    if (agrees && ghosts.empty()) {
      base_count_ = static_cast<uint32_t>(chain_.lowers.size());
      return {};
    }
    MergedTree shown = Shown();
    STRATA_ASSIGN(TreePlan plan, PlanDelta(rules_.tree(), shown, ghosts, sources_));
    return AddDelta(plan);
  }

  Result<void> AddDelta(const TreePlan& plan) {
    base_count_ = static_cast<uint32_t>(chain_.lowers.size());
    if (plan.manifest.size() <= 1) return {};
    Sha256 hash;
    constexpr std::string_view kKind = "strata delta 1";
    hash.Update(kKind.data(), kKind.size());
    hash.Update(plan.manifest.bytes().data(), plan.manifest.bytes().size());
    // Where files come from matters for those whose content was never read, and for hard links.
    std::vector<bool> used(sources_.size());
    for (const TreePlan::Origin& origin : plan.origins) {
      if (origin.source != TreePlan::kNone) used[origin.source] = true;
    }
    for (size_t i = 0; i < used.size(); ++i) {
      if (used[i]) hash.Update(members_[i].id.bytes.data(), members_[i].id.bytes.size());
    }
    const std::string name = "delta-" + hash.Finish().Hex();
    STRATA_ASSIGN(std::optional<DerivedLayer> found, FindDerived(store_, name));
    if (!found) {
      if (options_.progress != nullptr) {
        options_.progress->total_entries += plan.manifest.size() - 1;
      }
      STRATA_ASSIGN_WITH(found, PublishTree(store_, plan, name, MakeOptions()), "make a delta");
    }
    return AddDerived(std::move(*found));
  }

  MakeTreeOptions MakeOptions() const {
    return {.place = PlaceFile::kLink, .jobs = options_.jobs, .progress = options_.progress};
  }

  Digest EffectiveId(size_t layer) const {
    const Member& member = members_[first_ + layer];
    if (!rules_.rewritten(layer)) return member.id;
    Sha256 hash;
    hash.Update(member.id.bytes.data(), member.id.bytes.size());
    const std::span<const uint8_t> bytes = rules_.effective()[layer].manifest->bytes();
    hash.Update(bytes.data(), bytes.size());
    return hash.Finish();
  }

  Result<void> AddMember(size_t index) {
    Member& member = members_[index];
    chain_.lowers.push_back(member.path);
    chain_.manifests.push_back(&member.manifest);
    if (member.lease.held()) {
      STRATA_ASSIGN(FileLock lease, LeaseTree(store_, member.path));
      chain_.leases.push_back(std::move(lease));
    }
    return {};
  }

  Result<void> AddDerived(DerivedLayer layer) {
    STRATA_ASSIGN(Manifest manifest, OpenTreeManifest(store_, layer.path));
    opened_.push_back(std::make_unique<Manifest>(std::move(manifest)));
    chain_.lowers.push_back(std::move(layer.path));
    chain_.manifests.push_back(opened_.back().get());
    chain_.leases.push_back(std::move(layer.lease));
    return {};
  }

  // A lower layer of another root.
  Result<void> AddLower(const std::string& path) {
    for (size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].path == path) return AddMember(i);
    }
    if (path.starts_with('/')) {  // a directory of that set, which has no manifest beside it
      return Fail(Errc::kNotFound, "{}: not of this set", path);
    }
    STRATA_ASSIGN(FileLock lease, LeaseTree(store_, path));
    return AddDerived({path, std::move(lease), true});
  }

  // What a plain overlay of the chain shows.
  MergedTree Shown() const {
    MergedTree shown(MergedTree::Rules::kOverlay);
    for (const Manifest* manifest : chain_.manifests) shown.Merge({.manifest = manifest});
    return shown;
  }

  // overlayfs lists a whiteout as a name (without a file) where it has just one directory to read.
  // One more directory at that place, and it merges, and leaves them out.
  std::vector<std::string> Ghosts() const { return UnmergedWhiteouts(chain_.manifests); }

  const Store& store_;
  const DependencySet& set_;
  const ComposeOptions& options_;
  std::vector<NearRoot> near_;
  std::vector<Member> members_;
  size_t first_ = 0;    // those below do not show
  bool plain_ = false;  // then rules_ are not applied: there is nothing that they would change
  StagingRules rules_;
  std::vector<PlanSource> sources_;  // of every member
  std::vector<std::unique_ptr<Manifest>> opened_;
  Chain chain_;
  uint32_t base_count_ = 0;
  RootMethod method_ = RootMethod::kDirect;
  std::vector<std::string> warnings_;
};

}  // namespace

Result<RootDraft> DraftRoot(const Store& store, const DependencySet& set,
                            const ComposeOptions& options) {
  DependencySet canonical = set;
  canonical.Deduplicate();
  if (canonical.items.empty()) return Fail(Errc::kInvalid, "no layers given");
  return Composer(store, canonical, options).Run();
}

}  // namespace strata
