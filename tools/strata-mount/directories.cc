// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/directories.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <set>

#include "base/io.h"
#include "base/sys.h"
#include "tools/strata-mount/scan_cache.h"

namespace strata::mount {
namespace {

Error NeedsFuse(std::string message) {
  return Error(Errc::kUnsupported, std::move(message));
}

Result<void> CheckOverride(const MarkScan& scan, const std::string& path) {
  if (scan.override_attribute.empty()) return {};
  return Unexpected(NeedsFuse(fmt::format(
      "{}: owners and modes are kept in the attribute {}, which no overlay of the kernel reads",
      path, scan.override_attribute)));
}

Result<UniqueFd> OpenLayer(const std::string& path) {
  return OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
}

}  // namespace

PrivateTmpfs::PrivateTmpfs(PrivateTmpfs&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      mounted_(std::exchange(other.mounted_, false)),
      made_(other.made_) {}

PrivateTmpfs::~PrivateTmpfs() {
  if (mounted_) sys::Umount2(path_.c_str(), MNT_DETACH);
  if (!path_.empty()) ::rmdir(path_.c_str());
}

Result<void> PrivateTmpfs::Mount() {
  const char* parent = std::getenv("TMPDIR");
  path_ =
      fmt::format("{}/strata-mount.XXXXXX", parent != nullptr && *parent == '/' ? parent : "/tmp");
  if (::mkdtemp(path_.data()) == nullptr) {
    Unexpected failed = FailSys(errno, "mkdtemp", path_);
    path_.clear();
    return failed;
  }
  int rc = sys::Mount("strata-mount", path_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                      "mode=0755");
  if (rc == -EPERM || rc == -EACCES) {
    return Unexpected(
        Error(Errc::kUnsupported, Error::Sys(-rc, "mount tmpfs", path_).message())
            .Hint("only root may mount, or who is root of a user namespace: podman unshare"));
  }
  if (rc < 0) return FailSys(-rc, "mount tmpfs", path_);
  mounted_ = true;
  return {};
}

Result<std::string> PrivateTmpfs::NewDirectory() {
  if (!mounted_) STRATA_TRY(Mount());
  std::string path = fmt::format("{}/{}", path_, made_++);
  int rc = sys::MkdirAt(AT_FDCWD, path.c_str(), 0755);
  if (rc < 0) return FailSys(-rc, "mkdir", path);
  return path;
}

Result<Directories> Directories::Open(const std::vector<std::string>& paths) {
  Directories directories;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const std::string& path : paths) {
    if (path.starts_with("//")) {
      return Unexpected(
          NeedsFuse(fmt::format("{}: a layer that a plugin of fuse-overlayfs reads", path)));
    }
    STRATA_ASSIGN_WITH(UniqueFd fd, OpenLayer(path), "cannot read lower dirs");
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) return FailSys(errno, "fstat", path);
    if (!seen.emplace(st.st_dev, st.st_ino).second) continue;
    directories.directories_.push_back({path, std::move(fd)});
  }
  return directories;
}

Result<void> Directories::AddLower(const Directory& directory, const std::vector<Mark>& marks,
                                   bool is_last, Overlay* overlay) {
  auto clause = [&] { return fmt::format("{}: translate its marks", directory.path); };
  if (!marks.empty()) {
    STRATA_ASSIGN(std::string above, tmpfs_.NewDirectory());
    STRATA_ASSIGN(UniqueFd fd, OpenLayer(above));
    STRATA_TRY_WITH(MakeLayerAbove(directory.fd.get(), marks, fd.get()), clause());
    overlay->lowers.push_back(std::move(above));
  }
  overlay->lowers.push_back(directory.path);
  if (!is_last && HasOpaque(marks)) {
    STRATA_ASSIGN(std::string below, tmpfs_.NewDirectory());
    STRATA_ASSIGN(UniqueFd fd, OpenLayer(below));
    STRATA_TRY_WITH(MakeLayerBelow(marks, fd.get()), clause());
    overlay->lowers.push_back(std::move(below));
  }
  return {};
}

Result<void> Directories::Translate(const Request& request, Overlay* overlay) {
  const KernelMarks kernel = overlay->trusted ? KernelMarks::kTrusted : KernelMarks::kUser;
  bool hidden = false;  // nothing further down shows
  if (!overlay->upper.empty()) {
    STRATA_ASSIGN_WITH(UniqueFd upper, OpenLayer(overlay->upper), "cannot read upper dir");
    STRATA_ASSIGN_WITH(MarkScan scan, ScanMarks(upper.get(), kernel), overlay->upper);
    STRATA_TRY(CheckOverride(scan, overlay->upper));
    STRATA_TRY_WITH(TranslateMarks(upper.get(), scan.marks, kernel), overlay->upper);
    hidden = IsOpaqueItself(scan.marks);
  }
  for (size_t i = 0; i < directories_.size() && !hidden; ++i) {
    const Directory& directory = directories_[i];
    // The first of a read-only mount may be what a container still writes to.
    const Change change = i == 0 && request.upper.empty() ? Change::kPossible : Change::kNone;
    STRATA_ASSIGN_WITH(MarkScan scan, ScanLayer(directory.path, directory.fd.get(), kernel, change),
                       directory.path);
    STRATA_TRY(CheckOverride(scan, directory.path));
    hidden = IsOpaqueItself(scan.marks);
    STRATA_TRY(AddLower(directory, scan.marks, hidden || i + 1 == directories_.size(), overlay));
  }
  const size_t least = overlay->upper.empty() ? 2 : 1;
  if (overlay->lowers.size() < least) {
    STRATA_ASSIGN(std::string empty, tmpfs_.NewDirectory());
    overlay->lowers.push_back(std::move(empty));
  }
  overlay->uniform_inodes = overlay->uniform_inodes || tmpfs_.used();
  return {};
}

}  // namespace strata::mount
