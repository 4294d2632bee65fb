// SPDX-License-Identifier: Apache-2.0
//
// Layers of the store as lower layers: composed as `strata run` does it, and kept for as long as
// the mount is there by a record in the store (stager/stage_record.h), as no process is left that
// could hold a lease.
#pragma once

#include "base/result.h"
#include "tools/strata-mount/mount.h"

namespace strata::mount {

// Whether the request's lowers are layers of the store; else all are directories. An error where
// they are mixed, or where a name is both.
Result<bool> AreStoreLayers(const Request& request);

Result<void> MountStoreLayers(const Request& request);

}  // namespace strata::mount
