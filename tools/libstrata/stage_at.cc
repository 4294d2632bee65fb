// SPDX-License-Identifier: Apache-2.0
#include "stager/stager.h"
#include "tools/libstrata/events.h"
#include "tools/libstrata/handles.h"

using strata::Call;
using strata::Need;
using strata::Result;

int strata_stage_at(const strata_root* root, const char* path,
                    const strata_stage_at_options* options, strata_method* used,
                    strata_error** error) {
  static_assert(static_cast<int>(strata::StageMethod::kCopy) == STRATA_METHOD_COPY);
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(root, "root"));
    STRATA_ASSIGN(std::string directory, strata::Text(path, "path"));
    STRATA_ASSIGN(strata_stage_at_options given,
                  strata::ReadOptions(options, "strata_stage_at_options"));
    STRATA_TRY(strata::CheckEnum(given.method, STRATA_METHOD_COPY, "method"));
    strata::Events events;
    STRATA_TRY(events.Read(given.events));
    strata::StageAtOptions wanted;
    wanted.method = static_cast<strata::StageMethod>(given.method);
    if (given.read_only != 0) wanted.access = strata::StageAccess::kReadOnly;
    strata::ShownProgress shown(events.observer());
    wanted.progress = &shown.counters;
    shown.Begin("stage");
    STRATA_ASSIGN_WITH(strata::StageRecord record,
                       strata::StageAt(*root->data->store, root->data->root, directory, wanted),
                       "stage");
    if (used != nullptr) *used = static_cast<strata_method>(record.method);
    return {};
  });
}

int strata_unstage(const strata_store* store, const char* path, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string directory, strata::Text(path, "path"));
    STRATA_TRY_WITH(strata::Unstage(*opened, directory), "unstage");
    return {};
  });
}
