// SPDX-License-Identifier: Apache-2.0
#include "base/copy_tree.h"

#include "base/helper_program.h"

namespace strata {

Result<void> CopyTree(const std::string& from, const std::string& to) {
  static constexpr const char* kEnvironment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C",
                                                 nullptr};
  HelperProgram::Setup setup;
  setup.env = kEnvironment;
  STRATA_TRY_WITH(
      RunHelperProgram({"cp", "-a", "--reflink=auto", "--", from + "/.", to + "/"}, setup),
      fmt::format("copy {} to {}", from, to));
  return {};
}

}  // namespace strata
