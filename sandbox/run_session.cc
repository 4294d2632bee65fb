// SPDX-License-Identifier: Apache-2.0
#include "sandbox/run_session.h"

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "sandbox/child_plan.h"
#include "sandbox/compose_root.h"
#include "stager/scratch.h"

namespace strata {
namespace {

bool IsReadOnly(const Error& error) {
  return error.sys_errno() == EROFS || error.sys_errno() == EACCES || error.sys_errno() == EPERM;
}

}  // namespace

Result<void> RunSession::Prepare(DependencySet set) {
  set_ = std::move(set);
  SetIntegrationIds(request_.ids.userns, &set_);
  STRATA_TRY(Begin());
  STRATA_TRY(Compose());
  return PrepareStage();
}

Result<void> RunSession::Prepare(const CachedRoot& root) {
  STRATA_ASSIGN(set_, DependencySet::Decode(root.encoded_set));
  root_ = &root;
  STRATA_TRY(Begin());
  return PrepareStage();
}

// Before anything is made: what took an hour to make needs a place to go.
Result<void> RunSession::Begin() {
  report_.start_ns = request_.start_ns != 0 ? request_.start_ns : MonotonicNs();
  if (request_.seccomp == RunRequest::Seccomp::kFile) {
    STRATA_ASSIGN_WITH(filter_, LoadFilterFile(request_.seccomp_file), request_.Option("seccomp"));
  }
  if (!request_.output_host.empty()) {
    auto find = [&]() -> Result<void> {
      STRATA_ASSIGN(output_place_, FindHostPlace(request_.output_host));
      return CheckFree(output_place_);
    };
    STRATA_TRY_WITH(find(), fmt::format("{} {}", request_.Option("output"), request_.output_host));
  }
  return PlanMounts(&stage_options_.mount_points);
}

Result<void> RunSession::Compose() {
  const CompositionOptions options{.mtime = request_.integration_mtime,
                                   .open_files = request_.open_files,
                                   .timeout_ms = request_.timeout_ms,
                                   .grace_ms = request_.grace_ms};
  STRATA_ASSIGN(Composition composition, strata::Compose(store_, set_, options, observer_));
  own_root_ = std::move(composition.root);
  root_ = &*own_root_;
  report_.compose_ns = composition.compose_ns;
  return {};
}

Result<void> RunSession::PrepareStage() {
  STRATA_TRY(FindIds());
  STRATA_TRY(LockCaches());
  using Upper = StageOptions::Upper;
  stage_options_.upper = request_.read_only                    ? Upper::kNone
                         : !request_.workspace.empty()         ? Upper::kWorkspace
                         : request_.scratch_tmpfs              ? Upper::kTmpfs
                         : !request_.scratch_directory.empty() ? Upper::kDirectory
                                                               : Upper::kStore;
  stage_options_.workspace = request_.workspace;
  stage_options_.directory = request_.scratch_directory;
  for (const SetItem& item : set_.items) {
    if (!item.directory.empty()) stage_options_.items.push_back(item);
  }
  STRATA_TRY(MakeStage());
  report_.staged_ns = MonotonicNs();
  return {};
}

Result<void> RunSession::MakeStage() {
  Result<void> made = TryMakeStage();
  // A store that cannot be written to is no reason not to run, unless something is to be kept
  // there.
  while (!made && IsReadOnly(made.error()) && !request_.capture && NextScratch()) {
    made = TryMakeStage();
  }
  if (made) return made;
  STRATA_ASSIGN(bool changed, DoWithOneId());
  if (changed) return {};
  STRATA_ASSIGN(bool replaced, ReplaceLostRoot());
  return replaced ? MakeStage() : made;
}

Result<void> RunSession::TryMakeStage() {
  stage_.reset();
  STRATA_ASSIGN_WITH(
      stage_, Stage::Prepare(store_, root_->content, root_->Leases(), stage_options_), "stage");
  return FillMountSources();
}

// Looked for when something has failed: a hit looks at no layer. What was derived from layers is
// made again, once; what was imported cannot be.
Result<bool> RunSession::ReplaceLostRoot() {
  STRATA_ASSIGN(std::optional<std::string> lost, FindLostLower(store_, *root_));
  if (!lost || replaced_root_ || !own_root_) return false;
  stage_.reset();
  STRATA_TRY(DropLostRoot(store_, std::move(*own_root_), *lost));
  STRATA_TRY(Compose());
  replaced_root_ = true;
  return true;
}

Result<void> RunSession::FindIds() {
  STRATA_ASSIGN(ids_, ChooseIds(request_.ids, root_->content.needs_range));
  stage_options_.mapping = ids_.range;
  stage_options_.materialise.unmapped =
      request_.ids.userns == Userns::kAuto ? UnmappedOwner::kCaller : UnmappedOwner::kFail;
  return {};
}

// Asked when something has failed: newuidmap may be there and not work. False where it does, or
// where nothing but a range will do.
Result<bool> RunSession::DoWithOneId() {
  if (!ids_.range || request_.ids.userns == Userns::kSubuid) return false;
  Result<void> tried = TryRange(*ids_.range);
  if (tried) return false;
  ids_.missing = std::move(tried).error();
  ids_.range.reset();
  stage_options_.mapping.reset();
  STRATA_TRY(MakeStage());
  return true;
}

bool RunSession::NextScratch() {
  using Upper = StageOptions::Upper;
  // A capture of all changes can do with a directory anywhere, but not with a tmpfs that is gone.
  bool captures_upper = request_.capture && request_.output_target.empty();
  if (stage_options_.upper == Upper::kStore) {
    other_scratches_ = ScratchElsewhere();
    std::reverse(other_scratches_.begin(), other_scratches_.end());
  } else if (stage_options_.upper != Upper::kDirectory || !request_.scratch_directory.empty()) {
    return false;  // asked for by name
  }
  if (!other_scratches_.empty()) {
    stage_options_.upper = Upper::kDirectory;
    stage_options_.directory = other_scratches_.back();
    other_scratches_.pop_back();
    return true;
  }
  stage_options_.upper = Upper::kTmpfs;
  return !captures_upper;
}

// The directories that the stage makes for mounts.
Result<void> RunSession::FillMountSources() {
  int copy_on_write = 0;
  for (SandboxMount& mount : mounts_) {
    if (mount.kind == SandboxMount::Kind::kCopyOnWrite) {
      int number = copy_on_write++;
      STRATA_ASSIGN(mount.upper, stage_->MakeDirectory(fmt::format("cow-{}-upper", number)));
      STRATA_ASSIGN(mount.work, stage_->MakeDirectory(fmt::format("cow-{}-work", number)));
    } else if (output_mount_ && &mount == &mounts_[*output_mount_]) {
      STRATA_ASSIGN(output_, stage_->MakeDirectory("output"));
      mount.source = output_;
    }
  }
  return {};
}

Result<std::string> RunSession::FindShell() {
  STRATA_ASSIGN(const LowerChain* chain, stage_->Chain());
  for (const char* shell : {"/bin/bash", "/bin/sh"}) {
    STRATA_ASSIGN(ResolvedPath resolved, ResolveInChain(*chain, shell + 1));
    if (resolved.found) return shell;
  }
  return Unexpected(
      Error(Errc::kNotFound, "there is no shell in these layers").Hint("add a layer with /bin/sh"));
}

SandboxSpec RunSession::MakeSpec(int signal_fd, int control_fd, Terminal* terminal) {
  using Upper = StageOptions::Upper;
  SandboxSpec spec;
  spec.root.directory = store_.path();
  spec.root.attach_at = "mnt";
  spec.root.lowers = stage_->lowers();
  spec.root.upper = stage_->upper();
  spec.root.work = stage_->work();
  spec.root.tmpfs_upper = stage_options_.upper == Upper::kTmpfs;
  spec.root.tmpfs_size = request_.scratch_size;
  spec.root.uniform_inodes =
      stage_options_.upper == Upper::kTmpfs || stage_options_.upper == Upper::kDirectory;
  spec.mounts = mounts_;
  spec.argv = report_.argv;
  spec.env = request_.env;
  spec.directory = request_.directory;
  spec.hostname = request_.hostname;
  spec.uid = request_.ids.uid;
  spec.gid = request_.ids.gid;
  spec.ids = ids_.range;
  spec.network = request_.network;
  spec.nested_userns = request_.nested_userns;
  if (request_.seccomp == RunRequest::Seccomp::kBuild) {
    spec.seccomp = BuildFilter(
        request_.chown, request_.nested_userns ? NestedUserns::kAllowed : NestedUserns::kDenied);
  } else if (request_.seccomp == RunRequest::Seccomp::kFile) {
    spec.seccomp = View(filter_);
    spec.seccomp_is_foreign = true;
  }
  spec.capabilities = request_.capabilities;
  spec.stdio = request_.stdio;
  spec.terminal = terminal;
  spec.terminal_is_stdin = request_.terminal_is_stdin;
  spec.open_files = request_.open_files;
  spec.limits = request_.limits;
  spec.timeout_ms = request_.timeout_ms;
  spec.grace_ms = request_.grace_ms;
  spec.held = stage_->Held();
  for (const FileLock& lock : cache_locks_) spec.held.push_back(lock.fd());
  spec.signal_fd = signal_fd;
  spec.control_fd = control_fd;
  spec.in_library = request_.in_library;
  spec.meanwhile = [this](const std::function<bool()>& ended) { stage_->SweepUp(ended); };
  return spec;
}

Result<void> RunSession::Run(std::vector<std::string> argv, Terminal* terminal, int signal_fd,
                             int control_fd) {
  report_.argv = std::move(argv);
  Result<SandboxResult> result = RunSandbox(MakeSpec(signal_fd, control_fd, terminal));
  if (!result) {
    STRATA_ASSIGN(bool changed, DoWithOneId());
    if (changed) result = RunSandbox(MakeSpec(signal_fd, control_fd, terminal));
  }
  while (!result && result.error().code() == Errc::kUnsupported && NextScratch()) {
    STRATA_TRY(MakeStage());
    result = RunSandbox(MakeSpec(signal_fd, control_fd, terminal));
  }
  if (!result) {
    STRATA_ASSIGN(bool replaced, ReplaceLostRoot());
    if (replaced) {
      STRATA_TRY(MakeStage());
      result = RunSandbox(MakeSpec(signal_fd, control_fd, terminal));
    }
  }
  if (!result) return Unexpected(std::move(result).error());
  report_.sandbox = std::move(*result);
  report_.ran_ns = MonotonicNs();
  return {};
}

}  // namespace strata
