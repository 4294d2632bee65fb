// SPDX-License-Identifier: Apache-2.0
#include "stager/view.h"

#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/path.h"
#include "cache/directory_layer.h"
#include "stager/effective_layer.h"

namespace strata {
namespace {

using Node = ManifestBuilder::Node;

class ViewPlanner {
 public:
  ViewPlanner(const PlanSource& source, const View& view)
      : source_(source), manifest_(*source.manifest), view_(view) {}

  Result<TreePlan> Plan() {
    Choose();
    if (!view_.only.empty() && matches_ == 0) {
      return Fail(Errc::kNotFound, "no path matches");
    }
    AddPrefix();
    for (uint32_t i = 1; i < manifest_.size(); ++i) {
      if (choices_[i] != Choice::kOut) Add(i);
    }
    for (const std::string& command : manifest_.integration_commands()) {
      builder_.AddIntegrationCommand(command);
    }
    return Finish();
  }

 private:
  enum class Choice : uint8_t {
    kOut,
    kParent,  // for the sake of what is below
    kTop,     // a glob matched it
    kBelow,   // below one that a glob matched
  };

  // Parents stand before their children.
  void Choose() {
    choices_.assign(manifest_.size(), Choice::kOut);
    if (view_.only.empty()) {
      choices_.assign(manifest_.size(), Choice::kBelow);
      return;
    }
    for (uint32_t i = 1; i < manifest_.size(); ++i) {
      const Choice parent = choices_[manifest_.entry(i).parent];
      if (parent == Choice::kTop || parent == Choice::kBelow) {
        choices_[i] = Choice::kBelow;
        continue;
      }
      if (!view_.Keeps(manifest_.Path(i))) continue;
      ++matches_;
      choices_[i] = Choice::kTop;
      for (uint32_t at = manifest_.entry(i).parent; choices_[at] == Choice::kOut;
           at = manifest_.entry(at).parent) {
        choices_[at] = Choice::kParent;
        if (at == 0) break;
      }
    }
  }

  bool BelowOpaque(uint32_t entry) const {
    while (entry != 0) {
      entry = manifest_.entry(entry).parent;
      if (manifest_.entry(entry).opaque()) return true;
    }
    return false;
  }

