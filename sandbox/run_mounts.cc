// SPDX-License-Identifier: Apache-2.0
//
// What of a RunSession is about mounts and caches: planned before anything is made.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/io.h"
#include "base/mount_table.h"
#include "base/sys.h"
#include "cache/kept.h"
#include "sandbox/run_session.h"

namespace strata {
namespace {

using Kind = RunRequest::Mount::Kind;

bool IsBelow(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.substr(0, directory.size()) == directory &&
         path[directory.size()] == '/';
}

}  // namespace

// Which mount points the skeleton must have. Those below a tmpfs of ours are made there, by the
// sandbox.
Result<void> RunSession::PlanMounts(std::vector<MountPoint>* points) {
  for (const RunRequest::Mount& mount : request_.mounts) {
    switch (mount.kind) {
      case Kind::kBind:
        STRATA_TRY_WITH(PlanBind(mount, points),
                        fmt::format("{} {}", request_.Option("bind"), mount.source));
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
  std::string source = RealPath(mount.source).value_or("");
  STRATA_ASSIGN(std::vector<std::string> stores,
                PathsOfDirectory(RealPath(store_.path()).value_or("")));
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
    std::string source = RealPath(file).value_or("");
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
    STRATA_TRY_WITH(LockCache(name), fmt::format("{} {}", request_.Option("cache"), name));
  }
  return {};
}

Result<void> RunSession::LockCache(const std::string& name) {
  Result<FileLock> lock;
  do {  // again where somebody has removed it since
    STRATA_TRY(MakeDirs(store_.fd(), "caches/" + name, 0700));
    lock = LockKept(store_, KeptKind::kCache, name, LockWait::kFail);
    if (!lock && lock.error().code() == Errc::kBusy) {
      observer_.Warn(fmt::format("waiting for cache {}", name));
      lock = LockKept(store_, KeptKind::kCache, name, LockWait::kBlock);
    }
  } while (!lock && lock.error().sys_errno() == ENOENT);
  if (!lock) return Unexpected(std::move(lock).error());
  cache_locks_.push_back(std::move(*lock));
  return {};
}

}  // namespace strata
