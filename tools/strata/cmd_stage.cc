// SPDX-License-Identifier: Apache-2.0
//
// strata stage and strata unstage: a root at a directory of the caller's own view of the file
// system.
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/stage_command.h"
#include "stager/flatten_chain.h"
#include "stager/scratch.h"
#include "stager/stager.h"
#include "tools/strata/command.h"
#include "tools/strata/composition.h"
#include "tools/strata/layer_args.h"
#include "tools/strata/run_options.h"

namespace strata {
namespace {

enum StageOption {
  kStageMethod,
  kStageReadOnly,
  kStageLayersFrom,
  kStageIntegrate,
  kStageOnConflict,
  kStageUserns
};
constexpr OptionSpec kStageOptions[] = {
    Value(kStageMethod, "method", 'm', "auto|overlay|fuse|hardlink|reflink|copy",
          "how the root gets there (default: auto)"),
    Flag(kStageReadOnly, "read-only", 0, "nothing can be written in the root"),
    LayersFromOption(kStageLayersFrom),
    IntegrateOption(kStageIntegrate),
    OnConflictOption(kStageOnConflict),
    UsernsOption(kStageUserns),
    kQuietOption,
};

struct StageRequest {
  StageAtOptions at;
  std::string directory;
  std::vector<std::string> argv;
};

// A root that the command alone sees, by an overlay; with kHardlink, over a tree of links.
Result<int> RunMounted(Context& context, const Store& store, const CachedRoot& root,
                       const StageRequest& request, const std::string& directory,
                       std::optional<Error>* problem) {
  STRATA_ASSIGN(Scratch scratch, Scratch::Take(store.fd()));
  RootContent content = root.content;
  if (request.at.method == StageMethod::kHardlink) {
    STRATA_ASSIGN(std::string tree, scratch.MakeDirectory("tree"));
    STRATA_ASSIGN(UniqueFd fd, OpenAt(store.fd(), tree, O_RDONLY | O_DIRECTORY));
    MakeTreeOptions options;
    STRATA_TRY_WITH(MakeRootTree(store, content, fd.get(), options), "hardlink");
    content.lowers = {tree};
  }
  StageCommand command;
  command.store = store.path();
  command.directory = directory;
  command.held = root.Leases();
  command.held.push_back(scratch.fd());
  STRATA_ASSIGN(std::string lower, scratch.MakeDirectory("lower"));
  STRATA_ASSIGN(command.lowers, OverlayLowers(store, content, lower, request.at.access));
  if (request.at.access == StageAccess::kWritable) {
    command.upper = scratch.upper_path();
    command.work = scratch.work_path();
  }
  command.argv = request.argv;
  command.open_files = context.original_nofile;
  return RunStageCommand(command, problem);
}

// One that is left in place for the time of the command.
Result<int> RunInPlace(Context& context, const Store& store, const CachedRoot& root,
                       const StageRequest& request, const std::string& directory,
                       std::optional<Error>* problem) {
  STRATA_TRY(StageAt(store, root, directory, request.at));
  StageCommand command;
  command.argv = request.argv;
  command.open_files = context.original_nofile;
  Result<int> status = RunStageCommand(command, problem);
  Result<void> unstaged = Unstage(store, directory);
  if (!status) return status;
  if (!unstaged) return Unexpected(std::move(unstaged).error());
  return status;
}

Result<int> RunCommandAt(Context& context, const Store& store, const CachedRoot& root,
                         const StageRequest& request) {
  STRATA_ASSIGN(StageDirectory directory, PrepareStageDirectory(store, request.directory));
  const StageMethod method = request.at.method;
  const bool mounts = method == StageMethod::kAuto || method == StageMethod::kOverlay ||
                      method == StageMethod::kHardlink;
  std::optional<Error> problem;
  Result<int> status = 0;
  if (mounts) status = RunMounted(context, store, root, request, directory.path, &problem);
  bool denied = !status && status.error().code() == Errc::kUnsupported;
  if (!mounts || (denied && method == StageMethod::kAuto)) {
    status = RunInPlace(context, store, root, request, directory.path, &problem);
  }
  if (directory.made) ::rmdir(directory.path.c_str());
  if (problem) PrintError(*problem);
  return status;
}

Result<StageRequest> ParseRequest(const ParsedArgs& args) {
  StageRequest request;
  for (const ParsedOption& option : args.options) {
    if (option.spec->id == kStageMethod) {
      STRATA_ASSIGN_WITH(size_t choice, ParseChoice(*option.spec, option.value), "--method");
      request.at.method = static_cast<StageMethod>(choice);
    } else if (option.spec->id == kStageReadOnly) {
      request.at.access = StageAccess::kReadOnly;
    }
  }
  if (request.at.access == StageAccess::kReadOnly && IsCopy(request.at.method)) {
    return Fail(Errc::kInvalid, "--read-only: a copy is your own, and cannot be read-only");
  }
  request.directory = args.operands.back();
  for (char** word = args.command; word != nullptr && *word != nullptr; ++word) {
    request.argv.push_back(*word);
  }
  if (args.command != nullptr && request.argv.empty()) {
    return Fail(Errc::kInvalid, "no command given after --");
  }
  return request;
}

Result<DependencySet> ParseSet(const Store& store, const ParsedArgs& args) {
  LayerArgs layers;
  layers.layers.assign(args.operands.begin(), args.operands.end() - 1);
  if (layers.layers.empty() && !args.Has(kStageLayersFrom)) {
    return Unexpected(Error(Errc::kInvalid, "a LAYER or DIR is missing")
                          .Hint("strata stage LAYER... DIR [-- COMMAND]"));
  }
  if (const char* file = args.Get(kStageLayersFrom)) layers.layers_from = file;
  STRATA_ASSIGN(DependencySet set, ReadLayerArgs(store, layers));
  Userns userns = Userns::kAuto;
  for (const ParsedOption& option : args.options) {
    if (option.spec->id == kStageIntegrate) {
      STRATA_ASSIGN_WITH(std::string command, ParseIntegration(option), "--integrate");
      set.integration.push_back(std::move(command));
    } else if (option.spec->id == kStageOnConflict) {
      STRATA_ASSIGN_WITH(set.on_conflict, ParseConflictPolicy(option), "--on-conflict");
    } else if (option.spec->id == kStageUserns) {
      STRATA_ASSIGN_WITH(userns, ParseUserns(option), "--userns");
    }
  }
  SetIntegrationIds(userns, &set);
  return set;
}

Result<int> RunStage(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(StageRequest request, ParseRequest(args));
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(DependencySet set, ParseSet(*store, args));
  STRATA_ASSIGN(Composition composition, Compose(context, set));
  const CachedRoot& root = composition.root;
  if (!request.argv.empty()) return RunCommandAt(context, *store, root, request);
  STRATA_TRY_WITH(StageAt(*store, root, request.directory, request.at), "stage");
  return 0;
}

Result<int> RunUnstage(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_TRY_WITH(Unstage(*store, args.operands[0]), "unstage");
  return 0;
}

}  // namespace

constinit const CommandSpec kStageCommand = {
    .name = "stage",
    .summary = "Show a root of stacked layers at a directory",
    .usage = "[OPTIONS] LAYER... DIR [-- COMMAND [ARG...]]",
    .description =
        "DIR must be empty or new. With COMMAND, DIR has the root only for COMMAND, which runs as\n"
        "you, here, with your view of the file system: this is no sandbox (`strata run` is one). What\n"
        "it writes in DIR is gone afterwards, as is what it left running. Without COMMAND, the root\n"
        "is left in place until `strata unstage DIR`. (`strata help run` says what a LAYER can be.)\n\n"
        "Methods: `overlay` mounts (without COMMAND: only who may mount); `fuse` runs\n"
        "fuse-overlayfs; `reflink` and `copy` make files of your own; `auto` is the first of these\n"
        "that works. `hardlink` makes a tree of links to the layers' files and mounts an overlay\n"
        "above it (with --read-only: a read-only one), as whoever owns a file could otherwise change\n"
        "the layer through the link, whatever its mode; so without COMMAND it is for who may mount.\n"
        "Nothing done through DIR changes a layer, with any method.\n\n"
        "The exit status is as that of `strata run`.",
    .options = kStageOptions,
    .min_operands = 1,
    .max_operands = kAnyNumber,
    .takes_command = true,
    .failure_status = 125,
    .usage_status = 125,
    .run = RunStage,
};

constinit const CommandSpec kUnstageCommand = {
    .name = "unstage",
    .summary = "Take a root away that was staged at a directory",
    .usage = "DIR",
    .description =
        "Unmounts or removes what `strata stage` left at DIR, changed or not, and nothing else.",
    .options = {},
    .min_operands = 1,
    .max_operands = 1,
    .run = RunUnstage,
};

}  // namespace strata
