// SPDX-License-Identifier: Apache-2.0
//
// The collector. It never removes what a ref, a pin, a running stage or a cached root in use needs:
//
//   root     kept if it has a name, a pin or a lease, or was used within the last hour. Another one
//            goes when something that it is made of is missing or goes;
//   layer    goes if it has neither name nor pin and no kept root needs it;
//   derived  goes if no root mounts it that stays; a materialisation, if no root mounts what it stands for
//            and with that itself, with `all` always, unless somebody has it mounted;
//
// and nothing that is younger than an hour goes at all. The locks and their order are in format.md;
// names and roots are read again under the locks, so that one that came meanwhile counts.
//
// Any number may run at once, in any number of processes, beside everything else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {

struct GcOptions {
  bool all = false;  // the young ones too, and every cached root that has no name, pin or lease
  bool dry_run = false;
  // Beyond that many bytes the least recently used roots go, with the derived layers only they
  // need.
  std::optional<uint64_t> max_size;
  HeldRoots held;
};

struct GcReport {
  std::vector<RootKey> roots;  // removed, or with dry_run: that would be
  std::vector<LayerId> layers;
  std::vector<std::string> derived;
  size_t replaced = 0;       // layers that were damaged, and imported again since
  size_t leftovers = 0;      // of killed processes, in tmp/, stages/, trash/ and refs/
  uint64_t freed_bytes = 0;  // on disk, by layers (replaced ones too) and derived layers
  // With max_size: what the store takes after it all.
  std::optional<uint64_t> store_bytes;
};

// What could not be deleted is no error: it is in trash/, and for the next time.
Result<GcReport> CollectGarbage(const Store& store, const GcOptions& options);

// For after something was published: collects when the store's configuration has a max-size and the
// store is larger. Looks at most once every ten minutes; nothing, where it did not look.
Result<std::optional<GcReport>> CollectIfTooLarge(const Store& store, const HeldRoots& held);

}  // namespace strata
