// SPDX-License-Identifier: Apache-2.0
//
// RunRequest: what `strata run` and strata_run() ask a RunSession for, besides the layers.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/id_choice.h"
#include "sandbox/sandbox.h"

namespace strata {

struct RunRequest {
  struct Mount {
    enum class Kind { kBind, kTmpfs, kOutput, kCache };
    Kind kind = Kind::kBind;
    std::string source;  // kBind: absolute path; kCache: the cache's name
    std::string target;  // absolute, as given
    bool read_only = false;
    bool copy_on_write = false;
    uint64_t size = 0;
  };
  std::vector<Mount> mounts;  // in the order given
  std::string output_target;  // of the kOutput among them; empty: there is none
  std::string output_host;    // which receives it: absolute; empty: the captured layer
  bool capture = false;
  std::string capture_ref;  // a name for the captured layer; may be empty
  bool capture_failed = false;
  std::optional<int64_t> mtime;              // of what is captured
  std::optional<int64_t> integration_mtime;  // of what integration commands change
  std::string workspace;
  bool keep_failed = false;
  bool read_only = false;
  bool scratch_tmpfs = false;
  uint64_t scratch_size = 0;
  std::string scratch_directory;  // absolute

  std::string directory = "/";
  std::vector<std::string> env;  // complete
  std::string hostname = "strata";
  IdRequest ids;
  Network network = Network::kNone;
  bool nested_userns = false;
  ChownPolicy chown = ChownPolicy::kFail;
  enum class Seccomp { kBuild, kNone, kFile } seccomp = Seccomp::kBuild;
  std::string seccomp_file;
  uint64_t capabilities = 0;
  SandboxLimits limits;
  int64_t timeout_ms = 0;
  int64_t grace_ms = 10000;

  // See SandboxSpec.
  std::array<int, 3> stdio = {0, 1, 2};
  bool terminal_is_stdin = false;
  bool in_library = false;
  std::optional<struct rlimit> open_files;
  // Where the work began, on CLOCK_MONOTONIC, if before Prepare().
  int64_t start_ns = 0;
  // How messages name what was asked for: "--bind" on a command line, else "bind".
  const char* option_prefix = "";
  std::string Option(std::string_view name) const {
    return std::string(option_prefix).append(name);
  }
};

// A path in the sandbox as a mount's target: absolute and clean.
Result<std::string> SandboxPath(std::string_view path);
Result<void> CheckCacheName(const std::string& name);
// In an environment: replaced, or added.
void SetVariable(std::vector<std::string>* env, std::string_view key, std::string_view value);

// What can be said before anything is looked up: which of these do not go together. kInvalid.
Result<void> CheckCombination(const RunRequest& request);

}  // namespace strata
