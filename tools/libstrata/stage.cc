// SPDX-License-Identifier: Apache-2.0
#include "tools/libstrata/stage.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/id_map.h"
#include "base/own_thread.h"
#include "base/path.h"
#include "base/sys.h"
#include "stager/overlay.h"

strata_stage::~strata_stage() {
  if (stage && !owner.IsOwn()) stage->Abandon();
  if (watch >= 0 && owner.IsOwn()) root->store->watches.Forget(watch);
}

namespace strata {
namespace {

Result<StageOptions> Translate(const strata_stage_options& given, const RootData& root) {
  STRATA_TRY(CheckEnum(given.upper, STRATA_UPPER_DIRECTORY, "upper"));
  StageOptions options;
  options.points = MountPoints::kListed;
  options.items = root.items;
  for (const std::string& point : TextList(given.mount_points)) {
    STRATA_ASSIGN_WITH(std::string clean, CleanPath(point), "mount_points");
    if (clean.empty()) return Fail(Errc::kInvalid, "mount_points: / needs none");
    options.mount_points.push_back({std::move(clean), true});
  }
  if (given.upper == STRATA_UPPER_NONE) {
    options.upper = StageOptions::Upper::kNone;
  } else if (given.upper == STRATA_UPPER_DIRECTORY) {
    options.upper = StageOptions::Upper::kDirectory;
    STRATA_ASSIGN(std::string directory, Text(given.directory, "directory"));
    if (directory.empty()) return Fail(Errc::kInvalid, "directory: is empty");
    STRATA_ASSIGN(options.directory, AbsolutePath(directory));
  }
  return options;
}

// Of root, all that there are in its namespace; else none but its own.
std::optional<IdMapping> OwnIds() {
  if (::geteuid() != 0) return std::nullopt;
  Result<IdMapping> ids = SubordinateIds();
  if (!ids || ids->IsSingle()) return std::nullopt;
  return std::move(*ids);
}

// The thread's own mount namespace may show something else there than where the store was opened.
Result<void> CheckInStore(const Store& store) {
  struct stat opened;
  struct stat here;
  if (::fstat(store.fd(), &opened) != 0) return FailSys(errno, "fstat", store.path());
  STRATA_TRY(sys::Check(sys::FstatAt(AT_FDCWD, ".", &here), "stat", store.path()));
  if (opened.st_dev == here.st_dev && opened.st_ino == here.st_ino) return {};
  return Fail(Errc::kInvalid, "{} is not the store in this mount namespace", store.path());
}

Error ExplainMount(const ChildFailure& failure) {
  Error error = failure.ToError();
  if (failure.sys_errno != EPERM && failure.sys_errno != EACCES) return error;
  return std::move(error).Hint(
      "mounting needs CAP_SYS_ADMIN in the thread's namespaces: be root, or call "
      "unshare(CLONE_NEWUSER | CLONE_NEWNS) first");
}

// A capture has to know when it is gone. For a thread whose working directory is its own.
Result<int> Watch(const OpenStore& store, const UniqueFd& mount) {
  if (::fchdir(mount.get()) != 0) return FailSys(errno, "fchdir", "the mount");
  Result<int> watch = store.watches.WatchHere();
  // Whoever waits for the thread may go on, and unmount, before the kernel has ended it.
  if (::fchdir(store.fd()) != 0) return FailSys(errno, "fchdir", store.path());
  return watch;
}

Result<UniqueFd> Mount(strata_stage& handle) {
  Stage& stage = *handle.stage;
  const OpenStore& store = *handle.root->store;
  if (!stage.upper().empty()) STRATA_TRY(store.watches.Prepare());
  // Used by old kernels only. In the scratch, which is ours alone; a read-only stage may have none.
  // It is there already where mounting has failed before.
  if (handle.attach_at.empty()) {
    STRATA_ASSIGN(handle.attach_at, stage.MakeDirectory("mnt"));
  }
  std::vector<const char*> lowers;
  for (const std::string& lower : stage.lowers()) lowers.push_back(lower.c_str());
  OverlayPlan plan;
  plan.lowers = lowers.data();
  plan.lower_count = lowers.size();
  plan.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (stage.upper().empty()) {
    plan.attributes |= MOUNT_ATTR_RDONLY;
  } else {
    plan.upper = stage.upper().c_str();
    plan.work = stage.work().c_str();
    plan.uniform_inodes = stage.upper().front() == '/';
  }
  UniqueFd mount;
  auto make = [&]() -> Result<void> {
    STRATA_TRY(CheckInStore(store));
    ChildFailure failure;
    mount.reset(MountDetachedOverlay(plan, handle.attach_at.c_str(), &failure));
    if (!mount.valid()) return Unexpected(ExplainMount(failure));
    if (plan.upper == nullptr) return {};
    STRATA_ASSIGN(handle.watch, Watch(store, mount));
    return {};
  };
  STRATA_TRY(InDirectory(store.path(), make));
  struct stat st;
  if (::fstat(mount.get(), &st) != 0) return FailSys(errno, "fstat", "the mount");
  handle.device = st.st_dev;
  handle.mounted = true;
  return mount;
}

Result<UniqueFd> MountOnce(strata_stage* stage) {
  STRATA_TRY(Need(stage, "stage"));
  if (!stage->stage) return Fail(Errc::kInvalid, "the stage was captured");
  if (!stage->owner.IsOwn()) return Fail(Errc::kInvalid, "the stage is the parent process's");
  if (stage->mounted) return Fail(Errc::kInvalid, "the stage was mounted before");
  return Mount(*stage);
}

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Need;
using strata::Result;

int strata_stage_open(const strata_root* root, const strata_stage_options* options,
                      strata_stage** stage, strata_error** error) {
  if (stage != nullptr) *stage = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(stage, "stage"));
    STRATA_TRY(Need(root, "root"));
    STRATA_ASSIGN(strata_stage_options given, strata::ReadOptions(options, "strata_stage_options"));
    const strata::RootData& data = *root->data;
    STRATA_ASSIGN(strata::StageOptions wanted, strata::Translate(given, data));
    auto handle = std::make_unique<strata_stage>();
    handle->root = root->data;
    STRATA_TRY(handle->owner.Make());
    handle->ids = strata::OwnIds();
    wanted.mapping = handle->ids;
    wanted.materialise.unmapped = strata::UnmappedOwner::kCaller;
    STRATA_ASSIGN(handle->stage, strata::Stage::Prepare(*data.store, data.root.content,
                                                        data.root.Leases(), wanted));
    *stage = handle.release();
    return {};
  });
}

int strata_stage_mount(strata_stage* stage, int* mount_fd, strata_error** error) {
  if (mount_fd != nullptr) *mount_fd = -1;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(mount_fd, "mount_fd"));
    STRATA_ASSIGN(strata::UniqueFd mount, strata::MountOnce(stage));
    *mount_fd = mount.release();
    return {};
  });
}

int strata_stage_mount_at(strata_stage* stage, const char* path, strata_error** error) {
  return Call(error, [&]() -> Result<void> {
    STRATA_ASSIGN(std::string where, strata::Text(path, "path"));
    // Looked at first: a stage is mounted once.
    STRATA_ASSIGN(strata::UniqueFd directory,
                  strata::sys::CheckFd(strata::sys::OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY),
                                       "open", where));
    STRATA_ASSIGN(strata::UniqueFd mount, strata::MountOnce(stage));
    STRATA_TRY(strata::sys::Check(
        strata::sys::MoveMount(mount.get(), "", directory.get(), "",
                               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
        "move_mount", where));
    return {};
  });
}

void strata_stage_free(strata_stage* stage) {
  delete stage;
}
