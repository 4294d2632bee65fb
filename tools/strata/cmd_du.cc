// SPDX-License-Identifier: Apache-2.0
//
// strata du: what the store takes.
#include "cache/gc.h"
#include "cache/usage.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/root_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kDuOptions[] = {kJsonOption};

struct Line {
  const char* key;
  const char* label;
  std::optional<uint64_t> count;
  uint64_t bytes;
};

Result<int> Du(Context& context, const ParsedArgs&) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(StoreUsage usage, MeasureStore(*store));
  GcOptions options;
  options.dry_run = true;
  options.held = RootsOfStages();
  STRATA_ASSIGN(GcReport garbage, CollectGarbage(*store, options));
  const Line lines[] = {
      {"layers", "layers", usage.layer_count, usage.layer_bytes},
      {"roots", "composed roots", usage.root_count, usage.root_bytes},
      {"derived", "derived layers", usage.derived_count, usage.derived_bytes},
      {"workspaces", "workspaces", usage.workspace_count, usage.workspace_bytes},
      {"caches", "caches", usage.cache_count, usage.cache_bytes},
      {"scratch", "scratch", std::nullopt, usage.scratch_bytes},
  };
  if (context.json) {
    Json json;
    for (const Line& line : lines) {
      Json entry;
      if (line.count) entry["count"] = *line.count;
      entry["bytes"] = line.bytes;
      json[line.key] = std::move(entry);
    }
    json["layers"]["content_bytes"] = usage.layer_content_bytes;
    json["derived"]["shared_bytes"] = usage.derived_shared;
    json["total_bytes"] = usage.total();
    json["reclaimable_bytes"] = garbage.freed_bytes;
    PrintJson(context.out, json);
    return 0;
  }
  for (const Line& line : lines) {
    std::string count = line.count ? fmt::format("{}", *line.count) : "";
    context.out.Print("{:<15}{:>7}  {:>10}\n", line.label, count, FormatSize(line.bytes));
  }
  context.out.Print("{:<15}{:>7}  {:>10}\n", "total", "", FormatSize(usage.total()));
  context.out.Print("{:<15}{:>7}  {:>10}\n", "gc would free", "", FormatSize(garbage.freed_bytes));
  return 0;
}

}  // namespace

constinit const CommandSpec kDuCommand = {
    .name = "du",
    .summary = "Show what the store takes on disk",
    .usage = "[--json]",
    .description =
        "Layers are reckoned from their manifests, in blocks of 4 KB; files that derived layers "
        "share with\n"
        "them count once, as the layers'.",
    .options = kDuOptions,
    .run = Du,
};

}  // namespace strata
