// SPDX-License-Identifier: Apache-2.0
#include "stager/stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/copy_tree.h"
#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "cache/directory_layer.h"
#include "stager/overlay.h"

namespace strata {
namespace {

std::string BootId() {
  auto id = ReadFile(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64);
  return id ? *id : std::string("unknown\n");
}

// The directory whose sync volatile mounts leave out marks itself in the work directory, and may
// not be mounted again while the mark is there.
constexpr char kVolatileMark[] = "work/work/incompat";
// In a workspace that was used with a range of ids.
constexpr char kSeveralIds[] = "subuid";

}  // namespace

Result<Stage> Stage::Prepare(const Store& store, const RootContent& root, std::vector<int> leases,
                             const StageOptions& options) {
  if (root.lowers.empty()) return Fail(Errc::kInvalid, "no layers given");
  if (root.lowers.size() >= kMaxOverlayLowers) {
    return Fail(Errc::kUnsupported, "{} layers: overlayfs takes at most {} at once",
                root.lowers.size(), kMaxOverlayLowers - 1);
  }
  Stage stage(store);
  stage.leases_ = std::move(leases);
  for (const SetItem& item : options.items) {
    if (!item.directory.empty() && item.view.empty()) stage.directories_.push_back(item);
  }
  if (options.mapping && !options.mapping->IsSingle()) stage.mapping_ = options.mapping;
  STRATA_TRY(stage.FindLowers(root, options));
  STRATA_TRY_WITH(stage.MakeUpper(options), "make scratch");
  return stage;
}

Result<void> Stage::FindLowers(const RootContent& root, const StageOptions& options) {
  lowers_.reserve(root.lowers.size() + 1);
  lowers_ = root.lowers;
  if (mapping_) {
    STRATA_ASSIGN(MappedLowers mapped,
                  MaterialiseLowers(*store_, root, *mapping_, options.materialise));
    lowers_ = std::move(mapped.lowers);
    materialisations_ = std::move(mapped.leases);
  }
  if (!options.mount_points.empty()) {
    STRATA_TRY(OpenManifests());
    STRATA_ASSIGN(skeleton_,
                  SkeletonFor(*store_, *root_chain_, options.points, options.mount_points));
  } else if (options.points == MountPoints::kSandbox) {
    STRATA_ASSIGN(skeleton_, BasicSkeleton(*store_));
  }
  if (!skeleton_) return AddSecondLower(options);
  if (mapping_ && skeleton_->foreign_owners) {
    STRATA_ASSIGN(DerivedLayer owned,
                  Materialise(*store_, skeleton_->path, *mapping_, options.materialise));
    skeleton_->path = std::move(owned.path);
    if (owned.lease.held()) materialisations_.push_back(std::move(owned.lease));
  }
  lowers_.push_back(skeleton_->path);
  return {};
}

// Without an upper overlayfs wants two lower layers: an empty directory is one.
Result<void> Stage::AddSecondLower(const StageOptions& options) {
  if (options.upper != StageOptions::Upper::kNone || lowers_.size() > 1) return {};
  STRATA_ASSIGN(std::string empty, MakeDirectory("empty"));
  lowers_.insert(lowers_.begin(), std::move(empty));
  return {};
}

Result<void> Stage::MakeUpper(const StageOptions& options) {
  switch (options.upper) {
    case StageOptions::Upper::kNone:
    case StageOptions::Upper::kTmpfs:
      return {};
    case StageOptions::Upper::kStore: {
      STRATA_TRY(TakeScratch());
      upper_ = scratch_.upper_path();
      work_ = scratch_.work_path();
      return {};
    }
    case StageOptions::Upper::kDirectory: {
      STRATA_ASSIGN(elsewhere_fd_, OpenAt(AT_FDCWD, options.directory, O_RDONLY | O_DIRECTORY));
      STRATA_ASSIGN(elsewhere_, TempDir::Create(elsewhere_fd_.get(), "strata-"));
      STRATA_TRY(MakeUpperAndWork(elsewhere_.fd()));
      upper_ = fmt::format("{}/{}/upper", options.directory, elsewhere_.name());
      work_ = fmt::format("{}/{}/work", options.directory, elsewhere_.name());
      return {};
    }
    case StageOptions::Upper::kWorkspace:
      return OpenWorkspace(options.workspace);
  }
  return {};
}

Result<void> Stage::OpenWorkspace(const std::string& name) {
  STRATA_TRY(Store::CheckRefName(name));
  std::string path = "workspaces/" + name;
  if (name.find('/') != std::string::npos) {
    return Fail(Errc::kInvalid, "'{}' cannot be a workspace: it has a '/'", name);
  }
  STRATA_TRY(MakeDirs(store_->fd(), path, 0700));
  auto lock = FileLock::OnDirectory(store_->fd(), path, LockMode::kExclusive, LockWait::kFail);
  if (!lock) return Unexpected(std::move(lock).error().Wrap(fmt::format("workspace {}", name)));
  workspace_ = std::move(*lock);
  struct stat st;
  if (sys::FstatAt(workspace_.fd(), "upper", &st) == -ENOENT) {
    STRATA_TRY(MakeUpperAndWork(workspace_.fd()));
  }
  if (mapping_) {
    STRATA_TRY(ReplaceFile(workspace_.fd(), kSeveralIds, "subuid\n"));
  } else if (sys::FstatAt(workspace_.fd(), kSeveralIds, &st) == 0) {
    // They would be nobody's, and could be neither read nor removed.
    return Unexpected(Error(Errc::kInvalid,
                            fmt::format("workspace {}: it may have files of several owners", name))
                          .Hint("--userns=subuid shows them as they are"));
  }
  const std::string boot = BootId();
  // The kernel makes it with mode 0000.
  static_cast<void>(::fchmodat(workspace_.fd(), "work/work", 0700, 0) == 0);
  if (sys::FstatAt(workspace_.fd(), kVolatileMark, &st) == 0) {
    // The last run did not end cleanly. While the machine stayed up nothing is lost by that.
    auto last_boot = ReadFile(workspace_.fd(), "boot", 64);
    if (!last_boot || *last_boot != boot) {
      return Unexpected(
          Error(Errc::kCorrupt,
                fmt::format("workspace {}: the machine went down while it was in use, and what was "
                            "written last may be lost",
                            name))
              .Hint(fmt::format(
                  "start afresh: strata rm --workspace {}; or, to trust it, remove {}/{}/{}", name,
                  store_->path(), path, kVolatileMark)));
    }
    STRATA_TRY(EndWorkspace());
  }
  STRATA_TRY(ReplaceFile(workspace_.fd(), "boot", boot));
  upper_ = path + "/upper";
  work_ = path + "/work";
  return {};
}

Result<void> Stage::EndWorkspace() {
  if (!workspace_.held()) return {};
  STRATA_ASSIGN(UniqueFd work, OpenAt(workspace_.fd(), "work", O_RDONLY | O_DIRECTORY));
  return RemoveTree(work.get(), "work");  // the kernel makes it anew at each mount
}

std::vector<int> Stage::Held() const {
  std::vector<int> held = leases_;
  if (skeleton_) held.push_back(skeleton_->lease.fd());
  for (const FileLock& lease : materialisations_) held.push_back(lease.fd());
  if (scratch_.valid()) held.push_back(scratch_.fd());
  if (elsewhere_.valid()) held.push_back(elsewhere_.fd());
  if (workspace_.held()) held.push_back(workspace_.fd());
  return held;
}

void Stage::SweepUp(const std::function<bool()>& stop) {
  if (scratch_.valid()) scratch_.SweepUp(stop);
}

Result<void> Stage::TakeScratch() {
  if (!scratch_.valid()) {
    STRATA_ASSIGN(scratch_, Scratch::Take(store_->fd()));
  }
  return {};
}

Result<std::string> Stage::MakeDirectory(const std::string& name) {
  STRATA_TRY(TakeScratch());
  return scratch_.MakeDirectory(name);
}

Result<Manifest> Stage::OpenManifestOf(const std::string& lower) const {
  if (lower.front() != '/') {  // "layers/ID/tree", "derived/NAME/tree"
    return Manifest::Open(store_->fd(), lower.substr(0, lower.rfind('/')) + "/manifest");
  }
  for (const SetItem& item : directories_) {
    if (item.directory != lower) continue;
    STRATA_ASSIGN(DirectoryLayer layer, OpenDirectoryLayer(*store_, item));
    return std::move(layer.manifest);
  }
  return Fail(Errc::kCorrupt, "{} is not in the dependency set of this root", lower);
}

Result<void> Stage::OpenManifests() {
  if (root_chain_) return {};
  for (const std::string& lower : lowers_) {
    if (skeleton_ && lower == skeleton_->path) continue;
    STRATA_ASSIGN(Manifest manifest, OpenManifestOf(lower));
    manifests_.push_back(std::move(manifest));
  }
  std::vector<const Manifest*> pointers;
  for (const Manifest& manifest : manifests_) pointers.push_back(&manifest);
  root_chain_ = std::make_unique<LowerChain>(std::move(pointers));
  return {};
}

Result<const LowerChain*> Stage::Chain() {
  if (!skeleton_) {
    STRATA_TRY(OpenManifests());
    return root_chain_.get();
  }
  if (!chain_) {
    STRATA_TRY(OpenManifests());
    STRATA_ASSIGN(Manifest skeleton, Manifest::Open(store_->fd(), skeleton_->manifest_path));
    // The vector may move its elements; the chains point to them.
    root_chain_.reset();
    manifests_.push_back(std::move(skeleton));
    std::vector<const Manifest*> pointers;
    for (const Manifest& manifest : manifests_) pointers.push_back(&manifest);
    chain_ = std::make_unique<LowerChain>(std::move(pointers));
  }
  return chain_.get();
}

// overlayfs refuses a work directory that has been mounted volatile, and makes a new one where
// there is none.
Result<void> Stage::MakeMountableAgain() {
  if (work_.empty()) return {};
  const std::string used = work_ + "/work";
  struct stat st;
  int rc = sys::FstatAt(store_->fd(), used.c_str(), &st);
  if (rc == -ENOENT) return {};
  if (rc < 0) return FailSys(-rc, "stat", used);
  // The kernel makes it with mode 0000.
  if (::fchmodat(store_->fd(), used.c_str(), 0700, 0) != 0) return FailSys(errno, "chmod", used);
  return RemoveTree(store_->fd(), used);
}

Result<PendingLayer> Stage::TakeForCapture(const std::string& directory) {
  if (!workspace_.held()) {
    STRATA_ASSIGN(PendingLayer pending, store_->NewLayer(false));
    STRATA_TRY(MakeMovable(directory));
    int rc = sys::RenameAt2(store_->fd(), directory.c_str(), pending.dir_fd(), "tree");
    if (rc == 0) return pending;
    if (rc != -EXDEV) return FailSys(-rc, "rename", directory);
  }
  // A workspace keeps what it has; a scratch elsewhere is on another file system.
  STRATA_ASSIGN(PendingLayer pending, store_->NewLayer());
  std::string from = directory.front() == '/' ? directory : store_->path() + "/" + directory;
  std::string to = fmt::format("{}/{}/tree", store_->path(), pending.dir().name());
  auto copy = [&]() -> Result<void> {
    STRATA_TRY(CopyTree(from, to));
    if (mapping_ && ::chown(to.c_str(), 0, 0) != 0) return FailSys(errno, "chown", to);
    return {};
  };
  STRATA_TRY(mapping_ ? RunInMapping(*mapping_, copy) : copy());
  return pending;
}

// Moving a directory takes write permission on it, and the command may have changed its mode and
// owner.
Result<void> Stage::MakeMovable(const std::string& directory) const {
  struct stat st;
  STRATA_TRY(sys::Check(sys::FstatAt(store_->fd(), directory.c_str(), &st), "stat", directory));
  if (mapping_ && (st.st_uid != ::geteuid() || st.st_gid != ::getegid())) {
    STRATA_TRY(RunInMapping(*mapping_, [&]() -> Result<void> {
      if (::fchownat(store_->fd(), directory.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) == 0) return {};
      return FailSys(errno, "chown", directory);
    }));
  }
  if (::fchmodat(store_->fd(), directory.c_str(), 0755, 0) == 0) return {};
  return FailSys(errno, "chmod", directory);
}

void Stage::Abandon() {
  scratch_.Release();
  static_cast<void>(elsewhere_.Release());
}

Result<void> Stage::KeepAsWorkspace(const std::string& name) {
  // As after any other unclean end: the next run finds the mark and the boot id.
  STRATA_TRY(ReplaceFile(scratch_.fd(), "boot", BootId()));
  if (mapping_) STRATA_TRY(ReplaceFile(scratch_.fd(), kSeveralIds, "subuid\n"));
  int rc = sys::RenameAt2(store_->fd(), scratch_.path().c_str(), store_->fd(),
                          ("workspaces/" + name).c_str(), RENAME_NOREPLACE);
  if (rc < 0) return FailSys(-rc, "rename", scratch_.path());
  scratch_.Release();
  return {};
}

}  // namespace strata
