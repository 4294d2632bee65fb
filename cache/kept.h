// SPDX-License-Identifier: Apache-2.0
//
// What people keep in the store by a name of their own: workspaces and caches. Nobody collects
// them; they go when they are told to. A run has an exclusive lock on each that it uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/store.h"

namespace strata {

enum class KeptKind { kWorkspace, kCache };
std::string_view KeptKindName(KeptKind kind);  // "workspace", "cache"
std::string_view KeptPlace(KeptKind kind);     // "workspaces", "caches": in the store

struct KeptDirectory {
  std::string name;
  int64_t changed = 0;  // a workspace: begun to be used; a cache: something right in it changed
  uint64_t bytes = 0;   // on disk, as far as the caller may look
};
Result<std::vector<KeptDirectory>> ListKept(const Store& store, KeptKind kind);  // by name

// Exclusively. kBusy where it is in use, unless `wait`; where there is none, ENOENT as FileLock has
// it. What a command has shut or given to a subordinate id is the caller's again.
Result<FileLock> LockKept(const Store& store, KeptKind kind, const std::string& name,
                          LockWait wait);

// kNotFound, kBusy, kInvalid.
Result<void> CheckKept(const Store& store, KeptKind kind, const std::string& name);
Result<void> RemoveKept(const Store& store, KeptKind kind, const std::string& name);

}  // namespace strata
