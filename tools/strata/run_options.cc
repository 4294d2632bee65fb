// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/run_options.h"

#include <sys/capability.h>

#include <algorithm>
#include <cstdlib>

#include "base/path.h"
#include "cache/store.h"
#include "tools/strata/composition.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

Result<RunRequest::Mount> ParseBind(std::string_view text) {
  RunRequest::Mount mount;
  size_t colon = text.find(':');
  std::string_view source = text.substr(0, colon);
  std::string_view target = source;
  if (colon != std::string_view::npos) {
    target = text.substr(colon + 1);
    if (size_t second = target.find(':'); second != std::string_view::npos) {
      std::string_view mode = target.substr(second + 1);
      target = target.substr(0, second);
      mount.read_only = mode == "ro";
      mount.copy_on_write = mode == "cow";
      if (!mount.read_only && !mount.copy_on_write && mode != "rw") {
        return Fail(Errc::kInvalid, "'{}': a bind is ro, rw or cow", mode);
      }
    }
  }
  if (source.empty()) return Fail(Errc::kInvalid, "'{}' names no source", text);
  STRATA_ASSIGN(mount.source, AbsolutePath(source));
  STRATA_ASSIGN(
      mount.target,
      SandboxPath(colon == std::string_view::npos ? std::string_view(mount.source) : target));
  return mount;
}

Result<RunRequest::Mount> ParseTmpfs(std::string_view text) {
  RunRequest::Mount mount{.kind = RunRequest::Mount::Kind::kTmpfs};
  size_t colon = text.find(':');
  STRATA_ASSIGN(mount.target, SandboxPath(text.substr(0, colon)));
  if (colon != std::string_view::npos) {
    STRATA_ASSIGN(mount.size, ParseSize(text.substr(colon + 1)));
    if (mount.size == 0) return Fail(Errc::kInvalid, "a size of 0");
  }
  return mount;
}

Result<RunRequest::Mount> ParseCache(std::string_view text) {
  RunRequest::Mount mount{.kind = RunRequest::Mount::Kind::kCache};
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return Fail(Errc::kInvalid, "'{}' is not NAME:DST", text);
  mount.source = text.substr(0, colon);
  STRATA_TRY(CheckCacheName(mount.source));
  STRATA_ASSIGN(mount.target, SandboxPath(text.substr(colon + 1)));
  return mount;
}

Result<void> ParseOutput(std::string_view text, RunRequest* request) {
  if (!request->output_target.empty()) {
    return Fail(Errc::kInvalid, "given twice; one output is possible");
  }
  size_t equals = text.find('=');
  STRATA_ASSIGN(request->output_target, SandboxPath(text.substr(0, equals)));
  if (equals != std::string_view::npos) {
    if (equals + 1 == text.size()) return Fail(Errc::kInvalid, "'{}' names no HOSTDIR", text);
    STRATA_ASSIGN(request->output_host, AbsolutePath(text.substr(equals + 1)));
  }
  request->mounts.push_back(
      {.kind = RunRequest::Mount::Kind::kOutput, .target = request->output_target});
  return {};
}

Result<void> ParseScratch(std::string_view text, RunRequest* request) {
  if (text == "tmpfs" || text.substr(0, 6) == "tmpfs:") {
    request->scratch_tmpfs = true;
    request->scratch_directory.clear();
    request->scratch_size = 0;
    if (text.size() > 5) {
      STRATA_ASSIGN(request->scratch_size, ParseSize(text.substr(6)));
    }
    return {};
  }
  request->scratch_tmpfs = false;
  STRATA_ASSIGN(request->scratch_directory, AbsolutePath(text));
  return {};
}

constexpr uint64_t kMostPids = 4 << 20;  // the kernel's own
constexpr uint64_t kMostCpus = 8192;

