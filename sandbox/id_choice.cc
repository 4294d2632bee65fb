// SPDX-License-Identifier: Apache-2.0
#include "sandbox/id_choice.h"

namespace strata {
namespace {

Result<IdMapping> FindRange(const IdRequest& request) {
  STRATA_ASSIGN(IdMapping range, SubordinateIds());
  if (range.HasUid(request.uid) && range.HasGid(request.gid)) return range;
  const bool uid_is_missing = !range.HasUid(request.uid);
  return Unexpected(Error(Errc::kInvalid, fmt::format("{} {} is not in the range of ids",
                                                      uid_is_missing ? "uid" : "gid",
                                                      uid_is_missing ? request.uid : request.gid))
                        .Hint("--userns=single can give any one id"));
}

}  // namespace

Result<IdChoice> ChooseIds(const IdRequest& request, bool needs_range) {
  const bool wanted =
      request.userns == Userns::kSubuid || (request.userns == Userns::kAuto && needs_range);
  IdChoice choice;
  if (!wanted) return choice;
  Result<IdMapping> range = FindRange(request);
  if (range) {
    choice.range = std::move(*range);
    return choice;
  }
  if (request.userns == Userns::kSubuid) {
    return Unexpected(std::move(range).error().Wrap("--userns=subuid"));
  }
  choice.missing = std::move(range).error();
  return choice;
}

Result<void> TryRange(const IdMapping& range) {
  return RunInMapping(range, []() -> Result<void> { return {}; });
}

}  // namespace strata
