// SPDX-License-Identifier: Apache-2.0
//
// What keeps a torn entry from being used after a power loss (format.md, "After a power loss").
//
// Publishing syncs nothing. Instead, an entry (layers/ID, derived/NAME, roots/KEY) whose bytes are
// known to be on the disk has a mark, the sticky bit of its mode, and the store knows in which boot
// it was used last. The first process that opens it in another boot (Store::Open) takes what has no
// mark aside: layers to unverified/, from where they come back once they were compared with their
// manifests; derived layers and roots are dropped, to be made again. So each entry is read again at
// most once, and while the machine stays up all this costs a few system calls for each process.
//
// All functions are thread-safe, and safe against other processes at the same store.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cache/store.h"

namespace strata {

// "layers/<64 hex digits>", "unverified/..." and "damaged/...".
std::string LayerPathIn(std::string_view place, const LayerId& id);

// Whether the store was sorted out since the machine booted. Part of Store::Open: two small reads.
Result<bool> IsSettled(int root_fd);
// Of a store just made.
Result<void> SettleNew(int root_fd);
// Sorts it out. A store that cannot be written to is an error with that errno (EROFS, EACCES).
Result<void> SettleAfterBoot(const Store& store);

// Syncs the store's file system and marks what was published before. For gc and fsck, which take
// time anyway.
Result<void> MarkDurable(const Store& store);
// The same, where something was published since the last time, that was over a minute ago, and
// there is little to be written. Elsewhere it costs a few system calls. For what is about to
// publish more.
void MarkDurableIfCheap(const Store& store);

// Whether the entry has the mark. False where it is missing.
bool IsMarked(const Store& store, const std::string& path);

// Compares a layer in unverified/ with its manifest, and brings it back to layers/. Does nothing
// where there is none. A damaged one goes to damaged/, and the error (kCorrupt) says so.
Result<void> RecoverLayer(const Store& store, const LayerId& id);
// The error for a layer that is not in layers/: whether it is damaged, or not known at all.
Error NoLayer(const Store& store, const LayerId& id);
// Takes what unverified/ and damaged/ have of the layer away: it was published anew, or is
// unwanted. True: there was something.
Result<bool> DropAside(const Store& store, const LayerId& id);

}  // namespace strata