Result<uint64_t> ParseCapability(std::string_view text) {
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (name == "all") return ~uint64_t{0};
  if (name.compare(0, 4, "cap_") != 0) name.insert(0, "cap_");
  cap_value_t value;
  if (::cap_from_name(name.c_str(), &value) != 0 || value < 0 || value > 63) {
    return Fail(Errc::kInvalid, "there is no capability '{}'", text);
  }
  return uint64_t{1} << value;
}

Result<void> ApplyEnv(std::string_view text, std::vector<std::string>* env) {
  if (text.find('=') == std::string_view::npos) {
    std::string key(text);
    if (key.empty()) return Fail(Errc::kInvalid, "an empty name");
    if (const char* value = std::getenv(key.c_str())) SetVariable(env, key, value);
    return {};
  }
  STRATA_ASSIGN(auto pair, ParseKeyValue(text));
  SetVariable(env, pair.first, pair.second);
  return {};
}

Result<void> Apply(const ParsedOption& option, RunCommandLine* request) {
  const char* value = option.value;
  switch (option.spec->id) {
    case kBind: {
      STRATA_ASSIGN(RunRequest::Mount mount, ParseBind(value));
      request->mounts.push_back(std::move(mount));
      return {};
    }
    case kTmpfs: {
      STRATA_ASSIGN(RunRequest::Mount mount, ParseTmpfs(value));
      request->mounts.push_back(std::move(mount));
      return {};
    }
    case kCache: {
      STRATA_ASSIGN(RunRequest::Mount mount, ParseCache(value));
      request->mounts.push_back(std::move(mount));
      return {};
    }
    case kOutput:
      return ParseOutput(value, request);
    case kCapture:
      request->capture = true;
      request->capture_ref = value;
      return Store::CheckRefName(value);
    case kCaptureFailed:
      request->capture_failed = true;
      return {};
    case kMtime:
      request->mtime.reset();
      if (std::string_view(value) != "keep") {
        STRATA_ASSIGN(request->mtime, ParseEpoch(value));
      }
      return {};
    case kWorkspace:
      request->workspace = value;
      return Store::CheckRefName(value);
    case kScratch:
      return ParseScratch(value, request);
    case kReadOnly:
      request->read_only = true;
      return {};
    case kKeepFailed:
      request->keep_failed = true;
      return {};
    case kStats: {
      STRATA_ASSIGN(request->stats_file, AbsolutePath(value));
      return {};
    }
    case kDieWithParent:
      request->die_with_parent = true;
      return {};
    case kTty:
      request->tty = true;
      return {};
    case kChdir:
      if (value[0] != '/') return Fail(Errc::kInvalid, "'{}' must be an absolute path", value);
      request->directory = value;
      return {};
    case kHostname:
      request->hostname = value;
      if (request->hostname.empty() || request->hostname.size() > 64) {
        return Fail(Errc::kInvalid, "a host name has 1 to 64 bytes");
      }
      return {};
    case kUid: {
      STRATA_ASSIGN(request->ids.uid, ParseId(value));
      return {};
    }
    case kGid: {
      STRATA_ASSIGN(request->ids.gid, ParseId(value));
      return {};
    }
    case kUserns: {
      STRATA_ASSIGN(request->ids.userns, ParseUserns(option));
      return {};
    }
    case kNet: {
      STRATA_ASSIGN(size_t choice, ParseChoice(*option.spec, value));
      request->network = choice == 0 ? Network::kNone : Network::kHost;
      return {};
    }
    case kChown: {
      STRATA_ASSIGN(size_t choice, ParseChoice(*option.spec, value));
      request->chown = choice == 0 ? ChownPolicy::kFail : ChownPolicy::kIgnore;
      return {};
    }
    case kNestedUserns:
      request->nested_userns = true;
      return {};
    case kSeccomp: {
      std::string_view text(value);
      request->seccomp = text == "build"  ? RunRequest::Seccomp::kBuild
                         : text == "none" ? RunRequest::Seccomp::kNone
                                          : RunRequest::Seccomp::kFile;
      request->seccomp_file = text;
      return {};
    }
    case kCapAdd: {
      STRATA_ASSIGN(uint64_t mask, ParseCapability(value));
      request->capabilities |= mask;
      return {};
    }
    case kCapDrop: {
      STRATA_ASSIGN(uint64_t mask, ParseCapability(value));
      request->capabilities &= ~mask;
      return {};
    }
    case kOnConflict: {
      STRATA_ASSIGN(request->on_conflict, ParseConflictPolicy(option));
      return {};
    }
    case kIntegrate: {
      STRATA_ASSIGN(std::string command, ParseIntegration(option));
      request->integration.push_back(std::move(command));
      return {};
    }
    case kMemory: {
      STRATA_ASSIGN(request->limits.memory, ParseSize(value));
      if (request->limits.memory < kLeastMemory) {
        return Fail(Errc::kInvalid, "'{}' is too little: {} is the least", value,
                    FormatSize(kLeastMemory));
      }
      return {};
    }
    case kPids: {
      STRATA_ASSIGN(request->limits.pids, ParseNumber(value, kMostPids));
      if (request->limits.pids == 0) return Fail(Errc::kInvalid, "the command itself is one");
      return {};
    }
    case kCpus: {
      auto milli = ParseThousandths(value, kMostCpus);
      if (!milli || *milli < 10) {
        return Fail(Errc::kInvalid, "'{}' is not a number of processors, as 4 or 0.5", value);
      }
      request->limits.cpu_milli = *milli;
      return {};
    }
    case kGrace: {
      STRATA_ASSIGN(auto time, ParseDuration(value));
      request->grace_ms = time.count();
      return {};
    }
    case kTimeout: {
      STRATA_ASSIGN(auto time, ParseDuration(value));
      request->timeout_ms = time.count();
      if (request->timeout_ms == 0) return Fail(Errc::kInvalid, "a timeout of 0");
      return {};
    }
    default:  // kClearEnv and kEnv: see ParseRunOptions; --quiet: main()
      return {};
  }
}

}  // namespace

