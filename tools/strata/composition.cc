// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/composition.h"

#include <cstdlib>

#include "tools/strata/print_observer.h"
#include "tools/strata/values.h"

namespace strata {

Result<std::optional<int64_t>> SourceDateEpoch() {
  const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
  if (epoch == nullptr || *epoch == '\0') return std::nullopt;
  STRATA_ASSIGN_WITH(int64_t seconds, ParseEpoch(epoch), "SOURCE_DATE_EPOCH");
  return seconds;
}

Result<Composition> Compose(Context& context, const DependencySet& set) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  CompositionOptions options;
  STRATA_ASSIGN(options.mtime, SourceDateEpoch());
  options.open_files = context.original_nofile;
  return Compose(*store, set, options, PrintObserver(context.quiet));
}

}  // namespace strata
