// SPDX-License-Identifier: Apache-2.0
//
// The stagers themselves; see stager.h.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/helper_program.h"
#include "base/io.h"
#include "base/mount_table.h"
#include "base/own_thread.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "stager/flatten_chain.h"
#include "stager/overlay.h"
#include "stager/scratch.h"
#include "stager/stager.h"

namespace strata {
namespace {

Result<void> MakeUpper(const StageSite& site) {
  if (site.access == StageAccess::kReadOnly) return {};
  STRATA_ASSIGN(UniqueFd scratch, OpenAt(site.store->fd(), site.scratch, O_RDONLY | O_DIRECTORY));
  return MakeUpperAndWork(scratch.get());
}

bool IsDenied(int sys_errno) {
  return sys_errno == EPERM || sys_errno == EACCES || sys_errno == ENOSYS || sys_errno == ENODEV ||
         sys_errno == EINVAL || sys_errno == EOPNOTSUPP;
}

Result<void> MountOverlayAt(const StageSite& site, const std::vector<std::string>& lowers) {
  const std::string upper = site.scratch + "/upper";
  const std::string work = site.scratch + "/work";
  std::vector<const char*> pointers;
  for (const std::string& lower : lowers) pointers.push_back(lower.c_str());
  OverlayPlan plan;
  plan.lowers = pointers.data();
  plan.lower_count = pointers.size();
  plan.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (site.access == StageAccess::kReadOnly) {
    plan.attributes |= MOUNT_ATTR_RDONLY;
  } else {
    plan.upper = upper.c_str();
    plan.work = work.c_str();
  }
  return InDirectory(site.store->path(), [&]() -> Result<void> {
    ChildFailure failure;
    UniqueFd fd(MountOverlay(plan, site.directory.c_str(), &failure));
    if (fd.valid()) return {};
    Error error = failure.ToError();
    if (!IsDenied(failure.sys_errno)) return Unexpected(std::move(error));
    return Fail(Errc::kUnsupported, "overlay: {}", error.message());
  });
}

// Unmounts what the record says, and only if it is what is there now.
Result<void> UnmountAt(const StageRecord& record) {
  struct statx st;
  int rc = ::statx(AT_FDCWD, record.directory.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
                   STATX_MNT_ID, &st) == 0
               ? 0
               : -errno;
  if (rc == 0 && record.complete && st.stx_mnt_id != record.mount_id) {
    return Fail(Errc::kBusy, "{}: something else is mounted on the staged root", record.directory);
  }
  if (rc == 0 && !record.complete && st.stx_mnt_id == record.mount_id) return {};  // not mounted
  rc = sys::Umount2(record.directory.c_str(), UMOUNT_NOFOLLOW);
  if (rc == -EBUSY) {
    return Unexpected(Error(Errc::kBusy, fmt::format("{} is in use", record.directory))
                          .Hint("end what works in it: fuser -vm names the processes"));
  }
  if (rc < 0 && rc != -EINVAL && rc != -ENOENT) return FailSys(-rc, "umount", record.directory);
  return {};
}

class OverlayStager : public Stager {
 public:
  StageMethod method() const override { return StageMethod::kOverlay; }