std::span<const OptionSpec> RunOptions() {
  return kRunOptions;
}

Result<ConflictPolicy> ParseConflictPolicy(const ParsedOption& option) {
  constexpr ConflictPolicy kPolicies[] = {ConflictPolicy::kError, ConflictPolicy::kReplace,
                                          ConflictPolicy::kSkip};
  STRATA_ASSIGN(size_t choice, ParseChoice(*option.spec, option.value));
  return kPolicies[choice];
}

Result<std::string> ParseIntegration(const ParsedOption& option) {
  if (*option.value == '\0') return Fail(Errc::kInvalid, "an empty command");
  return option.value;
}

Result<Userns> ParseUserns(const ParsedOption& option) {
  STRATA_ASSIGN(size_t choice, ParseChoice(*option.spec, option.value));
  return static_cast<Userns>(choice);
}

Result<RunCommandLine> ParseRunOptions(const ParsedArgs& args) {
  RunCommandLine request;
  request.option_prefix = "--";
  request.capabilities = DefaultCapabilities();
  STRATA_ASSIGN(request.mtime, SourceDateEpoch());
  request.integration_mtime = request.mtime;
  for (const ParsedOption& option : args.options) {
    STRATA_TRY_WITH(Apply(option, &request), fmt::format("--{}", option.spec->name));
  }
  if (!args.Has(kClearEnv)) {
    const char* term = std::getenv("TERM");
    request.env = DefaultEnvironment(request.ids.uid, term != nullptr ? term : "");
  }
  for (const ParsedOption& option : args.options) {
    if (option.spec->id == kEnv) {
      STRATA_TRY_WITH(ApplyEnv(option.value, &request.env), "--env");
    }
  }
  STRATA_TRY(CheckCombination(request));
  request.layers.layers.assign(args.operands.begin(), args.operands.end());
  if (const char* file = args.Get(kLayersFrom)) request.layers.layers_from = file;
  if (args.command != nullptr) {
    for (char** arg = args.command; *arg != nullptr; ++arg) request.argv.emplace_back(*arg);
  }
  return request;
}

}  // namespace strata
