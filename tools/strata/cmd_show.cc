// SPDX-License-Identifier: Apache-2.0
//
// strata show: one layer or composed root.
#include "base/path.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/layer_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kShowOptions[] = {kJsonOption};

Result<int> ShowRoot(Context& context, const Store& store, const RootKey& key) {
  STRATA_ASSIGN(RootInfo root, ReadRoot(store, key));
  STRATA_ASSIGN(Names names, Names::Read(store));
  if (context.json) {
    Json json = ToJson(root, names);
    json["on_conflict"] = PolicyName(root.set.on_conflict);
    json["layers"] = Json::array();
    for (const SetItem& item : root.set.items) {
      Json layer = {{"id", item.id.Hex()}};
      SetText(layer, "view", item.view);
      if (!item.directory.empty()) SetText(layer, "directory", item.directory);
      json["layers"].push_back(std::move(layer));
    }
    json["integration_commands"] = root.set.integration;
    json["lowers"] = root.content.lowers;
    json["base_count"] = root.content.base_count;
    PrintJson(context.out, json);
    return 0;
  }
  Output& out = context.out;
  out.Print("key       {}\n", key.Hex());
  out.Print("refs      {}\n", names.Text(key));
  out.Print("method    {}\n", RootMethodName(root.content.method));
  out.Print("layers    {}\n", root.content.layer_count);
  out.Print("depth     {}\n", root.content.lowers.size());
  out.Print("conflicts {}\n", PolicyName(root.set.on_conflict));
  out.Print("last used {}\n", FormatTime(root.last_used));
  for (const std::string& command : root.set.integration) out.Print("integrate {}\n", command);
  for (const SetItem& item : root.set.items) {
    std::string view = item.view.empty() ? "" : ":" + item.view;
    if (!item.directory.empty()) {
      out.Print("directory {}{}\n", QuotePath(item.directory), view);
    } else {
      out.Print("layer     {}{}  {}\n", ShortId(item.id), view, names.Text(item.id));
    }
  }
  for (const std::string& lower : root.content.lowers) out.Print("mounts    {}\n", lower);
  return 0;
}

Result<int> Show(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(Target target, store->ResolveTarget(args.operands[0]));
  if (target.is_root()) return ShowRoot(context, *store, target.root);
  const LayerId& id = target.layer;
  STRATA_ASSIGN(Names names, Names::Read(*store));
  STRATA_ASSIGN(LayerInfo info, ReadLayerInfo(*store, id, names));
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
  out.Print("refs      {}\n", names.Text(id));
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
    .summary = "Show one layer, or what a composed root is made of",
    .usage = "[--json] LAYER|ROOT",
    .description =
        "LAYER or ROOT is a ref, or the first four or more digits of an id or key. Of a layer: its id in\n"
        "full, its names, how much is in it, and the integration commands that it brings. Of a root: its\n"
        "layers and commands, and what is stacked for them.",
    .options = kShowOptions,
    .min_operands = 1,
    .max_operands = 1,
    .run = Show,
};

}  // namespace strata
