// SPDX-License-Identifier: Apache-2.0
//
// strata compose: makes the root of a dependency set ready, so that the first run in it is like any
// other.
#include "tools/strata/collect.h"
#include "tools/strata/command.h"
#include "tools/strata/composition.h"
#include "tools/strata/json.h"
#include "tools/strata/run_options.h"

namespace strata {
namespace {

enum ComposeOption {
  kComposeName,
  kComposeLayersFrom,
  kComposeIntegrate,
  kComposeOnConflict,
  kComposeUserns
};
constexpr OptionSpec kComposeOptions[] = {
    Value(kComposeName, "name", 'n', "REF", "name the root; a REF that exists is moved to it"),
    LayersFromOption(kComposeLayersFrom),
    IntegrateOption(kComposeIntegrate),
    OnConflictOption(kComposeOnConflict),
    UsernsOption(kComposeUserns),
    kQuietOption,
    kJsonOption,
};

Result<void> ApplyOption(const ParsedOption& option, DependencySet* set, Userns* userns) {
  if (option.spec->id == kComposeIntegrate) {
    STRATA_ASSIGN(std::string command, ParseIntegration(option));
    set->integration.push_back(std::move(command));
  } else if (option.spec->id == kComposeOnConflict) {
    STRATA_ASSIGN(set->on_conflict, ParseConflictPolicy(option));
  } else if (option.spec->id == kComposeUserns) {
    STRATA_ASSIGN(*userns, ParseUserns(option));
  }
  return {};
}

Json ToJson(const Composition& composition) {
  const CachedRoot& root = composition.root;
  Json json;
  json["key"] = root.key.Hex();
  json["hit"] = root.hit;
  json["method"] = RootMethodName(root.content.method);
  json["layers"] = root.content.layer_count;
  json["depth"] = root.content.lowers.size();
  json["lowers"] = Json::array();
  for (const std::string& lower : root.content.lowers) json["lowers"].push_back(lower);
  json["made_entries"] = composition.made_entries;
  json["compose_us"] = composition.compose_ns / 1000;
  return json;
}

Result<int> RunCompose(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  LayerArgs layers{{args.operands.begin(), args.operands.end()}, {}};
  if (const char* file = args.Get(kComposeLayersFrom)) layers.layers_from = file;
  STRATA_ASSIGN(DependencySet set, ReadLayerArgs(*store, layers));
  Userns userns = Userns::kAuto;
  for (const ParsedOption& option : args.options) {
    STRATA_TRY_WITH(ApplyOption(option, &set, &userns), fmt::format("--{}", option.spec->name));
  }
  SetIntegrationIds(userns, &set);
  const char* name = args.Get(kComposeName);
  if (name != nullptr) STRATA_TRY_WITH(Store::CheckRefName(name), "--name");
  if (!set.cacheable()) {
    return Unexpected(
        Error(Errc::kInvalid, "this root cannot be cached, so there is nothing to keep")
            .Hint("a plain directory needs a key: dir:PATH@KEY"));
  }
  STRATA_ASSIGN(Composition composition, Compose(context, set));
  if (name != nullptr) STRATA_TRY(store->SetRef(name, composition.root.key));
  if (!composition.root.hit) CollectAfterPublishing(context, *store);
  if (context.json) {
    Json json = ToJson(composition);
    json["ref"] = name != nullptr ? Json(name) : Json();
    PrintJson(context.out, json);
  } else {
    context.out.Print("{}\n", composition.root.key.Hex());
  }
  return 0;
}

}  // namespace

constinit const CommandSpec kComposeCommand = {
    .name = "compose",
    .summary = "Make the root of some layers ready, and print its key",
    .usage = "[OPTIONS] LAYER...",
    .description =
        "`strata run` does the same when it is the first with these layers. What is made is kept in\n"
        "the store: conflicts are looked for, long chains are joined, and integration commands run,\n"
        "once for this list of layers and commands. The key, or REF, may stand for the list\n"
        "wherever layers are named. (`strata help run` says what a LAYER can be.)",
    .options = kComposeOptions,
    .min_operands = 0,  // --layers-from
    .max_operands = kAnyNumber,
    .run = RunCompose,
};

}  // namespace strata
