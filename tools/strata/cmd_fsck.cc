// SPDX-License-Identifier: Apache-2.0
//
// strata fsck: whether the store is what it claims to be.

#include "base/path.h"
#include "cache/durable.h"
#include "cache/fsck.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/progress.h"
#include "tools/strata/root_info.h"

namespace strata {
namespace {

enum FsckOption { kRepair };
constexpr OptionSpec kFsckOptions[] = {
    Flag(kRepair, "repair", 0, "drop what cannot be trusted"),
    kQuietOption,
    kJsonOption,
};

using Outcome = FsckFinding::Outcome;

bool NamedById(const FsckFinding& finding) {
  using Kind = FsckFinding::Kind;
  return finding.kind == Kind::kLayer || finding.kind == Kind::kRoot || finding.kind == Kind::kPin;
}

void PrintFinding(Output& out, const FsckFinding& finding) {
  std::string subject = fmt::format("{} {}", FsckKindName(finding.kind),
                                    NamedById(finding) ? finding.name.substr(0, 12) : finding.name);
  for (const TreeDamage& damage : finding.damages) {
    if (damage.path.empty()) {
      out.Print("{}: {}\n", subject, damage.problem);
    } else {
      out.Print("{}: {} {}\n", subject, QuotePath(damage.path), damage.problem);
    }
  }
  for (const std::string& action : finding.actions) out.Print("{}: {}\n", subject, action);
  if (finding.outcome == Outcome::kInUse) {
    out.Print("{}: left as it is: a running stage uses it\n", subject);
  }
}

std::string Count(uint64_t number, std::string_view what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

// Damaged layers, which no repair makes whole.
std::vector<LayerId> ToImportAgain(const FsckReport& report) {
  std::vector<LayerId> ids;
  for (const FsckFinding& finding : report.findings) {
    if (finding.kind != FsckFinding::Kind::kLayer) continue;
    if (auto id = Digest::FromHex(finding.name)) ids.push_back(*id);
  }
  return ids;
}

void PrintSummary(Output& out, const FsckReport& report, const Names& names, bool repair) {
  out.Print("checked {}, {}, {}, {}: ", Count(report.layers, "layer"),
            Count(report.derived, "derived layer"), Count(report.roots, "root"),
            Count(report.refs, "ref"));
  size_t left = 0;
  for (const FsckFinding& finding : report.findings) {
    if (finding.outcome != Outcome::kRepaired) ++left;
  }
  if (report.findings.empty()) {
    out.Write("clean\n");
  } else if (left == 0) {
    out.Print("{} damaged, all repaired\n", report.findings.size());
  } else if (repair) {
    out.Print("{} damaged, {} of them left as they are\n", report.findings.size(), left);
  } else {
    out.Print("{} damaged; `strata fsck --repair` drops what cannot be trusted\n",
              report.findings.size());
  }
  for (const LayerId& id : ToImportAgain(report)) {
    const std::string text = names.Text(id);
    out.Print("to be imported again: layer {:.12}{}\n", id.Hex(),
              text == "-" ? "" : fmt::format(", which was {}", text));
  }
  if (report.leftovers > 0) {
    out.Print("{} of killed processes: `strata gc` takes them away\n",
              Count(report.leftovers, "leftover"));
  }
  if (report.put_aside > 0) {
    out.Print("{} in damaged/: import them again, or remove them there\n",
              Count(report.put_aside, "layer"));
  }
  if (report.replaced > 0) {
    out.Print(
        "{} in damaged/ that had to be imported again: the next gc takes what is not in use\n",
        Count(report.replaced, "layer"));
  }
}

Json ToJson(const FsckReport& report, const Names& names) {
  Json json;
  json["clean"] = report.findings.empty();
  json["layers"] = report.layers;
  json["derived"] = report.derived;
  json["roots"] = report.roots;
  json["refs"] = report.refs;
  json["leftovers"] = report.leftovers;
  json["put_aside"] = report.put_aside;
  json["replaced"] = report.replaced;
  json["import_again"] = Json::array();
  for (const LayerId& id : ToImportAgain(report)) {
    json["import_again"].push_back({{"id", id.Hex()}, {"refs", names.Of(id)}});
  }
  json["damaged"] = Json::array();
  constexpr const char* kOutcomes[] = {"reported", "repaired", "in use"};
  for (const FsckFinding& finding : report.findings) {
    Json damaged;
    damaged["kind"] = FsckKindName(finding.kind);
    damaged["name"] = finding.name;
    damaged["damages"] = Json::array();
    for (const TreeDamage& damage : finding.damages) {
      Json element;
      SetText(element, "path", damage.path);
      SetText(element, "problem", damage.problem);
      damaged["damages"].push_back(std::move(element));
    }
    damaged["outcome"] = kOutcomes[static_cast<size_t>(finding.outcome)];
    damaged["actions"] = finding.actions;
    json["damaged"].push_back(std::move(damaged));
  }
  return json;
}

Result<int> RunFsck(Context& context, const ParsedArgs& args) {
  const bool repair = args.Has(kRepair);
  FsckOptions options;
  options.repair = repair ? FsckRepair::kYes : FsckRepair::kNo;
  options.held = RootsOfStages();
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  for (const char* name : args.operands) {
    STRATA_ASSIGN(LayerId id, store->Resolve(name));
    STRATA_ASSIGN(bool there, store->HasLayer(id));
    if (!there) return Unexpected(NoLayer(*store, id));
    options.layers.push_back(id);
  }
  STRATA_ASSIGN(Names names, Names::Read(*store));  // a repair takes them away
  Progress progress;
  options.progress = &progress;
  auto check = [&] {
    ProgressLine line("fsck", progress, context.quiet || context.json);
    return Fsck(*store, options);
  };
  STRATA_ASSIGN_WITH(FsckReport report, check(), "fsck");
  if (context.json) {
    PrintJson(context.out, ToJson(report, names));
  } else {
    for (const FsckFinding& finding : report.findings) PrintFinding(context.out, finding);
    if (!context.quiet) PrintSummary(context.out, report, names, repair);
  }
  return report.findings.empty() ? 0 : 1;
}

}  // namespace

constinit const CommandSpec kFsckCommand = {
    .name = "fsck",
    .summary = "Check the store against its manifests, and repair it",
    .usage = "[--repair] [--quiet] [--json] [LAYER...]",
    .description =
        "Reads every file of every layer (or of the LAYERs given) and compares it with the manifest,\n"
        "then looks at derived layers, cached roots, refs and pins.\n\n"
        "--repair removes damaged derived layers and roots, which are made again when they are needed.\n"
        "It moves damaged layers to damaged/ in the store, and removes the refs and pins that lead\n"
        "nowhere then. It says all that it does. What a running stage uses is left as it is.\n\n"
        "Import again what a damaged layer was made of: that makes it whole, with or without --repair\n"
        "before, also while it is in use.\n\n"
        "The exit status is 0 if all is well, 1 if anything was damaged, also when it was repaired,\n"
        "and 2 for a wrong command line.",
    .options = kFsckOptions,
    .min_operands = 0,
    .max_operands = kAnyNumber,
    .run = RunFsck,
};

}  // namespace strata
