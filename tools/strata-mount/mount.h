// SPDX-License-Identifier: Apache-2.0
//
// Mounts what a request asks for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "tools/strata-mount/options.h"

namespace strata::mount {

// What is handed to the kernel. Paths are as good as from the working directory.
struct Overlay {
  std::vector<std::string> lowers;  // topmost first
  std::string upper;                // absolute; empty: read-only
  std::string work;
  bool trusted = false;         // marks in trusted.overlay.*
  bool uniform_inodes = false;  // the layers are on several file systems
};

// kUnsupported: no overlay of the kernel can be what is asked for, here or by this user;
// fuse-overlayfs perhaps can. Nothing is mounted then.
Result<void> MountDirectories(const Request& request);

// Attaches it at the request's target. With two lowers at least, or an upper.
Result<void> AttachOverlay(const Request& request, const Overlay& overlay);

// The paths of upper and work, as good from anywhere; and makes them mountable again after a
// volatile mount.
Result<void> PrepareUpper(const Request& request, Overlay* overlay);

// Until it is unmounted. A signal that asks this process to end unmounts it.
Result<void> StayUntilUnmounted(const std::string& target);

}  // namespace strata::mount
