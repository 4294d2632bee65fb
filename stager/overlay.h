// SPDX-License-Identifier: Apache-2.0
//
// Mounts one overlay, from inside a mount namespace whose user namespace the caller has all rights in.
// Plain data in, a descriptor out, no heap: it may be called after clone.
//
// `userxattr` (Linux 5.11: the only kind of opaque marks that an ordinary user can make) unless
// `trusted` is asked for, and, with an upper that is not to be kept, `volatile` (5.10: no sync of the whole file system
// at unmount) and `uuid=null`. Three ways, tried in this order:
//   1. fsconfig("lowerdir+") by path, for paths of up to 255 bytes without a backslash (Linux 6.7)
//   2. the same by O_PATH descriptor, for other paths (6.15)
//   3. mount(2), the lower layers named by descriptor number with /proc/self/fd as the working
//      directory, so that 500 of them fit the one page that mount(2) takes (5.11)
#pragma once

#include <cstddef>

#include "base/child_report.h"

namespace strata {

// Overlayfs's own limit.
inline constexpr size_t kMaxOverlayLowers = 500;

struct OverlayPlan {
  // Paths, bottom first, relative to the working directory at the time of the call. They must be
  // opened in the namespace of the mount: a descriptor from outside would be refused.
  const char* const* lowers = nullptr;
  size_t lower_count = 0;
  const char* upper = nullptr;  // null: read-only, which needs two lower layers
  const char* work = nullptr;
  bool keep_upper = false;  // it belongs to the user: synced at unmount, no mark left in `work`
  bool uniform_inodes = false;  // xino=on: upper and lower are on different file systems
  // Marks in trusted.overlay.*, as `mount -t overlay` has them: only for root of the machine.
  bool trusted = false;
  const char* source = nullptr;   // what mountinfo shows as the device; null: "overlay"
  const char* context = nullptr;  // the SELinux label of all files
  unsigned attributes = 0;      // MOUNT_ATTR_*
};

// Mounts on the directory `attach_at` and returns a descriptor of the overlay's root, or -errno with
// `failure` filled in.
int MountOverlay(const OverlayPlan& plan, const char* attach_at, ChildFailure* failure) noexcept;

// The same, but mounted nowhere: a detached mount, as fsmount(2) returns it. Where only the third way works,
// `attach_at`, an empty directory that nobody else uses, is mounted over for a moment.
int MountDetachedOverlay(const OverlayPlan& plan, const char* attach_at,
                         ChildFailure* failure) noexcept;

}  // namespace strata
