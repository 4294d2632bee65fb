// SPDX-License-Identifier: Apache-2.0
//
// strata pin, unpin: what the collector leaves alone, named or not.
#include "tools/strata/command.h"
#include "tools/strata/json.h"

namespace strata {
namespace {

constexpr OptionSpec kPinOptions[] = {kJsonOption};

// Every name is looked up before anything is done: a misspelt one changes nothing.
Result<int> ForEach(Context& context, const ParsedArgs& args, const char* done,
                    Result<void> (Store::*change)(const Target&) const) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  std::vector<Target> targets;
  for (const char* name : args.operands) {
    STRATA_ASSIGN(Target target, store->ResolveTarget(name));
    targets.push_back(target);
  }
  Json changed = Json::array();
  for (const Target& target : targets) {
    STRATA_TRY((store->*change)(target));
    changed.push_back(target.Hex());
  }
  if (context.json) PrintJson(context.out, {{done, changed}});
  return 0;
}

Result<int> Pin(Context& context, const ParsedArgs& args) {
  return ForEach(context, args, "pinned", &Store::Pin);
}

Result<int> Unpin(Context& context, const ParsedArgs& args) {
  return ForEach(context, args, "unpinned", &Store::Unpin);
}

}  // namespace

constinit const CommandSpec kPinCommand = {
    .name = "pin",
    .summary = "Keep layers or roots from being collected",
    .usage = "[--json] LAYER|ROOT...",
    .description =
        "`strata gc` and `strata rm` leave alone what is pinned, whether it has a name or not. A pinned\n"
        "root keeps all its layers.",
    .options = kPinOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .run = Pin,
};

constinit const CommandSpec kUnpinCommand = {
    .name = "unpin",
    .summary = "Take pins away",
    .usage = "[--json] LAYER|ROOT...",
    .options = kPinOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .run = Unpin,
};

}  // namespace strata
