// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/run_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>

#include "base/io.h"
#include "base/sys.h"
#include "sandbox/child_plan.h"
#include "sandbox/compose_root.h"
#include "base/mount_table.h"
#include "stager/scratch.h"

namespace strata {
namespace {

using Kind = RunRequest::Mount::Kind;

bool IsBelow(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.substr(0, directory.size()) == directory &&
         path[directory.size()] == '/';
}

bool IsReadOnly(const Error& error) {
  return error.sys_errno() == EROFS || error.sys_errno() == EACCES || error.sys_errno() == EPERM;
}

// Standard output or error, where the file is the one that is open there; else -1.
int StandardStream(const struct stat& file) {
  for (int fd : {1, 2}) {
    struct stat st;
    if (::fstat(fd, &st) == 0 && st.st_dev == file.st_dev && st.st_ino == file.st_ino) return fd;
  }
  return -1;
}

// The path without links, for comparing; empty where there is none.
std::string RealPath(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return {};
  std::string result(real);
  std::free(real);
  return result;
}

// An earlier command may have shut it or, with a range of ids, given it away. Nobody can have made it
// a link.
bool RegainDirectory(int dir_fd, const std::string& path) {
  if (::fchmodat(dir_fd, path.c_str(), 0700, 0) == 0) return true;
  Result<IdMapping> range = SubordinateIds();
  if (!range) return false;
  Result<void> regained = RunInMapping(*range, [&]() -> Result<void> {
    if (::fchownat(dir_fd, path.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) == 0 &&
        ::fchmodat(dir_fd, path.c_str(), 0700, 0) == 0) {
      return {};
    }
    return FailSys(errno, "chown", path);
  });
  return regained.has_value();
}

}  // namespace

Result<void> RunSession::Prepare() {
  start_ns_ = MonotonicNs();
  STRATA_ASSIGN(store_, context_.OpenStore());
  STRATA_ASSIGN(set_, ReadLayerArgs(*store_, request_.layers));
  set_.integration.insert(set_.integration.end(), request_.integration.begin(),
                          request_.integration.end());
  if (request_.on_conflict) set_.on_conflict = *request_.on_conflict;
  SetIntegrationIds(request_.ids.userns, &set_);
  if (request_.seccomp == RunRequest::Seccomp::kFile) {
    STRATA_ASSIGN_WITH(filter_, LoadFilterFile(request_.seccomp_file), "--seccomp");
  }
  STRATA_TRY(FindHostPlaces());
  STRATA_TRY(PlanMounts(&stage_options_.mount_points));
  STRATA_ASSIGN(composition_, Compose(context_, set_));
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
  staged_ns_ = MonotonicNs();
  return {};
}

// Before the command runs: what took an hour to make needs a place to go.
Result<void> RunSession::FindHostPlaces() {
  if (!request_.output_host.empty()) {
    auto find = [&]() -> Result<void> {
      STRATA_ASSIGN(output_place_, FindHostPlace(request_.output_host));
      return CheckFree(output_place_);
    };
    STRATA_TRY_WITH(find(), fmt::format("--output {}", request_.output_host));
  }
  if (request_.stats_file.empty()) return {};
  struct stat st;
  const bool exists = sys::FstatAt(AT_FDCWD, request_.stats_file.c_str(), &st, 0) == 0;
  if (int stream = exists ? StandardStream(st) : -1; stream >= 0) {
    // /dev/stdout while that is a log: a rename would take the place of the link in /dev.
    STRATA_ASSIGN(stats_fd_, sys::CheckFd(::fcntl(stream, F_DUPFD_CLOEXEC, 3), "fcntl", "--stats"));
    return {};
  }
  if (exists && !S_ISREG(st.st_mode)) {
    // /dev/stdout or a fifo is written to; a rename would take its place.
    STRATA_ASSIGN_WITH(stats_fd_, OpenAt(AT_FDCWD, request_.stats_file, O_WRONLY | O_NOCTTY),
                       "--stats");
    return {};
  }
  STRATA_ASSIGN_WITH(stats_place_, FindHostPlace(request_.stats_file), "--stats");
  return {};
}

Result<void> RunSession::MakeStage() {
  Result<void> made = TryMakeStage();
  // A store that cannot be written to is no reason not to run, unless something is to be kept
  // there.
  while (!made && IsReadOnly(made.error()) && request_.capture.empty() && NextScratch()) {
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
  const CachedRoot& root = composition_->root;
  STRATA_ASSIGN_WITH(stage_, Stage::Prepare(*store_, root.content, root.Leases(), stage_options_),
                     "stage");
  return FillMountSources();
}

// Looked for when something has failed: a hit looks at no layer. What was derived from layers is
// made again, once; what was imported cannot be.
Result<bool> RunSession::ReplaceLostRoot() {
  STRATA_ASSIGN(std::optional<std::string> lost, FindLostLower(*store_, composition_->root));
  if (!lost || replaced_root_) return false;
  stage_.reset();
  STRATA_TRY(DropLostRoot(*store_, std::move(composition_->root), *lost));
  STRATA_ASSIGN(composition_, Compose(context_, set_));
  replaced_root_ = true;
  return true;
}

Result<void> RunSession::FindIds() {
  STRATA_ASSIGN(ids_, ChooseIds(request_.ids, composition_->root.content.needs_range));
  stage_options_.mapping = ids_.range;
  stage_options_.materialise.unmapped = request_.ids.userns == Userns::kAuto
                                            ? UnmappedOwner::kCaller
                                            : UnmappedOwner::kFail;
  return {};
}

// Asked when something has failed: newuidmap may be there and not work. False where it does, or where
// nothing but a range will do.
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
  bool captures_upper = !request_.capture.empty() && request_.output_target.empty();
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

// Which mount points the skeleton must have. Those below a tmpfs of ours are made there, by the
// sandbox.
Result<void> RunSession::PlanMounts(std::vector<MountPoint>* points) {
  for (const RunRequest::Mount& mount : request_.mounts) {
    switch (mount.kind) {
      case Kind::kBind:
        STRATA_TRY_WITH(PlanBind(mount, points), fmt::format("--bind {}", mount.source));
        break;
      case Kind::kTmpfs:
        AddMount({.kind = SandboxMount::Kind::kTmpfs, .target = mount.target, .size = mount.size},
                 true, points);
        in_memory_.push_back(mount.target);
        break;
      case Kind::kOutput:
        output_mount_ = mounts_.size();
        AddMount({.target = mount.target}, true, points);  // its source comes with the stage
        break;
      case Kind::kCache:
        AddMount({.source = "caches/" + mount.source, .target = mount.target}, true, points);
        break;
    }
  }
  if (request_.network == Network::kHost) STRATA_TRY(PlanHostNetworkFiles(points));
  return {};
}

void RunSession::AddMount(SandboxMount mount, bool directory, std::vector<MountPoint>* points) {
  for (const std::string& tmpfs : in_memory_) {
    if (IsBelow(mount.target, tmpfs)) {
      mount.make_target =
          directory ? SandboxMount::MakeTarget::kDirectory : SandboxMount::MakeTarget::kFile;
    }
  }
  if (mount.make_target == SandboxMount::MakeTarget::kNo) {
    points->push_back({mount.target.substr(1), directory});
  }
  mounts_.push_back(std::move(mount));
}

Result<void> RunSession::PlanBind(const RunRequest::Mount& mount, std::vector<MountPoint>* points) {
  struct stat st;
  int rc = sys::FstatAt(AT_FDCWD, mount.source.c_str(), &st, 0);
  if (rc < 0) return FailSys(-rc, "stat", mount.source);
  bool directory = S_ISDIR(st.st_mode);
  if (mount.copy_on_write && !directory) {
    return Fail(Errc::kInvalid, "{} is not a directory: only one can be copy-on-write",
                mount.source);
  }
  std::string source = RealPath(mount.source);
  STRATA_ASSIGN(std::vector<std::string> stores, PathsOfDirectory(RealPath(store_->path())));
  for (const std::string& store : stores) {
    if (source != store && !IsBelow(source, store)) continue;
    return Fail(Errc::kInvalid, "it is in the store, which no sandbox may see");
  }
  AddMount(
      {.kind = mount.copy_on_write ? SandboxMount::Kind::kCopyOnWrite : SandboxMount::Kind::kBind,
       .source = mount.source,
       .target = mount.target,
       .read_only = mount.read_only},
      directory, points);
  for (const std::string& store : stores) {
    if (!IsBelow(store, source)) continue;
    // Nothing of the store may be reached, let alone written to, through a bind of what holds it.
    mounts_.push_back({.kind = SandboxMount::Kind::kTmpfs,
                       .target = mount.target + store.substr(source.size()),
                       .size = 4096});
  }
  return {};
}

// With the host's network come its names, read-only. Absolute links are the host's business.
Result<void> RunSession::PlanHostNetworkFiles(std::vector<MountPoint>* points) {
  for (const char* file : {"/etc/resolv.conf", "/etc/hosts"}) {
    std::string source = RealPath(file);
    if (source.empty()) continue;
    AddMount({.source = source, .target = file, .read_only = true}, false, points);
  }
  return {};
}

// Each once, and in the order of their names: two runs that share several never wait for each
// other.
Result<void> RunSession::LockCaches() {
  std::set<std::string> names;
  for (const RunRequest::Mount& mount : request_.mounts) {
    if (mount.kind == Kind::kCache) names.insert(mount.source);
  }
  for (const std::string& name : names) {
    STRATA_TRY_WITH(LockCache(name), fmt::format("--cache {}", name));
  }
  return {};
}

Result<void> RunSession::LockCache(const std::string& name) {
  std::string path = "caches/" + name;
  STRATA_TRY(MakeDirs(store_->fd(), path, 0700));
  auto lock = FileLock::OnDirectory(store_->fd(), path, LockMode::kExclusive, LockWait::kFail);
  if (!lock && lock.error().sys_errno() == EACCES && RegainDirectory(store_->fd(), path)) {
    lock = FileLock::OnDirectory(store_->fd(), path, LockMode::kExclusive, LockWait::kFail);
  }
  if (!lock && lock.error().code() == Errc::kBusy) {
    if (!context_.quiet) PrintWarning(fmt::format("waiting for cache {}", name));
    lock = FileLock::OnDirectory(store_->fd(), path, LockMode::kExclusive, LockWait::kBlock);
  }
  if (!lock) return Unexpected(std::move(lock).error());
  cache_locks_.push_back(std::move(*lock));
  return {};
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

SandboxSpec RunSession::MakeSpec(int signal_fd, Terminal* terminal) {
  using Upper = StageOptions::Upper;
  SandboxSpec spec;
  spec.root.directory = store_->path();
  spec.root.attach_at = "mnt";
  spec.root.lowers = stage_->lowers();
  spec.root.upper = stage_->upper();
  spec.root.work = stage_->work();
  spec.root.tmpfs_upper = stage_options_.upper == Upper::kTmpfs;
  spec.root.tmpfs_size = request_.scratch_size;
  spec.root.uniform_inodes =
      stage_options_.upper == Upper::kTmpfs || stage_options_.upper == Upper::kDirectory;
  spec.mounts = mounts_;
  spec.argv = argv_;
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
  spec.terminal = terminal;
  spec.open_files = context_.original_nofile;
  spec.limits = request_.limits;
  spec.timeout_ms = request_.timeout_ms;
  spec.grace_ms = request_.grace_ms;
  spec.held = stage_->Held();
  for (const FileLock& lock : cache_locks_) spec.held.push_back(lock.fd());
  spec.signal_fd = signal_fd;
  spec.meanwhile = [this](const std::function<bool()>& ended) { stage_->SweepUp(ended); };
  return spec;
}

Result<void> RunSession::Run(std::vector<std::string> argv, Terminal* terminal, int signal_fd) {
  argv_ = std::move(argv);
  Result<SandboxResult> result = RunSandbox(MakeSpec(signal_fd, terminal));
  if (!result) {
    STRATA_ASSIGN(bool changed, DoWithOneId());
    if (changed) result = RunSandbox(MakeSpec(signal_fd, terminal));
  }
  while (!result && result.error().code() == Errc::kUnsupported && NextScratch()) {
    STRATA_TRY(MakeStage());
    result = RunSandbox(MakeSpec(signal_fd, terminal));
  }
  if (!result) {
    STRATA_ASSIGN(bool replaced, ReplaceLostRoot());
    if (replaced) {
      STRATA_TRY(MakeStage());
      result = RunSandbox(MakeSpec(signal_fd, terminal));
    }
  }
  if (!result) return Unexpected(std::move(result).error());
  result_ = std::move(*result);
  ran_ns_ = MonotonicNs();
  return {};
}

}  // namespace strata
