// SPDX-License-Identifier: Apache-2.0
//
// strata overlaps: which paths several layers provide.
#include <string>
#include <vector>

#include "base/path.h"
#include "stager/overlaps.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/layer_args.h"

namespace strata {
namespace {

enum OverlapsOption { kOverlapsFrom, kOverlapsPolicy };
constexpr OptionSpec kPolicySpec =
    Value(kOverlapsPolicy, "on-conflict", 0, "error|replace|skip",
          "report as if conflicts were resolved: the later layer wins, or the earlier one");
constexpr OptionSpec kOverlapsOptions[] = {
    LayersFromOption(kOverlapsFrom),
    kPolicySpec,
    kJsonOption,
};

// As people named it: by a ref where it has one.
std::string NameOf(const SetItem& item, const std::vector<Store::Ref>& refs) {
  std::string name = fmt::format("{:.12}", item.id.Hex());
  if (!item.directory.empty()) name = "dir:" + item.directory;
  for (const Store::Ref& ref : refs) {
    if (item.directory.empty() && ref.target == Target(item.id)) {
      name = ref.name;
      break;
    }
  }
  if (!item.view.empty()) name += ":" + item.view;
  return QuotePath(name);
}

const char* KindName(Conflict::Kind kind) {
  switch (kind) {
    case Conflict::Kind::kOverDirectory:
      return "over-directory";
    case Conflict::Kind::kOverUsedLink:
      return "over-used-link";
    case Conflict::Kind::kOpaqueOverLink:
      return "opaque-over-link";
  }
  return "unknown";
}

const char* PolicyName(ConflictPolicy policy) {
  switch (policy) {
    case ConflictPolicy::kError:
      return "error";
    case ConflictPolicy::kReplace:
      return "replace";
    case ConflictPolicy::kSkip:
      return "skip";
  }
  return "unknown";
}

// "c over b, a": the winner first.
std::string Winners(const Overlap& overlap, const std::vector<std::string>& names) {
  std::string text = names[overlap.layers.back()];
  for (size_t i = overlap.layers.size() - 1; i-- > 0;) {
    text += i + 2 == overlap.layers.size() ? " over " : ", ";
    text += names[overlap.layers[i]];
  }
  return text;
}

void PrintReport(Output& out, const OverlapReport& report, const std::vector<std::string>& names) {
  for (const Overlap& overlap : report.overlaps) {
    out.Print("{}  {}{}\n", QuotePath("/" + overlap.path), Winners(overlap, names),
              overlap.identical ? "  (identical)" : "");
  }
  for (const Conflict& conflict : report.conflicts) {
    out.Print("conflict: {}\n", Describe(conflict, names[conflict.lower], names[conflict.upper]));
  }
}

Json ToJson(const OverlapReport& report, const std::vector<std::string>& names) {
  Json json;
  json["on_conflict"] = PolicyName(report.set.on_conflict);
  json["layers"] = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    const SetItem& item = report.set.items[i];
    Json layer;
    SetText(layer, "name", names[i]);
    layer["id"] = item.id == LayerId{} ? Json() : Json(item.id.Hex());
    if (!item.view.empty()) SetText(layer, "view", item.view);
    if (!item.directory.empty()) SetText(layer, "directory", item.directory);
    json["layers"].push_back(std::move(layer));
  }
  json["overlaps"] = Json::array();
  for (const Overlap& overlap : report.overlaps) {
    Json one;
    SetText(one, "path", "/" + overlap.path);
    one["layers"] = overlap.layers;
    one["winner"] = overlap.layers.back();
    one["identical"] = overlap.identical;
    json["overlaps"].push_back(std::move(one));
  }
  json["conflicts"] = Json::array();
  for (const Conflict& conflict : report.conflicts) {
    Json one;
    SetText(one, "path", "/" + conflict.path);
    one["kind"] = KindName(conflict.kind);
    one["lower"] = conflict.lower;
    one["upper"] = conflict.upper;
    if (report.set.on_conflict != ConflictPolicy::kError) {
      one["winner"] =
          report.set.on_conflict == ConflictPolicy::kSkip ? conflict.lower : conflict.upper;
    }
    json["conflicts"].push_back(std::move(one));
  }
  return json;
}

Result<int> Overlaps(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  LayerArgs layers{{args.operands.begin(), args.operands.end()}, {}};
  if (const char* file = args.Get(kOverlapsFrom)) layers.layers_from = file;
  STRATA_ASSIGN(DependencySet set, ReadLayerArgs(*store, layers));
  if (const char* policy = args.Get(kOverlapsPolicy)) {
    STRATA_ASSIGN_WITH(size_t choice, ParseChoice(kPolicySpec, policy), "--on-conflict");
    set.on_conflict = static_cast<ConflictPolicy>(choice);
  }
  STRATA_ASSIGN(OverlapReport report, FindOverlaps(*store, set));
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store->ListRefs());
  std::vector<std::string> names;
  for (const SetItem& item : report.set.items) names.push_back(NameOf(item, refs));
  if (context.json) {
    PrintJson(context.out, ToJson(report, names));
  } else {
    PrintReport(context.out, report, names);
  }
  const bool error = report.set.on_conflict == ConflictPolicy::kError && !report.conflicts.empty();
  return error ? 1 : 0;
}

}  // namespace

constinit const CommandSpec kOverlapsCommand = {
    .name = "overlaps",
    .summary = "Show which paths several layers provide, who wins, and what conflicts",
    .usage = "[OPTIONS] LAYER...",
    .description =
        "One line for each path where several layers have something that is no directory, or one has a\n"
        "directory where others have such: the layer that wins, then those that it hides. `identical` says\n"
        "that it makes no difference. Then the\n"
        "conflicts: where a layer would take away a directory with something in it, or a link that\n"
        "others write through. Nothing is staged. (`strata help run` says what a LAYER can be.)\n\n"
        "Exits with 1 where there are conflicts, unless --on-conflict says how to resolve them.",
    .options = kOverlapsOptions,
    .min_operands = 0,  // --layers-from
    .max_operands = kAnyNumber,
    .run = Overlaps,
};

}  // namespace strata
