// SPDX-License-Identifier: Apache-2.0
//
// strata gc: removes what nothing needs.
#include "base/cgroup.h"
#include "cache/gc.h"
#include "cache/store_config.h"
#include "stager/stage_record.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/root_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

enum GcOption { kAll, kMaxSize, kDryRun };
constexpr OptionSpec kGcOptions[] = {
    Flag(kAll, "all", 'a',
         "also what is younger than an hour, and all cached roots without a name or pin"),
    Value(
        kMaxSize, "max-size", 0, "SIZE",
        "also cached roots, the least recently used first, until the store takes no more than that "
        "(default: max-size of the store's configuration)"),
    Flag(kDryRun, "dry-run", 'n', "remove nothing, only say what would be"),
    kQuietOption,
    kJsonOption,
};

Json ToJson(const GcReport& report, const GcOptions& options) {
  Json json;
  json["dry_run"] = options.dry_run;
  json["roots"] = Json::array();
  for (const RootKey& key : report.roots) json["roots"].push_back(key.Hex());
  json["layers"] = Json::array();
  for (const LayerId& id : report.layers) json["layers"].push_back(id.Hex());
  json["derived"] = report.derived;
  json["replaced"] = report.replaced;
  json["leftovers"] = report.leftovers;
  json["freed_bytes"] = report.freed_bytes;
  json["max_bytes"] = options.max_size ? Json(*options.max_size) : Json();
  json["store_bytes"] = report.store_bytes ? Json(*report.store_bytes) : Json();
  return json;
}

void PrintReport(Output& out, const GcReport& report, const GcOptions& options) {
  const char* verb = options.dry_run ? "would remove" : "removed";
  for (const RootKey& key : report.roots) out.Print("{} root {}\n", verb, ShortKey(key));
  for (const LayerId& id : report.layers) out.Print("{} layer {:.12}\n", verb, id.Hex());
  for (const std::string& name : report.derived) {
    out.Print("{} derived layer {}\n", verb, name);
  }
  if (report.replaced > 0) {
    out.Print("{} {} damaged layer{} imported again since\n", verb, report.replaced,
              report.replaced == 1 ? ", which was" : "s, which were");
  }
  if (report.leftovers > 0) {
    out.Print("{} {} leftover{} of killed processes\n", verb, report.leftovers,
              report.leftovers == 1 ? "" : "s");
  }
  out.Print("{} {}\n", options.dry_run ? "would free" : "freed", FormatSize(report.freed_bytes));
}

Result<int> Gc(Context& context, const ParsedArgs& args) {
  GcOptions options;
  options.all = args.Has(kAll);
  options.dry_run = args.Has(kDryRun);
  options.held = RootsOfStages();
  if (const char* size = args.Get(kMaxSize)) {
    STRATA_ASSIGN_WITH(options.max_size, ParseSize(size), "--max-size");
  }
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  if (!options.max_size) {
    STRATA_ASSIGN(StoreConfig config, ReadStoreConfig(*store));
    options.max_size = config.max_size;
  }
  if (!options.dry_run) {
    STRATA_TRY(CleanStaleStages(*store));
    SweepCgroups();
  }
  STRATA_ASSIGN(GcReport report, CollectGarbage(*store, options));
  if (context.json) {
    PrintJson(context.out, ToJson(report, options));
  } else if (!context.quiet) {
    PrintReport(context.out, report, options);
  }
  if (report.store_bytes && *report.store_bytes > *options.max_size && !context.quiet) {
    PrintWarning(fmt::format(
        "the store takes {}, more than the {} it may: all that is left has a name or a pin{}",
        FormatSize(*report.store_bytes), FormatSize(*options.max_size),
        options.all ? " or is in use" : ", is in use, or is younger than an hour"));
  }
  return 0;
}

}  // namespace

constinit const CommandSpec kGcCommand = {
    .name = "gc",
    .summary = "Remove what nothing needs",
    .usage = "[--all] [--max-size SIZE] [--dry-run] [--quiet] [--json]",
    .description =
        "Removes layers that have no name and no pin and that no composed root in use, with a name or with a\n"
        "pin is made of; roots whose layers go; what was derived from layers and is mounted by no root; and\n"
        "what killed processes left behind. Nothing that is in use goes, and nothing younger than an hour.",
    .options = kGcOptions,
    .run = Gc,
};

}  // namespace strata
