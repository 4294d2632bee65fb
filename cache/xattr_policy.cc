// SPDX-License-Identifier: Apache-2.0
#include "cache/xattr_policy.h"

#include <linux/capability.h>

#include <cstdint>
#include <cstring>

namespace strata {

XattrVerdict JudgeXattr(std::string_view name, std::string& value) {
  for (std::string_view prefix : {"user.overlay.", "trusted.overlay."}) {
    if (name.substr(0, prefix.size()) == prefix) return XattrVerdict::kOverlay;
  }
  if (name == "security.capability") {
    uint32_t magic;
    if (value.size() < sizeof magic) return XattrVerdict::kDrop;
    std::memcpy(&magic, value.data(), sizeof magic);
    if ((magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3 && value.size() == XATTR_CAPS_SZ_3) {
      magic = (magic & ~uint32_t{VFS_CAP_REVISION_MASK}) | VFS_CAP_REVISION_2;
      std::memcpy(value.data(), &magic, sizeof magic);
      value.resize(XATTR_CAPS_SZ_2);  // v3 is v2 and a root id at the end
      return XattrVerdict::kKeep;
    }
    bool v2 = (magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_2 && value.size() == XATTR_CAPS_SZ_2;
    return v2 ? XattrVerdict::kKeep : XattrVerdict::kDrop;
  }
  return name.substr(0, 5) == "user." ? XattrVerdict::kKeep : XattrVerdict::kDrop;
}

}  // namespace strata
