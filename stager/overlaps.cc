// SPDX-License-Identifier: Apache-2.0
#include "stager/overlaps.h"

#include <utility>

#include "stager/composition.h"
#include "stager/plain_stack.h"

namespace strata {

Result<OverlapReport> FindOverlaps(const Store& store, const DependencySet& set) {
  OverlapReport report;
  report.set = set;
  report.set.Deduplicate();
  STRATA_ASSIGN(std::vector<Member> members, OpenMembers(store, report.set));
  // Of what lies below an opaque root nothing shows.
  uint32_t first = 0;
  for (uint32_t i = 0; i < members.size(); ++i) {
    if (members[i].manifest.entry(0).opaque()) first = i;
  }
  std::vector<const Manifest*> manifests;
  for (uint32_t i = first; i < members.size(); ++i) manifests.push_back(&members[i].manifest);
  if (!IsPlainStack(manifests, &report.overlaps)) {
    StagingRules rules(report.set.on_conflict, /*collect_overlaps=*/true);
    for (uint32_t i = first; i < members.size(); ++i) {
      STRATA_TRY(rules.Add(members[i].manifest, i));
    }
    report.overlaps = rules.TakeOverlaps();
    report.conflicts = rules.conflicts();
  }
  for (Overlap& overlap : report.overlaps) {
    for (uint32_t& layer : overlap.layers) layer += first;
  }
  for (Conflict& conflict : report.conflicts) {
    conflict.lower += first;
    conflict.upper += first;
  }
  return report;
}

}  // namespace strata
