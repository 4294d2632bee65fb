// SPDX-License-Identifier: Apache-2.0
#include "sandbox/run_request.h"

namespace strata {

Result<void> CheckCombination(const RunRequest& request) {
  auto conflict = [&](std::string_view one, std::string_view other, std::string_view why) {
    return Fail(Errc::kInvalid, "{} and {} do not go together: {}", request.Option(one),
                request.Option(other), why);
  };
  if (!request.output_target.empty() && request.output_host.empty() && !request.capture) {
    return Unexpected(Error(Errc::kInvalid, request.Option("output") + ": nothing would receive it")
                          .Hint(fmt::format("{0} PATH=HOSTDIR, or {0} PATH {1} REF",
                                            request.Option("output"), request.Option("capture"))));
  }
  if (!request.output_host.empty() && request.capture) {
    return conflict("output PATH=HOSTDIR", "capture", "one of them receives the output");
  }
  bool captures_upper = request.capture && request.output_target.empty();
  if (request.read_only) {
    if (captures_upper) return conflict("read-only", "capture", "there is nothing to capture");
    if (!request.workspace.empty()) return conflict("read-only", "workspace", "it is written to");
    if (request.scratch_tmpfs || !request.scratch_directory.empty()) {
      return conflict("read-only", "scratch", "nothing is written");
    }
  }
  if (request.scratch_tmpfs && captures_upper) {
    return conflict("scratch tmpfs", "capture", "it is gone when the command ends");
  }
  if (!request.workspace.empty() && (request.scratch_tmpfs || !request.scratch_directory.empty())) {
    return conflict("workspace", "scratch", "a workspace is in the store");
  }
  if (request.chown == ChownPolicy::kIgnore && request.seccomp != RunRequest::Seccomp::kBuild) {
    return conflict("chown ignore", "seccomp", "it is a part of the build filter");
  }
  return {};
}

}  // namespace strata
