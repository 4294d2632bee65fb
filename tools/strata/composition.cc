// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/composition.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "sandbox/child_plan.h"
#include "sandbox/compose_root.h"
#include "tools/strata/print.h"
#include "tools/strata/progress.h"
#include "tools/strata/values.h"

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

Result<Composition> Compose(Context& context, const DependencySet& set) {
  const int64_t start_ns = MonotonicNs();
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  ComposeRootOptions options;
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && *epoch != '\0') {
    STRATA_ASSIGN_WITH(options.mtime, ParseEpoch(epoch), "SOURCE_DATE_EPOCH");
  }
  options.open_files = context.original_nofile;

  Progress progress;
  options.compose.progress = &progress;
  options.compose.name_of = [store](const SetItem& item) { return Describe(*store, item); };
  // A hit is over before it could be shown, and a command may write to the terminal itself.
  std::optional<ProgressLine> line;
  options.on_miss = [&] { line.emplace("compose", progress, context.quiet); };
  options.before_command = [&](std::string_view) { line.reset(); };
  if (!context.quiet) {
    options.output = PrintCommandOutput;
    options.warn = [&](std::string_view warning) {
      line.reset();
      PrintWarning(warning);
    };
  }
  STRATA_ASSIGN(CachedRoot root, ComposeRoot(*store, set, options));
  return Composition{std::move(root), MonotonicNs() - start_ns, progress.entries};
}

}  // namespace strata