  void AddPrefix() {
    nodes_.assign(manifest_.size(), ManifestBuilder::kRoot);
    std::string_view rest = view_.at;
    while (!rest.empty()) {
      size_t slash = std::min(rest.find('/'), rest.size());
      nodes_[0] = builder_.Add(nodes_[0], rest.substr(0, slash));
      builder_.At(nodes_[0]).flags = kImplicit;
      prefix_size_ += 1;
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    if (view_.only.empty() && manifest_.entry(0).opaque()) builder_.At(nodes_[0]).flags |= kOpaque;
  }

  void Add(uint32_t i) {
    const ManifestEntry& e = manifest_.entry(i);
    Node node = builder_.Add(nodes_[e.parent], manifest_.name(e));
    nodes_[i] = node;
    kept_.push_back(i);
    ManifestBuilder::Data& data = builder_.At(node);
    data = DataOf(manifest_, e);
    if (e.is_directory()) {
      if (choices_[i] == Choice::kParent) data.flags &= static_cast<uint8_t>(~kOpaque);
      if (choices_[i] == Choice::kTop && BelowOpaque(i)) data.flags |= kOpaque;
    } else if (e.hardlink != kNoEntry) {
      auto [leader, first] = leaders_.try_emplace(e.hardlink, node);
      if (!first) data.hardlink_to = leader->second;
    }
  }

  // Leaving entries out keeps the order of the others, and the prefix comes first.
  Result<TreePlan> Finish() {
    STRATA_ASSIGN(std::vector<uint8_t> bytes, builder_.Finish());
    STRATA_ASSIGN(Manifest manifest, Manifest::FromBytes(std::move(bytes)));
    TreePlan plan{std::move(manifest), {source_}, {}};
    plan.origins.resize(plan.manifest.size());
    for (size_t k = 0; k < kept_.size(); ++k) {
      const EntryType type = manifest_.entry(kept_[k]).type;
      if (type == EntryType::kDirectory || type == EntryType::kWhiteout) continue;
      plan.origins[1 + prefix_size_ + k] = {0, kept_[k]};
    }
    return plan;
  }

  const PlanSource& source_;
  const Manifest& manifest_;
  const View& view_;
  std::vector<Choice> choices_;  // by entry
  size_t matches_ = 0;
  ManifestBuilder builder_;
  std::vector<Node> nodes_;  // by entry
  std::vector<uint32_t> kept_;
  size_t prefix_size_ = 0;                      // in components
  std::unordered_map<uint32_t, Node> leaders_;  // by the leader's entry
};

LayerId IdOfView(const SetItem& item) {
  Sha256 hash;
  constexpr std::string_view kKind = "strata view 1";
  hash.Update(kKind.data(), kKind.size());
  hash.Update(item.id.bytes.data(), item.id.bytes.size());
  hash.Update(item.view.data(), item.view.size());
  return hash.Finish();
}

Result<std::optional<ViewLayer>> FindView(const Store& store, const LayerId& id,
                                          const std::string& name) {
  STRATA_ASSIGN(std::optional<DerivedLayer> found, FindDerived(store, name));
  if (!found) return std::nullopt;
  auto open = [&]() -> Result<Manifest> {
    STRATA_ASSIGN(Manifest manifest,
                  Manifest::Open(store.fd(), fmt::format("derived/{}/manifest", name)));
    STRATA_TRY(manifest.Validate());
    return manifest;
  };
  STRATA_ASSIGN_WITH(Manifest manifest, open(), fmt::format("derived/{}", name));
  return ViewLayer{id, std::move(found->path), std::move(manifest), std::move(found->lease)};
}

// The view of a tree that stays where it is meanwhile.
Result<void> MakeView(const Store& store, const PlanSource& source, const SetItem& item,
                      const std::string& name) {
  STRATA_ASSIGN(View view, ParseView(item.view));
  STRATA_ASSIGN(TreePlan plan, PlanView(source, view));
  STRATA_TRY(PublishTree(store, plan, name, {}));
  return {};
}

Result<void> MakeViewOfItem(const Store& store, const SetItem& item, const std::string& name) {
  if (!item.directory.empty()) {
    STRATA_ASSIGN(DirectoryLayer layer, OpenDirectoryLayer(store, item));
    return MakeView(store, {layer.path, &layer.manifest}, item, name);
  }
  STRATA_ASSIGN(LayerLease lease, store.LeaseLayer(item.id));
  STRATA_ASSIGN(Manifest manifest, store.OpenManifest(item.id));
  STRATA_TRY(manifest.Validate());
  return MakeView(store, {fmt::format("layers/{}/tree", item.id.Hex()), &manifest}, item, name);
}

Error NameView(Error error, const SetItem& item) {
  std::string source = item.directory.empty() ? fmt::format("layer {:.12}", item.id.Hex())
                                              : "dir:" + QuotePath(item.directory);
  const bool nothing = error.code() == Errc::kNotFound && error.message() == "no path matches";
  error = std::move(error).Wrap(fmt::format("{} of {}", QuotePath(item.view), source));
  if (nothing && item.directory.empty()) {
    error = std::move(error).Hint(
        fmt::format("`strata files {:.12}` shows what there is", item.id.Hex()));
  }
  return error;
}

}  // namespace

Result<TreePlan> PlanView(const PlanSource& source, const View& view) {
  return ViewPlanner(source, view).Plan();
}

Result<ViewLayer> OpenView(const Store& store, const SetItem& item) {
  const LayerId id = IdOfView(item);
  const std::string name = "view-" + id.Hex();
  for (;;) {  // what was made may be collected before it is leased
    STRATA_ASSIGN(std::optional<ViewLayer> found, FindView(store, id, name));
    if (found) return std::move(*found);
    auto made = MakeViewOfItem(store, item, name);
    if (!made) return Unexpected(NameView(std::move(made).error(), item));
  }
}

}  // namespace strata
