// SPDX-License-Identifier: Apache-2.0
#include "stager/materialise.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/path.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/last_use.h"
#include "cache/turn.h"
#include "stager/composition.h"

namespace strata {
namespace {

constexpr int kAttempts = 4;

// "layers/ID" of "layers/ID/tree".
std::string SourceOf(const std::string& tree) {
  return tree.substr(0, tree.rfind('/'));
}

std::string Shown(const std::string& source) {
  constexpr std::string_view kLayers = "layers/";
  if (source.starts_with(kLayers))
    return fmt::format("layer {:.12}", source.substr(kLayers.size()));
  return source;
}

// The collector takes what was not used for long.
void Stamp(const Store& store, const std::string& name) {
  const std::string path = "derived/" + name;
  struct stat st;
  if (sys::FstatAt(store.fd(), path.c_str(), &st) < 0) return;
  if (StampIsDue(st)) {
    static_cast<void>(::utimensat(store.fd(), path.c_str(), nullptr, 0) == 0);
  }
}

class Materialiser {
 public:
  Materialiser(const Store& store, const std::string& tree, const IdMapping& mapping,
               const MaterialiseOptions& options)
      : store_(store),
        tree_(tree),
        source_(SourceOf(tree)),
        mapping_(mapping),
        options_(options),
        complete_(MaterialisationName(source_, mapping, false)),
        lacking_(MaterialisationName(source_, mapping, true)) {}

  Result<std::optional<DerivedLayer>> Find() const {
    STRATA_ASSIGN(std::optional<DerivedLayer> found, FindDerived(store_, complete_));
    const std::string* name = &complete_;
    if (!found && options_.unmapped == UnmappedOwner::kCaller) {
      STRATA_ASSIGN(found, FindDerived(store_, lacking_));
      name = &lacking_;
    }
    if (found) Stamp(store_, *name);
    return found;
  }

  Result<DerivedLayer> Make() {
    STRATA_ASSIGN(Manifest manifest, OpenTreeManifest(store_, tree_));
    if (!manifest.has_foreign_owners()) return DerivedLayer{tree_, FileLock(), true};
    STRATA_ASSIGN(Turn turn, Turn::Take(store_, "make-" + complete_));
    STRATA_ASSIGN(std::optional<DerivedLayer> found, Find());
    if (found) return std::move(*found);
    STRATA_ASSIGN(bool lacks, LacksOwners(manifest));
    const std::string& name = lacks ? lacking_ : complete_;
    TreePlan plan{std::move(manifest), {}, {}};
    FillIn(plan);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      STRATA_TRY(Publish(plan, name));
      STRATA_ASSIGN(found, FindDerived(store_, name));
      if (found) {
        found->existed = false;
        return std::move(*found);
      }
      // Collected before we had the lease; or somebody has taken its tree away, and what is left of
      // it is in the way.
      static_cast<void>(sys::RenameAt2(store_.fd(), ("derived/" + name).c_str(), store_.fd(),
                                       ("trash/" + RandomName()).c_str()));
    }
    return Fail(Errc::kBusy, "somebody removes {} each time it is made", name);
  }

 private:
  // Whether the mapping does. With kFail that is an error.
  Result<bool> LacksOwners(const Manifest& manifest) const {
    for (uint32_t i = 0; i < manifest.size(); ++i) {
      const ManifestEntry& e = manifest.entry(i);
      const bool uid = mapping_.HasUid(e.uid);
      if (uid && mapping_.HasGid(e.gid)) continue;
      if (options_.unmapped == UnmappedOwner::kCaller) return true;
      return Unexpected(
          Error(Errc::kInvalid,
                fmt::format("{} belongs to {} {}, which is not among the ids that are mapped",
                            QuotePath(manifest.Path(i)), uid ? "gid" : "uid", uid ? e.gid : e.uid))
              .Hint("a larger range in /etc/subuid and /etc/subgid would have it; with "
                    "--userns=auto it belongs to root"));
    }
    return false;
  }

  // All of it, out of itself.
  void FillIn(TreePlan& plan) const {
    plan.sources = {{tree_, &plan.manifest}};
    plan.origins.resize(plan.manifest.size());
    for (uint32_t i = 0; i < plan.manifest.size(); ++i) {
      const EntryType type = plan.manifest.entry(i).type;
      if (type != EntryType::kDirectory && type != EntryType::kWhiteout) plan.origins[i] = {0, i};
    }
  }

  Result<void> Publish(const TreePlan& plan, const std::string& name) const {
    if (options_.progress != nullptr) options_.progress->total_entries += plan.manifest.size() - 1;
    STRATA_ASSIGN(PendingLayer pending, store_.NewLayer());
    const MakeTreeOptions make{.jobs = options_.jobs, .owners = &mapping_};
    STRATA_TRY(
        RunInMapping(mapping_, [&] { return MakeTree(store_, plan, pending.tree_fd(), make); }));
    if (options_.progress != nullptr) options_.progress->entries += plan.manifest.size() - 1;
    std::span<const uint8_t> bytes = plan.manifest.bytes();
    return store_.PublishDerived(std::move(pending), {bytes.begin(), bytes.end()}, name);
  }

  const Store& store_;
  const std::string& tree_;
  const std::string source_;
  const IdMapping& mapping_;
  const MaterialiseOptions& options_;
  const std::string complete_;  // names in derived/
  const std::string lacking_;
};

}  // namespace

Result<DerivedLayer> Materialise(const Store& store, const std::string& tree,
                                 const IdMapping& mapping, const MaterialiseOptions& options) {
  Materialiser materialiser(store, tree, mapping, options);
  STRATA_ASSIGN(std::optional<DerivedLayer> found, materialiser.Find());
  if (found) return std::move(*found);
  STRATA_ASSIGN_WITH(DerivedLayer made, materialiser.Make(),
                     fmt::format("give {} its owners", Shown(SourceOf(tree))));
  return made;
}

Result<MappedLowers> MaterialiseLowers(const Store& store, const RootContent& root,
                                       const IdMapping& mapping,
                                       const MaterialiseOptions& options) {
  MappedLowers mapped{root.lowers, {}};
  if (mapping.IsSingle()) return mapped;
  for (uint32_t index : root.foreign_lowers) {
    std::string& lower = mapped.lowers[index];
    STRATA_ASSIGN(DerivedLayer layer, Materialise(store, lower, mapping, options));
    lower = std::move(layer.path);
    if (layer.lease.held()) mapped.leases.push_back(std::move(layer.lease));
  }
  return mapped;
}

}  // namespace strata
