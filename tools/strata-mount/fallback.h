// SPDX-License-Identifier: Apache-2.0
//
// fuse-overlayfs itself, for what no overlay of the kernel does: other owners than on disk
// (podman's
// --userns=keep-id), an upper directory on a file system that cannot be one, a user who may not
// mount.
#pragma once

#include "base/result.h"

namespace strata::mount {

// Becomes fuse-overlayfs with the same command line. Returns only if that cannot be: it is not
// installed, or what PATH calls so is this very program. Says on stderr why it is used.
Error BecomeFuseOverlayfs(char** argv, const Error& why);

}  // namespace strata::mount
