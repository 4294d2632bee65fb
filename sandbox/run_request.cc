// SPDX-License-Identifier: Apache-2.0
#include "sandbox/run_request.h"

#include "base/path.h"
#include "cache/store.h"

namespace strata {

Result<std::string> SandboxPath(std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return Fail(Errc::kInvalid, "'{}' must be an absolute path in the sandbox", path);
  }
  STRATA_ASSIGN(std::string clean, CleanPath(path));
  if (clean.empty()) return Fail(Errc::kInvalid, "'{}': the root itself cannot be replaced", path);
  return "/" + clean;
}

Result<void> CheckCacheName(const std::string& name) {
  STRATA_TRY(Store::CheckRefName(name));
  if (name.find('/') == std::string::npos) return {};
  return Fail(Errc::kInvalid, "'{}' cannot be a cache: it has a '/'", name);
}

void SetVariable(std::vector<std::string>* env, std::string_view key, std::string_view value) {
  std::string entry = fmt::format("{}={}", key, value);
  for (std::string& existing : *env) {
    if (existing.compare(0, key.size() + 1, entry, 0, key.size() + 1) == 0) {
      existing = std::move(entry);
      return;
    }
  }
  env->push_back(std::move(entry));
}

Result<void> CheckCombination(const RunRequest& request) {
  auto conflict = [&](std::string_view one, std::string_view other, std::string_view why) {
    return Fail(Errc::kInvalid, "{} and {} do not go together: {}", request.Option(one),
                request.Option(other), why);
  };
  if (!request.output_target.empty() && request.output_host.empty() && !request.capture) {
    return Unexpected(Error(Errc::kInvalid, request.Option("output") + ": nothing would receive it")
                          .Hint(*request.option_prefix == '\0'
                                    ? "output_directory, or STRATA_RUN_CAPTURE"
                                    : "--output PATH=HOSTDIR, or --output PATH --capture REF"));
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
