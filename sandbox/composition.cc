// SPDX-License-Identifier: Apache-2.0
#include "sandbox/composition.h"

#include <algorithm>

#include "cache/gc.h"
#include "sandbox/child_plan.h"
#include "sandbox/compose_root.h"
#include "stager/stage_record.h"

namespace strata {
namespace {

// "layer 3f2a90cc01b7 (app):at=/opt", for messages about conflicts.
std::string Describe(const Store& store, const SetItem& item) {
  std::string text = item.directory.empty() ? fmt::format("layer {:.12}", item.id.Hex())
                                            : fmt::format("dir:{}", item.directory);
  if (auto refs = store.ListRefs(); refs && item.directory.empty()) {
    auto ref = std::find_if(refs->begin(), refs->end(),
                            [&](const Store::Ref& r) { return r.target == Target(item.id); });
    if (ref != refs->end()) text += fmt::format(" ({})", ref->name);
  }
  if (!item.view.empty()) text += ":" + item.view;
  return text;
}

}  // namespace

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

  // A hit is over before it could be shown, and a command may write to the terminal itself.
  ShownProgress shown(observer);
  options.compose.progress = &shown.counters;
  options.compose.name_of = [&](const SetItem& item) { return Describe(store, item); };
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

}  // namespace strata
