// SPDX-License-Identifier: Apache-2.0
//
// strata import: a directory or an archive becomes a layer.
#include "cache/import.h"

#include "cache/durable.h"
#include "sandbox/composition.h"
#include "tools/strata/collect.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/print_observer.h"
#include "tools/strata/progress.h"
#include "tools/strata/run_options.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

enum ImportOption { kName, kFormat, kMtime, kOwner, kIntegrate };
constexpr OptionSpec kFormatSpec = Value(
    kFormat, "format", 0, "auto|dir|tar|oci",
    "what SOURCE is; `auto` tells a directory from an archive by looking, and never guesses `oci`");
constexpr OptionSpec kOwnerSpec = Value(kOwner, "owner", 0, "root|keep",
                                        "who owns the entries: 0:0, or as in SOURCE (default: keep "
                                        "for archives, root for directories)");
constexpr OptionSpec kImportOptions[] = {
    Value(kName, "name", 'n', "REF", "name the layer; a REF that exists is moved to it"),
    kFormatSpec,
    Value(kMtime, "mtime", 0, "keep|EPOCH",
          "keep modification times (the default), or set them all to EPOCH, in seconds since 1970"),
    kOwnerSpec,
    Value(kIntegrate, "integrate", 0, "CMD",
          "a shell command that runs once in every root that has this layer, before it is used "
          "(ldconfig, for instance); part of the layer's id")
        .Repeatable(),
    kQuietOption,
    kJsonOption,
};

Result<ImportOptions> ReadOptions(const ParsedArgs& args) {
  ImportOptions options;
  if (const char* name = args.Get(kName)) STRATA_TRY_WITH(Store::CheckRefName(name), "--name");
  if (const char* format = args.Get(kFormat)) {
    constexpr SourceFormat kFormats[] = {SourceFormat::kAuto, SourceFormat::kDirectory,
                                         SourceFormat::kTar, SourceFormat::kOci};
    STRATA_ASSIGN_WITH(size_t choice, ParseChoice(kFormatSpec, format), "--format");
    options.format = kFormats[choice];
  }
  if (const char* owner = args.Get(kOwner)) {
    constexpr OwnerPolicy kPolicies[] = {OwnerPolicy::kRoot, OwnerPolicy::kKeep};
    STRATA_ASSIGN_WITH(size_t choice, ParseChoice(kOwnerSpec, owner), "--owner");
    options.owner = kPolicies[choice];
  }
  const char* mtime = args.Get(kMtime);
  if (mtime != nullptr && std::string_view(mtime) != "keep") {
    STRATA_ASSIGN_WITH(options.mtime, ParseEpoch(mtime), "--mtime");
  }
  for (const ParsedOption& option : args.options) {
    if (option.spec->id != kIntegrate) continue;
    STRATA_ASSIGN_WITH(std::string command, ParseIntegration(option), "--integrate");
    options.integration_commands.push_back(std::move(command));
  }
  return options;
}

Result<int> RunImport(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(ImportOptions options, ReadOptions(args));
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  // Housekeeping: what it cannot remove is no reason not to import.
  static_cast<void>(store->CleanLeftovers());
  MarkDurableIfCheap(*store);

  std::string source = args.operands[0];
  Progress progress;
  options.progress = &progress;
  auto import = [&] {
    ProgressLine line("import " + source, progress, context.quiet);
    return Import(*store, source, options);
  };
  STRATA_ASSIGN(ImportResult result, import());
  const char* name = args.Get(kName);
  if (result.replaced) RepairAfterReplacing(*store, result.id, PrintObserver(context.quiet));
  if (name != nullptr) STRATA_TRY(store->SetRef(name, result.id));
  CollectAfterPublishing(context, *store);

  if (!context.quiet) {
    for (const std::string& warning : result.warnings) PrintWarning(warning);
  }
  if (context.json) {
    Json json;
    json["id"] = result.id.Hex();
    json["ref"] = name != nullptr ? Json(name) : Json();
    json["existed"] = result.existed;
    json["replaced"] = result.replaced;
    json["entries"] = result.entries;
    json["content_bytes"] = result.content_bytes;
    json["warnings"] = Json::array();
    for (const std::string& warning : result.warnings) json["warnings"].push_back(warning);
    PrintJson(context.out, json);
  } else {
    context.out.Print("{}\n", result.id.Hex());
  }
  return 0;
}

}  // namespace

constinit const CommandSpec kImportCommand = {
    .name = "import",
    .summary = "Make a layer of a directory or an archive, and print its id",
    .usage = "[OPTIONS] SOURCE|-",
    .description =
        "SOURCE is a directory or a tar archive, with any usual compression; `-` reads an archive from\n"
        "standard input. The id depends on the content alone, not on who imports, when, or from what:\n"
        "importing the same content again changes nothing, but replaces a layer that was damaged "
        "in "
        "the\n"
        "store: what a look at names, types, modes, sizes and times tells, or `strata fsck` has found. With\n"
        "`--format oci` SOURCE is one layer of an OCI or Docker image, and its `.wh.` files remove what lies\n"
        "below them.",
    .options = kImportOptions,
    .min_operands = 1,
    .max_operands = 1,
    .run = RunImport,
};

}  // namespace strata
