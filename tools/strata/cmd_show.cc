// SPDX-License-Identifier: Apache-2.0
//
// strata show: one layer.
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/layer_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kShowOptions[] = {kJsonOption};

Result<int> Show(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(LayerId id, store->Resolve(args.operands[0]));
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store->ListRefs());
  STRATA_ASSIGN(LayerInfo info, ReadLayerInfo(*store, id, refs));
  if (context.json) {
    Json json = ToJson(info);
    json["manifest_bytes"] = info.manifest_bytes;
    json["integration_commands"] = Json::array();
    for (const std::string& command : info.integration_commands) {
      json["integration_commands"].push_back(command);
    }
    PrintJson(context.out, json);
    return 0;
  }
  Output& out = context.out;
  out.Print("id        {}\n", id.Hex());
  out.Print("refs      {}\n",
            info.refs.empty() ? "-" : fmt::format("{}", fmt::join(info.refs, ", ")));
  out.Print("entries   {}\n", info.entries);
  out.Print("content   {} ({} bytes)\n", FormatSize(info.content_bytes), info.content_bytes);
  out.Print("manifest  {} ({} bytes)\n", FormatSize(info.manifest_bytes), info.manifest_bytes);
  out.Print("created   {}\n", FormatTime(info.created));
  for (const std::string& command : info.integration_commands) {
    out.Print("integrate {}\n", command);
  }
  return 0;
}

}  // namespace

constinit const CommandSpec kShowCommand = {
    .name = "show",
    .summary = "Show the id, names, size and age of a layer",
    .usage = "[--json] LAYER",
    .options = kShowOptions,
    .min_operands = 1,
    .max_operands = 1,
    .run = Show,
};

}  // namespace strata
