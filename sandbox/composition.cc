// SPDX-License-Identifier: Apache-2.0
#include "sandbox/composition.h"

#include "cache/fsck.h"
#include "cache/gc.h"
#include "cache/layer_text.h"
#include "sandbox/child_plan.h"
#include "sandbox/compose_root.h"
#include "stager/stage_record.h"

namespace strata {
void SetIntegrationIds(Userns userns, DependencySet* set) {
  if (set->integration.empty() || userns == Userns::kAuto) return;
  set->integration_ids =
      userns == Userns::kSingle ? DependencySet::Ids::kOne : DependencySet::Ids::kRange;
}

Result<Composition> Compose(const Store& store, const DependencySet& set,
                            const CompositionOptions& wanted, const Observer& observer) {
  const int64_t start_ns = MonotonicNs();
  ComposeRootOptions options;
  options.mtime = wanted.mtime;
  options.open_files = wanted.open_files;
  options.timeout_ms = wanted.timeout_ms;
  options.grace_ms = wanted.grace_ms;
  options.compose.jobs = wanted.jobs;

  // A hit is over before it could be shown, and a command may write to the terminal itself.
  ShownProgress shown(observer);
  options.compose.progress = &shown.counters;
  options.compose.name_of = [&](const SetItem& item) { return DescribeItem(store, item); };
  options.on_miss = [&] { shown.Begin("compose"); };
  options.before_command = [&](std::string_view command) {
    shown.End();
    if (observer.command) observer.command(command);
  };
  options.output = observer.output;
  options.warn = [&](std::string_view warning) {
    shown.End();
    observer.Warn(warning);
  };
  STRATA_ASSIGN(CachedRoot root, ComposeRoot(store, set, options));
  return Composition{std::move(root), MonotonicNs() - start_ns, shown.counters.entries};
}

void CollectAfterPublishing(const Store& store, const Observer& observer) {
  auto report = CollectIfTooLarge(store, RootsHeldByStages);
  if (!report) {
    observer.Warn(fmt::format("the store was not collected: {}", report.error().message()));
  }
}

void RepairAfterReplacing(const Store& store, const LayerId& id, const Observer& observer) {
  observer.Warn(fmt::format("layer {:.12} was damaged, and is whole again", id.Hex()));
  FsckOptions options;
  options.repair = FsckRepair::kYes;
  options.scope = FsckScope::kDerived;
  options.held = RootsHeldByStages;
  auto report = Fsck(store, options);
  if (!report) {
    observer.Warn(fmt::format("what was made of it was not looked at: {}; `strata fsck` does",
                              report.error().message()));
    return;
  }
  for (const FsckFinding& finding : report->findings) {
    observer.Warn(fmt::format("{} {} was damaged, too{}", FsckKindName(finding.kind), finding.name,
                              finding.outcome == FsckFinding::Outcome::kInUse
                                  ? ", and is in use: `strata fsck --repair` when that has ended"
                                  : ": removed; it is made again when it is needed"));
  }
}

}  // namespace strata
