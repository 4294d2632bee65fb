// SPDX-License-Identifier: Apache-2.0
//
// strata tag, untag, rm: the names of layers and roots, and both by name.
#include <algorithm>
#include <string>
#include <vector>

#include "cache/kept.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/root_info.h"

namespace strata {
namespace {

Result<int> Tag(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(Target target, store->ResolveTarget(args.operands[0]));
  STRATA_TRY(store->SetRef(args.operands[1], target));
  if (context.json) {
    PrintJson(context.out,
              {{"ref", args.operands[1]}, {"kind", target.KindName()}, {"id", target.Hex()}});
  }
  return 0;
}

// Every name is looked up before the first is removed: a misspelt one changes nothing.
Result<int> Untag(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  for (const char* ref : args.operands) STRATA_TRY(store->ReadTarget(ref));
  for (const char* ref : args.operands) STRATA_TRY(store->RemoveRef(ref));
  if (context.json) PrintJson(context.out, {{"untagged", args.operands}});
  return 0;
}

constexpr OptionSpec kTagOptions[] = {kJsonOption};

enum RmOption { kForce, kWorkspace, kCache };
constexpr OptionSpec kRmOptions[] = {
    Flag(kForce, "force", 'f', "remove its other names too"),
    Value(kWorkspace, "workspace", 0, "NAME", "remove what runs with that --workspace have kept")
        .Repeatable(),
    Value(kCache, "cache", 0, "NAME", "remove what runs with that --cache have kept").Repeatable(),
    kJsonOption,
};

struct Kept {
  KeptKind kind;
  std::string name;
};

// In the order of the command line.
std::vector<Kept> KeptOf(const ParsedArgs& args) {
  std::vector<Kept> kept;
  for (const ParsedOption& option : args.options) {
    if (option.spec->id == kWorkspace) kept.push_back({KeptKind::kWorkspace, option.value});
    if (option.spec->id == kCache) kept.push_back({KeptKind::kCache, option.value});
  }
  return kept;
}

struct Removal {
  Target target;
  std::vector<std::string> refs;  // to be removed
  bool all = false;               // the layer or root goes as well
};

std::vector<std::string> RefsOf(const std::vector<Store::Ref>& refs, const Target& target) {
  std::vector<std::string> names;
  for (const Store::Ref& ref : refs) {
    if (ref.target == target) names.push_back(ref.name);
  }
  return names;
}

std::string Join(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

// As `podman rmi`: a ref loses its name, and what it names goes with the last one; an id is refused
// while it has several names.
Result<Removal> Plan(const Store& store, std::vector<Store::Ref>& refs, const char* name,
                     bool force) {
  auto ref = std::find_if(refs.begin(), refs.end(), [&](auto& r) { return r.name == name; });
  Removal removal;
  if (ref != refs.end()) {
    removal.target = ref->target;
    removal.refs = force ? RefsOf(refs, ref->target) : std::vector<std::string>{name};
  } else {
    STRATA_ASSIGN(removal.target, store.ResolveTarget(name));
    removal.refs = RefsOf(refs, removal.target);
    if (removal.refs.size() > 1 && !force) {
      return Unexpected(
          Error(Errc::kExists,
                fmt::format("remove {}: the {} has {} names: {}", name, removal.target.KindName(),
                            removal.refs.size(), Join(removal.refs)))
              .Hint(
                  fmt::format("remove one by its name, or all with: strata rm --force {}", name)));
    }
  }
  std::erase_if(refs, [&](auto& r) {
    return std::find(removal.refs.begin(), removal.refs.end(), r.name) != removal.refs.end();
  });
  removal.all = RefsOf(refs, removal.target).empty();
  return removal;
}

Result<void> Carry(const Store& store, const Removal& removal) {
  if (removal.all && removal.target.is_root()) {
    return RemoveRootAndNames(store, removal.target.root, removal.refs, RootsOfStages());
  }
  if (removal.all) return store.RemoveLayer(removal.target.layer, removal.refs, RootsOfStages());
  for (const std::string& ref : removal.refs) STRATA_TRY(store.RemoveRef(ref));
  return {};
}

Result<int> Rm(Context& context, const ParsedArgs& args) {
  const std::vector<Kept> kept = KeptOf(args);
  if (args.operands.empty() && kept.empty()) {
    return Unexpected(Error(Errc::kInvalid, "rm: an argument is missing")
                          .Hint(fmt::format("usage: strata rm {}", kRmCommand.usage)));
  }
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  for (const auto& [kind, name] : kept) STRATA_TRY(CheckKept(*store, kind, name));
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store->ListRefs());
  std::vector<Removal> removals;
  for (const char* name : args.operands) {
    STRATA_ASSIGN(Removal removal, Plan(*store, refs, name, args.Has(kForce)));
    removals.push_back(std::move(removal));
  }
  Json untagged = Json::array();
  Json removed = Json::array();
  for (const Removal& removal : removals) {
    STRATA_TRY_WITH(Carry(*store, removal), fmt::format("remove {:.12}", removal.target.Hex()));
    for (const std::string& ref : removal.refs) untagged.push_back(ref);
    if (removal.all) removed.push_back(removal.target.Hex());
    if (context.json) continue;
    for (const std::string& ref : removal.refs) context.out.Print("untagged {}\n", ref);
    if (removal.all) context.out.Print("removed {:.12}\n", removal.target.Hex());
  }
  Json workspaces = Json::array();
  Json caches = Json::array();
  for (const auto& [kind, name] : kept) {
    STRATA_TRY(RemoveKept(*store, kind, name));
    (kind == KeptKind::kWorkspace ? workspaces : caches).push_back(name);
    if (!context.json) context.out.Print("removed {} {}\n", KeptKindName(kind), name);
  }
  if (context.json) {
    PrintJson(context.out, {{"untagged", untagged},
                            {"removed", removed},
                            {"workspaces", workspaces},
                            {"caches", caches}});
  }
  return 0;
}

}  // namespace

constinit const CommandSpec kTagCommand = {
    .name = "tag",
    .summary = "Give a layer or a root a name",
    .usage = "[--json] LAYER|ROOT REF",
    .description = "A REF that names something else already is moved to this one.",
    .options = kTagOptions,
    .min_operands = 2,
    .max_operands = 2,
    .run = Tag,
};

constinit const CommandSpec kUntagCommand = {
    .name = "untag",
    .summary = "Take names away; what they name stays",
    .usage = "[--json] REF...",
    .options = kTagOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .run = Untag,
};

constinit const CommandSpec kRmCommand = {
    .name = "rm",
    .summary = "Remove layers, composed roots, workspaces or caches",
    .usage = "[--force] [--workspace NAME]... [--cache NAME]... [--json] [LAYER|ROOT...]",
    .description =
        "A REF loses its name, and the layer or root is removed with its last one. One given by "
        "its "
        "id is\n"
        "removed with its name; when it has several, only with --force. What a running stage uses, "
        "or a pin\n"
        "or a root with a name needs, is never removed; cached roots without a name go with their "
        "layers.\n"
        "Workspaces and caches are never removed by anything but this; one in use stays.",
    .options = kRmOptions,
    .max_operands = kAnyNumber,
    .run = Rm,
};

}  // namespace strata
