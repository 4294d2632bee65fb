// SPDX-License-Identifier: Apache-2.0
#include "stager/capture.h"

#include <sys/sysmacros.h>

#include "base/mount_table.h"
#include "base/path.h"
#include "sandbox/composition.h"
#include "tools/libstrata/events.h"
#include "tools/libstrata/stage.h"

namespace strata {
namespace {

// Those who had the mount have let go of it; the kernel may be busy with that.
constexpr int kUnmountMs = 1000;

// Whatever holds the mount could still write to the layer.
Result<void> CheckUnmounted(const strata_stage& stage) {
  if (!stage.mounted) return {};
  STRATA_ASSIGN(bool gone, stage.root->store->watches.IsGone(stage.watch, 0));
  if (gone) return {};
  // One that is here can be named. Only now: the number of one that is gone may be another's by
  // now.
  const std::string device = fmt::format("{}:{}", major(stage.device), minor(stage.device));
  STRATA_ASSIGN(std::vector<MountEntry> mounts, ReadMountTable());
  for (const MountEntry& mount : mounts) {
    if (mount.device != device) continue;
    return Unexpected(
        Error(Errc::kBusy, fmt::format("it is still mounted at {}", QuotePath(mount.directory)))
            .Hint("unmount it first"));
  }
  STRATA_ASSIGN(gone, stage.root->store->watches.IsGone(stage.watch, kUnmountMs));
  if (gone) return {};
  return Unexpected(
      Error(Errc::kBusy, "something still holds the mount, and could write to the layer")
          .Hint(
              "it is unmounted here; what is left is a file of it that is open or mapped, a "
              "descriptor of the mount, a process in it, or another mount namespace: close or end that, and "
              "capture again"));
}

Result<CaptureOptions> Translate(const strata_capture_options& given) {
  STRATA_TRY(CheckRef(given.ref));
  CaptureOptions options;
  options.mtime = Mtime(given.set_mtime, given.mtime);
  for (const std::string& path : TextList(given.leave_out)) {
    STRATA_ASSIGN_WITH(std::string clean, CleanPath(path), "leave_out");
    if (clean.empty()) return Fail(Errc::kInvalid, "leave_out: / would leave out everything");
    options.leave_out.push_back(std::move(clean));
  }
  return options;
}

Result<CaptureResult> Capture(strata_stage& handle, const CaptureOptions& options) {
  Stage& stage = *handle.stage;
  const Store& store = *handle.root->store;
  if (stage.upper().empty()) return Fail(Errc::kInvalid, "the stage is read-only");
  STRATA_TRY(CheckUnmounted(handle));
  STRATA_ASSIGN(const LowerChain* chain, stage.Chain());
  STRATA_ASSIGN(PendingLayer pending, stage.TakeForCapture(stage.upper()));
  return CaptureUpper(store, std::move(pending), *chain, options);
}

}  // namespace
}  // namespace strata

using strata::Errc;
using strata::Fail;
using strata::Need;
using strata::Result;

int strata_stage_capture(strata_stage* stage, const strata_capture_options* options,
                         strata_layer** layer, strata_error** error) {
  if (layer != nullptr) *layer = nullptr;
  return strata::Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(layer, "layer"));
    STRATA_TRY(Need(stage, "stage"));
    STRATA_ASSIGN(strata_capture_options given,
                  strata::ReadOptions(options, "strata_capture_options"));
    if (!stage->stage) return Fail(Errc::kInvalid, "capture: the stage was captured before");
    if (!stage->owner.IsOwn()) {
      return Fail(Errc::kInvalid, "capture: the stage is the parent process's");
    }
    STRATA_ASSIGN_WITH(strata::CaptureOptions wanted, strata::Translate(given), "capture");
    if (stage->ids) wanted.mapping = &*stage->ids;
    strata::Events events;
    STRATA_TRY(events.Read(given.events));
    strata::ShownProgress shown(events.observer());
    wanted.progress = &shown.counters;
    shown.Begin("capture");
    const strata::StorePtr store = stage->root->store;
    STRATA_ASSIGN_WITH(strata::CaptureResult result, strata::Capture(*stage, wanted), "capture");
    shown.End();
    stage->stage.reset();
    if (result.replaced) strata::RepairAfterReplacing(*store, result.id, events.observer());
    if (given.ref != nullptr) STRATA_TRY_WITH(store->SetRef(given.ref, result.id), "capture");
    for (const std::string& warning : result.warnings) events.observer().Warn(warning);
    strata::CollectAfterPublishing(*store, events.observer());
    *layer = new strata_layer{store,          std::move(result.lease), result.id.Hex(),
                              result.existed, result.entries,          result.content_bytes};
    return {};
  });
}
