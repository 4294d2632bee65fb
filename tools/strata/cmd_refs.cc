// SPDX-License-Identifier: Apache-2.0
//
// strata tag, untag, rm: the names of layers, and layers by name.
#include <algorithm>
#include <string>
#include <vector>

#include "tools/strata/command.h"
#include "tools/strata/json.h"

namespace strata {
namespace {

Result<int> Tag(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(LayerId id, store->Resolve(args.operands[0]));
  STRATA_TRY(store->SetRef(args.operands[1], id));
  if (context.json) PrintJson(context.out, {{"ref", args.operands[1]}, {"id", id.Hex()}});
  return 0;
}

// Every name is looked up before the first is removed: a misspelt one changes nothing.
Result<int> Untag(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  for (const char* ref : args.operands) STRATA_TRY(store->ReadRef(ref));
  for (const char* ref : args.operands) STRATA_TRY(store->RemoveRef(ref));
  if (context.json) PrintJson(context.out, {{"untagged", args.operands}});
  return 0;
}

constexpr OptionSpec kTagOptions[] = {kJsonOption};

enum RmOption { kForce };
constexpr OptionSpec kRmOptions[] = {
    Flag(kForce, "force", 'f', "remove the layer's other names too"),
    kJsonOption,
};

struct Removal {
  LayerId id;
  std::vector<std::string> refs;  // to be removed
  bool layer = false;             // goes as well
};

std::vector<std::string> RefsOf(const std::vector<Store::Ref>& refs, const LayerId& id) {
  std::vector<std::string> names;
  for (const Store::Ref& ref : refs) {
    if (ref.id == id) names.push_back(ref.name);
  }
  return names;
}

std::string Join(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

// As `podman rmi`: a ref loses its name, and its layer with the last one; an id is refused while it
// has several names.
Result<Removal> Plan(const Store& store, std::vector<Store::Ref>& refs, const char* name,
                     bool force) {
  auto ref = std::find_if(refs.begin(), refs.end(), [&](auto& r) { return r.name == name; });
  Removal removal;
  if (ref != refs.end()) {
    removal.id = ref->id;
    removal.refs = force ? RefsOf(refs, ref->id) : std::vector<std::string>{name};
  } else {
    STRATA_ASSIGN(removal.id, store.Resolve(name));
    removal.refs = RefsOf(refs, removal.id);
    if (removal.refs.size() > 1 && !force) {
      return Unexpected(
          Error(Errc::kExists, fmt::format("remove {}: the layer has {} names: {}", name,
                                           removal.refs.size(), Join(removal.refs)))
              .Hint(
                  fmt::format("remove one by its name, or all with: strata rm --force {}", name)));
    }
  }
  std::erase_if(refs, [&](auto& r) {
    return std::find(removal.refs.begin(), removal.refs.end(), r.name) != removal.refs.end();
  });
  removal.layer = RefsOf(refs, removal.id).empty();
  return removal;
}

Result<void> Carry(const Store& store, const Removal& removal) {
  if (removal.layer) return store.RemoveLayer(removal.id, removal.refs);
  for (const std::string& ref : removal.refs) STRATA_TRY(store.RemoveRef(ref));
  return {};
}

Result<int> Rm(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store->ListRefs());
  std::vector<Removal> removals;
  for (const char* name : args.operands) {
    STRATA_ASSIGN(Removal removal, Plan(*store, refs, name, args.Has(kForce)));
    removals.push_back(std::move(removal));
  }
  Json untagged = Json::array();
  Json removed = Json::array();
  for (const Removal& removal : removals) {
    STRATA_TRY_WITH(Carry(*store, removal), fmt::format("remove {:.12}", removal.id.Hex()));
    for (const std::string& ref : removal.refs) untagged.push_back(ref);
    if (removal.layer) removed.push_back(removal.id.Hex());
    if (context.json) continue;
    for (const std::string& ref : removal.refs) context.out.Print("untagged {}\n", ref);
    if (removal.layer) context.out.Print("removed {:.12}\n", removal.id.Hex());
  }
  if (context.json) PrintJson(context.out, {{"untagged", untagged}, {"removed", removed}});
  return 0;
}

}  // namespace

constinit const CommandSpec kTagCommand = {
    .name = "tag",
    .summary = "Give a layer a name",
    .usage = "[--json] LAYER REF",
    .description = "A REF that names another layer already is moved to this one.",
    .options = kTagOptions,
    .min_operands = 2,
    .max_operands = 2,
    .run = Tag,
};

constinit const CommandSpec kUntagCommand = {
    .name = "untag",
    .summary = "Take names away; the layers stay",
    .usage = "[--json] REF...",
    .options = kTagOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .run = Untag,
};

constinit const CommandSpec kRmCommand = {
    .name = "rm",
    .summary = "Remove layers",
    .usage = "[--force] [--json] LAYER...",
    .description =
        "A REF loses its name, and the layer is removed with its last one. A layer given by its id "
        "is\n"
        "removed with its name; when it has several, only with --force. One that a running stage "
        "uses is\n"
        "never removed.",
    .options = kRmOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .run = Rm,
};

}  // namespace strata
