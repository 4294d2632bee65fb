// SPDX-License-Identifier: Apache-2.0
#include "cache/gc.h"

#include "stager/stage_record.h"
#include "tools/libstrata/handles.h"

int strata_gc(const strata_store* store, const strata_gc_options* options, strata_gc_report* report,
              strata_error** error) {
  return strata::Call(error, [&]() -> strata::Result<void> {
    if (report != nullptr) STRATA_TRY(strata::CheckOutput(report, "strata_gc_report"));
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(strata_gc_options given, strata::ReadOptions(options, "strata_gc_options"));
    strata::GcOptions wanted;
    wanted.all = given.all != 0;
    wanted.dry_run = given.dry_run != 0;
    if (given.max_size != 0) wanted.max_size = given.max_size;
    wanted.held = strata::RootsHeldByStages;
    STRATA_ASSIGN_WITH(strata::GcReport done, strata::CollectGarbage(*opened, wanted), "gc");
    if (report == nullptr) return {};
    strata_gc_report told{};
    told.roots = done.roots.size();
    told.layers = done.layers.size();
    told.derived = done.derived.size();
    told.freed_bytes = done.freed_bytes;
    strata::WriteOutput(told, report);
    return {};
  });
}
