// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/marks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/io.h"
#include "base/sys.h"

namespace strata::mount {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr const char* kOpaqueFile = ".wh..wh..opq";
constexpr const char* kOpaqueDevice = ".wh..opq";  // fuse-overlayfs leaves it beside that file
constexpr const char* kUserOpaque = "user.overlay.opaque";
constexpr const char* kTrustedOpaque = "trusted.overlay.opaque";
constexpr const char* kFuseOpaque = "user.fuseoverlayfs.opaque";
constexpr const char* kOpaqueNames[] = {kTrustedOpaque, kUserOpaque, kFuseOpaque};
constexpr const char* kOverrideNames[] = {"user.containers.override_stat",
                                          "user.fuseoverlayfs.override_stat",
                                          "security.fuseoverlayfs.override_stat"};

const char* KernelName(KernelMarks kernel) {
  return kernel == KernelMarks::kTrusted ? kTrustedOpaque : kUserOpaque;
}

// The names of a descriptor's attributes, each ended by NUL; "" where there are none.
std::string AttributeNames(int fd) {
  char first[512];  // nearly always enough
  ssize_t size = ::flistxattr(fd, first, sizeof first);
  if (size >= 0) return std::string(first, static_cast<size_t>(size));
  if (errno != ERANGE) return {};
  std::string names(64 << 10, '\0');
  size = ::flistxattr(fd, names.data(), names.size());
  names.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return names;
}

bool IsMarkedOpaque(int fd, const char* name) {
  char value[16];
  return ::fgetxattr(fd, name, value, sizeof value) > 0 && value[0] == 'y';
}

std::string Join(const std::string& directory, std::string_view name) {
  return directory.empty() ? std::string(name) : fmt::format("{}/{}", directory, name);
}

std::pair<std::string, std::string> SplitPath(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

class Scanner {
 public:
  Scanner(KernelMarks kernel, MarkScan* scan) : kernel_name_(KernelName(kernel)), scan_(scan) {}

  // Takes over `fd`.
  Result<void> Directory(UniqueFd fd, const std::string& path) {
    const std::string names = AttributeNames(fd.get());
    if (!names.empty()) LookAtAttributes(fd.get(), path, names);
    STRATA_ASSIGN(std::vector<std::string> children, Entries(fd.get(), path));
    for (const std::string& name : children) {
      int child = sys::OpenAt(fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (child == -EACCES || child == -EPERM || child == -ENOENT) continue;
      const std::string child_path = Join(path, name);
      STRATA_ASSIGN(UniqueFd child_fd, sys::CheckFd(child, "open", child_path));
      STRATA_TRY(Directory(std::move(child_fd), child_path));
    }
    return {};
  }

 private:
  void LookAtAttributes(int fd, const std::string& path, const std::string& names) {
    if (names.find("verlay") == std::string::npos &&
        names.find("containers") == std::string::npos) {
      return;
    }
    for (const char* name : kOpaqueNames) {
      // The kernel's own needs no translation but at the layer itself, where the kernel does not
      // look.
      if (!path.empty() && std::string_view(name) == kernel_name_) continue;
      if (IsMarkedOpaque(fd, name)) {
        scan_->marks.push_back({Mark::Kind::kOpaque, path});
        break;
      }
    }
    if (!path.empty()) return;
    for (const char* name : kOverrideNames) {
      if (::fgetxattr(fd, name, nullptr, 0) >= 0) scan_->override_attribute = name;
    }
  }

  // Notes the marks, and returns the directories.
  Result<std::vector<std::string>> Entries(int fd, const std::string& path) {
    std::vector<std::string> children;
    for (;;) {
      int64_t size = sys::GetDents(fd, buffer_, sizeof buffer_);
      if (size < 0) return FailSys(static_cast<int>(-size), "getdents", path.empty() ? "." : path);
      if (size == 0) return children;
      for (int64_t at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer_ + at);
        at += entry->d_reclen;
        std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (name.starts_with(kWhiteoutPrefix)) {
          if (name == kOpaqueFile) {
            NoteOpaqueFile(path);
          } else if (name.size() > kWhiteoutPrefix.size() && !IsWhiteoutDevice(fd, *entry)) {
            scan_->marks.push_back(
                {Mark::Kind::kWhiteout, Join(path, name.substr(kWhiteoutPrefix.size()))});
          }
        } else if (entry->d_type == DT_DIR ||
                   (entry->d_type == DT_UNKNOWN && IsDirectory(fd, entry->d_name))) {
          children.emplace_back(name);
        }
      }
    }
  }

  // By the file, and the attribute may be there as well: once is enough.
  void NoteOpaqueFile(const std::string& path) {
    Mark mark{Mark::Kind::kOpaque, path};
    if (scan_->marks.empty() || scan_->marks.back() != mark)
      scan_->marks.push_back(std::move(mark));
    // The file itself must not show.
    scan_->marks.push_back({Mark::Kind::kWhiteout, Join(path, kOpaqueDevice)});
  }

  static bool IsDirectory(int fd, const char* name) {
    struct stat st;
    return sys::FstatAt(fd, name, &st) == 0 && S_ISDIR(st.st_mode);
  }
  // fuse-overlayfs leaves such beside its `.wh..wh..opq`; the kernel hides them.
  static bool IsWhiteoutDevice(int fd, const dirent64& entry) {
    if (entry.d_type != DT_CHR && entry.d_type != DT_UNKNOWN) return false;
    struct stat st;
    return sys::FstatAt(fd, entry.d_name, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
  }

  std::string_view kernel_name_;
  MarkScan* scan_;
  alignas(dirent64) char buffer_[32 << 10];
};

Result<void> MakeWhiteout(int dir_fd, const std::string& path) {
  int rc = sys::MknodAt(dir_fd, path.c_str(), S_IFCHR, makedev(0, 0));
  if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mknod a whiteout", path);
  return {};
}

// The paths of one kind, without those inside of another, which are hidden with it; and without the
// layer itself.
std::set<std::string> Outermost(const std::vector<Mark>& marks, Mark::Kind kind) {
  std::set<std::string> all;
  for (const Mark& mark : marks) {
    if (mark.kind == kind && !mark.path.empty()) all.insert(mark.path);
  }
  std::set<std::string> outermost;
  for (const std::string& path : all) {
    bool inside = false;
    for (std::string up = SplitPath(path).first; !up.empty() && !inside; up = SplitPath(up).first) {
      inside = all.contains(up);
    }
    if (!inside) outermost.insert(path);
  }
  return outermost;
}

// mkdir -p of what is not in `made` yet.
Result<void> MakeParents(int dir_fd, const std::string& directory, std::set<std::string>* made) {
  if (directory.empty() || made->contains(directory)) return {};
  STRATA_TRY(MakeParents(dir_fd, SplitPath(directory).first, made));
  int rc = sys::MkdirAt(dir_fd, directory.c_str(), 0755);
  if (rc < 0) return FailSys(-rc, "mkdir", directory);
  made->insert(directory);
  return {};
}

// Those that say something about the tree; overlayfs's own are about the layer.
bool IsOwnAttribute(std::string_view name) {
  return !name.starts_with("trusted.") && !name.starts_with("user.overlay.") &&
         !name.starts_with("user.fuseoverlayfs.");
}

Result<void> CopyAttributes(int from, int to, const std::string& path) {
  const std::string names = AttributeNames(from);
  for (size_t at = 0; at < names.size();) {
    const char* name = names.c_str() + at;
    at += std::char_traits<char>::length(name) + 1;
    if (!IsOwnAttribute(name)) continue;
    std::string value(64 << 10, '\0');
    ssize_t size = ::fgetxattr(from, name, value.data(), value.size());
    if (size < 0) return FailSys(errno, fmt::format("getxattr {}", name), path);
    int rc = sys::FsetXattr(to, name, value.data(), static_cast<size_t>(size));
    if (rc < 0) return FailSys(-rc, fmt::format("setxattr {}", name), path);
  }
  return {};
}

// The upper one of two directories that merge tells the metadata of both.
Result<void> CopyMetadata(int from, int to, const std::string& path) {
  struct stat st;
  if (::fstat(from, &st) != 0) return FailSys(errno, "fstat", path);
  STRATA_TRY(CopyAttributes(from, to, path));
  if (::fchown(to, st.st_uid, st.st_gid) != 0) {
    if (errno != EINVAL) return FailSys(errno, "chown", path);
    return Fail(Errc::kUnsupported, "the owner of {} has no id in this user namespace", path);
  }
  if (::fchmod(to, st.st_mode & 07777) != 0) return FailSys(errno, "chmod", path);
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (::futimens(to, times) != 0) return FailSys(errno, "utimensat", path);
  return {};
}

}  // namespace

Result<MarkScan> ScanMarks(int layer_fd, KernelMarks kernel) {
  MarkScan scan;
  STRATA_ASSIGN(UniqueFd fd, OpenAt(layer_fd, ".", O_RDONLY | O_DIRECTORY));
  STRATA_TRY(Scanner(kernel, &scan).Directory(std::move(fd), ""));
  return scan;
}

Result<void> MakeLayerAbove(int layer_fd, const std::vector<Mark>& marks, int above_fd) {
  std::set<std::string> made;
  for (const std::string& path : Outermost(marks, Mark::Kind::kWhiteout)) {
    auto [directory, name] = SplitPath(path);
    STRATA_TRY(MakeParents(above_fd, directory, &made));
    STRATA_TRY(MakeWhiteout(above_fd, path));
    STRATA_TRY(MakeWhiteout(above_fd, Join(directory, fmt::format("{}{}", kWhiteoutPrefix, name))));
  }
  made.insert("");
  // The deepest first: a mode may shut a directory for the caller.
  for (auto path = made.rbegin(); path != made.rend(); ++path) {
    const std::string where = path->empty() ? "." : *path;
    STRATA_ASSIGN(UniqueFd from, OpenAt(layer_fd, where, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    STRATA_ASSIGN(UniqueFd to, OpenAt(above_fd, where, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    STRATA_TRY(CopyMetadata(from.get(), to.get(), where));
  }
  return {};
}

Result<void> MakeLayerBelow(const std::vector<Mark>& marks, int below_fd) {
  std::set<std::string> made;
  for (const std::string& path : Outermost(marks, Mark::Kind::kOpaque)) {
    STRATA_TRY(MakeParents(below_fd, SplitPath(path).first, &made));
    STRATA_TRY(MakeWhiteout(below_fd, path));
  }
  return {};
}

Result<void> TranslateMarks(int upper_fd, const std::vector<Mark>& marks, KernelMarks kernel) {
  for (const Mark& mark : marks) {
    const bool is_whiteout = mark.kind == Mark::Kind::kWhiteout;
    auto [directory, name] =
        is_whiteout ? SplitPath(mark.path) : std::pair(mark.path, std::string());
    const std::string where = directory.empty() ? "." : directory;
    STRATA_ASSIGN(UniqueFd fd, OpenAt(upper_fd, where, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) return FailSys(errno, "fstat", where);
    if (is_whiteout) {
      // That of an opaque directory is a file, and has a device beside it: the kernel would list
      // that where nothing lies below the directory.
      if (name == kOpaqueDevice) {
        static_cast<void>(sys::UnlinkAt(fd.get(), kOpaqueDevice));
      } else {
        STRATA_TRY(MakeWhiteout(fd.get(), name));
      }
      const std::string file = fmt::format("{}{}", kWhiteoutPrefix, name);
      int rc = sys::UnlinkAt(fd.get(), file.c_str());
      if (rc < 0 && rc != -ENOENT) return FailSys(-rc, "unlink", Join(directory, file));
    } else {
      int rc = sys::FsetXattr(fd.get(), KernelName(kernel), "y", 1);
      if (rc < 0) return FailSys(-rc, fmt::format("setxattr {}", KernelName(kernel)), where);
      if (::fremovexattr(fd.get(), kFuseOpaque) != 0 && errno != ENODATA && errno != ENOTSUP) {
        return FailSys(errno, "removexattr", where);
      }
    }
    timespec times[2] = {st.st_atim, st.st_mtim};
    if (::futimens(fd.get(), times) != 0) return FailSys(errno, "utimensat", where);
  }
  return {};
}

bool HasOpaque(const std::vector<Mark>& marks) {
  return std::any_of(marks.begin(), marks.end(), [](const Mark& mark) {
    return mark.kind == Mark::Kind::kOpaque && !mark.path.empty();
  });
}

bool IsOpaqueItself(const std::vector<Mark>& marks) {
  return std::any_of(marks.begin(), marks.end(), [](const Mark& mark) {
    return mark.kind == Mark::Kind::kOpaque && mark.path.empty();
  });
}

}  // namespace strata::mount
