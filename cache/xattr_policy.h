// SPDX-License-Identifier: Apache-2.0
//
// Which extended attributes a layer keeps: user.* but never user.overlay.*, and security.capability in
// its v2 form. POSIX ACLs and everything else are dropped, with a warning.
#pragma once

#include <string>
#include <string_view>

namespace strata {

enum class XattrVerdict {
  kKeep,
  kDrop,     // not recorded; worth a warning
  kOverlay,  // overlayfs's own (user.overlay.*, trusted.overlay.*): forged, when it comes from outside
};

// `value` of a security.capability is rewritten from v3 (bound to a user namespace) to v2.
XattrVerdict JudgeXattr(std::string_view name, std::string& value);

}  // namespace strata