  Result<void> Put(const StageSite& site) const override {
    STRATA_TRY(MakeUpper(site));
    STRATA_ASSIGN(std::vector<std::string> lowers,
                  OverlayLowers(*site.store, site.root->content, site.scratch, site.access));
    return MountOverlayAt(site, lowers);
  }
  Result<void> Remove(const Store&, const StageRecord& record) const override {
    return UnmountAt(record);
  }
};

std::string EscapeOption(const std::string& path) {
  std::string escaped;
  for (char c : path) {
    if (c == '\\' || c == ':' || c == ',') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

class FuseStager : public Stager {
 public:
  StageMethod method() const override { return StageMethod::kFuse; }

  Result<void> Put(const StageSite& site) const override {
    STRATA_TRY(MakeUpper(site));
    std::string options = "lowerdir=";
    const std::vector<std::string>& lowers = site.root->content.lowers;
    for (size_t i = lowers.size(); i-- > 0;) {
      options += EscapeOption(lowers[i]) + (i > 0 ? ":" : "");
    }
    if (site.access == StageAccess::kWritable) {
      options += fmt::format(",upperdir={0}/upper,workdir={0}/work", site.scratch);
    }
    // Its daemon inherits the lease, and gc sees it for as long as the root is mounted.
    HelperProgram::Setup setup;
    setup.directory = site.store->fd();
    setup.kept = site.root->lease.fd();
    return RunHelperProgram({"fuse-overlayfs", "-o", options, site.directory}, setup);
  }

  Result<void> Remove(const Store&, const StageRecord& record) const override {
    Result<void> unmounted = UnmountAt(record);
    if (unmounted || unmounted.error().sys_errno() != EPERM) return unmounted;
    for (const char* program : {"fusermount3", "fusermount"}) {
      unmounted = RunHelperProgram({program, "-u", "--", record.directory}, {});
      if (unmounted) return {};
    }
    return Unexpected(Error(Errc::kBusy, unmounted.error().message())
                          .Hint("end what works in it: fuser -vm names the processes"));
  }
};

// Before anything is removed; RemoveTree would leave the mount alone, and half of the tree.
Result<void> CheckNothingIsMounted(const std::string& directory) {
  STRATA_ASSIGN(std::vector<MountEntry> mounts, ReadMountTable());
  for (const MountEntry& mount : mounts) {
    if (!mount.directory.starts_with(directory + "/")) continue;
    return Unexpected(Error(Errc::kBusy, fmt::format("something is mounted at {}", mount.directory))
                          .Hint(fmt::format("umount {}", mount.directory)));
  }
  return {};
}

class CopyStager : public Stager {
 public:
  explicit CopyStager(StageMethod method) : method_(method) {}
  StageMethod method() const override { return method_; }

  Result<void> Put(const StageSite& site) const override {
    if (site.access == StageAccess::kReadOnly) {
      return Fail(Errc::kInvalid, "{}: a copy is the caller's own, and cannot be read-only",
                  StageMethodName(method_));
    }
    STRATA_ASSIGN(UniqueFd tree, OpenAt(AT_FDCWD, site.directory, O_RDONLY | O_DIRECTORY));
    MakeTreeOptions options;
    options.place = method_ == StageMethod::kReflink ? PlaceFile::kReflink : PlaceFile::kCopy;
    options.jobs = site.jobs;
    options.progress = site.progress;
    STRATA_ASSIGN(DependencySet set, DependencySet::Decode(site.root->encoded_set));
    return MakeRootTree(*site.store, site.root->content, tree.get(), options, set.items);
  }

  Result<void> Remove(const Store&, const StageRecord& record) const override {
    STRATA_ASSIGN(UniqueFd tree,
                  OpenAt(AT_FDCWD, record.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    STRATA_ASSIGN(bool same, IsStagedDirectory(tree.get(), record));
    if (!same) {
      return Fail(Errc::kNotFound, "{} is not the directory that was staged", record.directory);
    }
    STRATA_TRY(CheckNothingIsMounted(record.directory));
    ::fchmod(tree.get(), 0755);  // it may have been shut since
    std::vector<std::string> names;
    UniqueFd listing(sys::OpenAt(tree.get(), ".", O_RDONLY | O_DIRECTORY));
    DIR* dir = ::fdopendir(listing.get());
    if (dir == nullptr) return FailSys(errno, "fdopendir", record.directory);
    static_cast<void>(listing.release());
    while (const dirent* entry = ::readdir(dir)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
    }
    ::closedir(dir);
    for (const std::string& name : names) STRATA_TRY(RemoveTree(tree.get(), name));
    return {};
  }

 private:
  StageMethod method_;
};

class HardlinkStager : public Stager {
 public:
  StageMethod method() const override { return StageMethod::kHardlink; }

  Result<void> Put(const StageSite& site) const override {
    const std::string tree = site.scratch + "/tree";
    STRATA_TRY(sys::Check(sys::MkdirAt(site.store->fd(), tree.c_str(), 0755), "mkdir", tree));
    STRATA_ASSIGN(UniqueFd tree_fd, OpenAt(site.store->fd(), tree, O_RDONLY | O_DIRECTORY));
    MakeTreeOptions options;
    options.jobs = site.jobs;
    options.progress = site.progress;
    // Mounts first: without the right to them there is no way to protect the layers' files.
    STRATA_TRY(CheckMayMount(site));
    STRATA_TRY(MakeRootTree(*site.store, site.root->content, tree_fd.get(), options));
    STRATA_TRY(MakeUpper(site));
    RootContent linked = site.root->content;
    linked.lowers = {tree};
    STRATA_ASSIGN(std::vector<std::string> lowers,
                  OverlayLowers(*site.store, linked, site.scratch, site.access));
    return MountOverlayAt(site, lowers);
  }
  Result<void> Remove(const Store&, const StageRecord& record) const override {
    return UnmountAt(record);
  }

 private:
  static Result<void> CheckMayMount(const StageSite& site) {
    int fd = sys::OpenTree(AT_FDCWD, site.directory.c_str(), OPEN_TREE_CLONE);
    if (fd >= 0) {
      ::close(fd);
      return {};
    }
    if (fd == -ENOSYS) return {};  // an older kernel: the mount will tell
    return Unexpected(
        Error(Errc::kUnsupported,
              "hardlink: without the right to mount, nothing would keep the links at the directory "
              "from changing the layers' own files")
            .Hint("give a COMMAND to run there, or use --method reflink or copy"));
  }
};

}  // namespace

std::unique_ptr<Stager> MakeStager(StageMethod method) {
  switch (method) {
    case StageMethod::kFuse:
      return std::make_unique<FuseStager>();
    case StageMethod::kHardlink:
      return std::make_unique<HardlinkStager>();
    case StageMethod::kReflink:
    case StageMethod::kCopy:
      return std::make_unique<CopyStager>(method);
    case StageMethod::kAuto:
    case StageMethod::kOverlay:
      break;
  }
  return std::make_unique<OverlayStager>();
}

}  // namespace strata
