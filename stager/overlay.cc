// SPDX-License-Identifier: Apache-2.0
#include "stager/overlay.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace strata {
namespace {

constexpr size_t kMaxStringParameter = 255;  // fsconfig(FSCONFIG_SET_STRING), the kernel's limit

struct Descriptor {
  int fd = -1;
  ~Descriptor() { reset(); }
  void reset() noexcept {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

// What the kernel wrote into the context, if anything, is better than its errno. Returns whether it
// did.
bool Explain(int fs_fd, int error, const char* key, const char* value,
             ChildFailure* failure) noexcept {
  char argument[sizeof failure->argument];
  char log[256];
  int64_t size = sys::Read(fs_fd, log, sizeof log - 1);
  if (size > 2) {
    if (log[size - 1] == '\n') --size;
    log[size] = '\0';
    std::snprintf(argument, sizeof argument, "%s=%.120s (%s)", key, value, log + 2);
  } else {
    std::snprintf(argument, sizeof argument, "%s=%.300s", key, value);
  }
  failure->Set(error, "mount overlay: fsconfig", argument);
  return size > 2;
}

int SetLayer(int fs_fd, const char* key, const char* path, ChildFailure* failure) noexcept {
  int rc;
  // In some of the parameters the kernel takes a backslash for an escape, in others for itself.
  if (std::strlen(path) <= kMaxStringParameter && std::strchr(path, '\\') == nullptr) {
    rc = sys::FsConfig(fs_fd, FSCONFIG_SET_STRING, key, path, 0);
  } else {
    Descriptor layer{sys::OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY)};
    if (layer.fd < 0) {
      failure->Set(-layer.fd, "open", path);
      return layer.fd;
    }
    rc = sys::FsConfig(fs_fd, FSCONFIG_SET_FD, key, nullptr, layer.fd);
  }
  if (rc < 0) Explain(fs_fd, -rc, key, path, failure);
  return rc;
}

int SetOption(int fs_fd, const char* key, const char* value, ChildFailure* failure) noexcept {
  int rc = value == nullptr ? sys::FsConfig(fs_fd, FSCONFIG_SET_FLAG, key, nullptr, 0)
                            : sys::FsConfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0);
  if (rc < 0) Explain(fs_fd, -rc, key, value == nullptr ? "" : value, failure);
  return rc;
}

// What an older kernel, or the filter of a container, answers to a call of the new interface.
bool IsMissing(int rc) noexcept {
  return rc == -ENOSYS || rc == -EPERM;
}

// What the layers' marks are called. An upper that has no other features than those of `userxattr`
// can be read by every tool and kernel, whatever the defaults of this one are.
constexpr const char* kTrustedOptions[][2] = {
    {"redirect_dir", "off"}, {"metacopy", "off"}, {"index", "off"}};

int SetKind(int fs_fd, const OverlayPlan& plan, ChildFailure* failure) noexcept {
  if (!plan.trusted) return SetOption(fs_fd, "userxattr", nullptr, failure);
  for (const auto& option : kTrustedOptions) {
    int rc = SetOption(fs_fd, option[0], option[1], failure);
    if (rc < 0) return rc;
  }
  return 0;
}

// `too_old`: the kernel has no such interface; so it is too with -EINVAL at the first "lowerdir+",
// or, before Linux 6.5, with one in the end and no word why: such a kernel collects any options for
// the old interface.
int MountByFsConfig(const OverlayPlan& plan, bool* too_old, ChildFailure* failure) noexcept {
  *too_old = false;
  Descriptor fs{sys::FsOpen("overlay", 0)};
  if (fs.fd < 0) {
    *too_old = IsMissing(fs.fd);
    failure->Set(-fs.fd, "fsopen", "overlay");
    return fs.fd;
  }
  int rc = SetKind(fs.fd, plan, failure);
  if (rc < 0) {
    *too_old = IsMissing(rc);
    return rc;
  }
  if (plan.source != nullptr && (rc = SetOption(fs.fd, "source", plan.source, failure)) < 0) {
    return rc;
  }
  if (plan.context != nullptr && (rc = SetOption(fs.fd, "context", plan.context, failure)) < 0) {
    return rc;
  }
  for (size_t i = plan.lower_count; i-- > 0;) {  // the kernel takes the topmost first
    rc = SetLayer(fs.fd, "lowerdir+", plan.lowers[i], failure);
    if (rc < 0) {
      *too_old = rc == -EINVAL && i + 1 == plan.lower_count;
      return rc;
    }
  }
  if (plan.upper != nullptr) {
    if ((rc = SetLayer(fs.fd, "upperdir", plan.upper, failure)) < 0) return rc;
    if ((rc = SetLayer(fs.fd, "workdir", plan.work, failure)) < 0) return rc;
  }
  if (plan.upper != nullptr && !plan.keep_upper) {
    if ((rc = SetOption(fs.fd, "volatile", nullptr, failure)) < 0) return rc;
    if ((rc = SetOption(fs.fd, "uuid", "null", failure)) < 0) return rc;
  }
  if (plan.uniform_inodes && (rc = SetOption(fs.fd, "xino", "on", failure)) < 0) return rc;
  rc = sys::FsConfig(fs.fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  if (rc < 0) {
    *too_old = !Explain(fs.fd, -rc, "create", "", failure) && rc == -EINVAL;
    return rc;
  }
  rc = sys::FsMount(fs.fd, 0, plan.attributes);
  if (rc < 0) failure->Set(-rc, "fsmount", "overlay");
  return rc;
}

// The text of mount(2)'s options, which must fit a page.
class OptionText {
 public:
  void Add(const char* text) noexcept {
    size_t size = std::strlen(text);
    if (size >= sizeof text_ - used_) {
      overflow_ = true;
      return;
    }
    std::memcpy(text_ + used_, text, size + 1);
    used_ += size;
  }
  void AddNumber(int number) noexcept {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%d", number);
    Add(digits);
  }
  const char* text() const noexcept { return text_; }
  bool overflow() const noexcept { return overflow_; }

 private:
  char text_[4096] = "";
  size_t used_ = 0;
  bool overflow_ = false;
};

unsigned long LegacyFlags(unsigned attributes) noexcept {
  unsigned long flags = 0;
  if (attributes & MOUNT_ATTR_NOSUID) flags |= MS_NOSUID;
  if (attributes & MOUNT_ATTR_NODEV) flags |= MS_NODEV;
  if (attributes & MOUNT_ATTR_RDONLY) flags |= MS_RDONLY;
  if (attributes & MOUNT_ATTR_NOEXEC) flags |= MS_NOEXEC;
  if ((attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME) flags |= MS_NOATIME;
  if ((attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_STRICTATIME) flags |= MS_STRICTATIME;
  if (attributes & MOUNT_ATTR_NODIRATIME) flags |= MS_NODIRATIME;
  return flags;
}

// The directories that mount(2)'s options name, open for as long as it takes. The first that cannot
// be opened is what fails; the others are not tried then.
class OpenDirectories {
 public:
  explicit OpenDirectories(ChildFailure* failure) noexcept : failure_(failure) {}
  OpenDirectories(const OpenDirectories&) = delete;
  OpenDirectories& operator=(const OpenDirectories&) = delete;
  ~OpenDirectories() {
    for (size_t i = 0; i < count_; ++i) ::close(fds_[i]);
  }
  int Open(const char* path) noexcept {
    if (rc_ < 0) return -1;
    int fd = sys::OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY);
    if (fd < 0) {
      failure_->Set(-fd, "open", path);
      rc_ = fd;
      return -1;
    }
    fds_[count_++] = fd;
    return fd;
  }
  int rc() const noexcept { return rc_; }

 private:
  ChildFailure* failure_;
  int fds_[kMaxOverlayLowers + 4];
  size_t count_ = 0;
  int rc_ = 0;
};

void AddOptions(const OverlayPlan& plan, OpenDirectories* directories,
                OptionText* options) noexcept {
  if (plan.trusted) {
    for (const auto& option : kTrustedOptions) {
      options->Add(option[0]);
      options->Add("=");
      options->Add(option[1]);
      options->Add(",");
    }
  } else {
    options->Add("userxattr,");
  }
  if (plan.context != nullptr) {
    options->Add("context=\"");
    options->Add(plan.context);
    options->Add("\",");
  }
  options->Add("lowerdir=");
  for (size_t i = plan.lower_count; i-- > 0;) {
    options->AddNumber(directories->Open(plan.lowers[i]));
    if (i > 0) options->Add(":");
  }
  if (plan.upper != nullptr) {
    if (!plan.keep_upper) options->Add(",volatile");
    // By its name where that can be: mountinfo then tells whose upper it is.
    options->Add(",upperdir=");
    if (*plan.upper == '/' && std::strpbrk(plan.upper, ",:\\") == nullptr) {
      options->Add(plan.upper);
    } else {
      options->AddNumber(directories->Open(plan.upper));
    }
    options->Add(",workdir=");
    options->AddNumber(directories->Open(plan.work));
  }
  if (plan.uniform_inodes) options->Add(",xino=on");
}

// mount(2) from /proc/self/fd, where the directories have short names.
int MountNamedByDescriptors(const OverlayPlan& plan, const char* attach_at,
                            ChildFailure* failure) noexcept {
  OpenDirectories directories(failure);
  OptionText options;
  AddOptions(plan, &directories, &options);
  int back = directories.Open(".");
  OptionText target;
  target.AddNumber(directories.Open(attach_at));
  if (directories.rc() < 0) return directories.rc();
  if (options.overflow()) {
    failure->Set(E2BIG, "mount overlay", "too many layers for one page of options");
    return -E2BIG;
  }
  if (::chdir("/proc/self/fd") != 0) {
    failure->Set(errno, "chdir", "/proc/self/fd");
    return -failure->sys_errno;
  }
  int rc = sys::Mount(plan.source != nullptr ? plan.source : "overlay", target.text(), "overlay",
                      LegacyFlags(plan.attributes), options.text());
  if (rc < 0) failure->Set(-rc, "mount overlay", options.text());
  if (::fchdir(back) != 0 && rc == 0) {
    rc = -errno;
    failure->Set(-rc, "fchdir", ".");
  }
  return rc;
}

int MountByMount2(const OverlayPlan& plan, const char* attach_at, ChildFailure* failure) noexcept {
  int rc = MountNamedByDescriptors(plan, attach_at, failure);
  if (rc < 0) return rc;
  rc = sys::OpenAt(AT_FDCWD, attach_at, O_PATH | O_DIRECTORY);
  if (rc < 0) failure->Set(-rc, "open", attach_at);
  return rc;
}

int CheckPlan(const OverlayPlan& plan, ChildFailure* failure) noexcept {
  if (plan.lower_count > 0 && plan.lower_count <= kMaxOverlayLowers) return 0;
  failure->Set(plan.lower_count == 0 ? EINVAL : E2BIG, "mount overlay", "number of layers");
  return -failure->sys_errno;
}

// The mount at `attach_at`, taken off.
int Detach(const char* attach_at, ChildFailure* failure) noexcept {
  int tree = sys::OpenTree(AT_FDCWD, attach_at, OPEN_TREE_CLONE);
  if (tree < 0) failure->Set(-tree, "open_tree", attach_at);
  const int rc = sys::Umount2(attach_at, UMOUNT_NOFOLLOW);
  if (rc < 0 && tree >= 0) {
    failure->Set(-rc, "umount", attach_at);
    ::close(tree);
    return rc;
  }
  return tree;
}

}  // namespace

int MountOverlay(const OverlayPlan& plan, const char* attach_at, ChildFailure* failure) noexcept {
  int rc = CheckPlan(plan, failure);
  if (rc < 0) return rc;
  bool too_old;
  int fd = MountByFsConfig(plan, &too_old, failure);
  if (fd < 0) return too_old ? MountByMount2(plan, attach_at, failure) : fd;
  // The target may be a link in /proc/self/fd.
  rc = sys::MoveMount(fd, "", AT_FDCWD, attach_at, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
  if (rc < 0) {
    failure->Set(-rc, "move_mount overlay", attach_at);
    ::close(fd);
    return rc;
  }
  return fd;
}

int MountDetachedOverlay(const OverlayPlan& plan, const char* attach_at,
                         ChildFailure* failure) noexcept {
  int rc = CheckPlan(plan, failure);
  if (rc < 0) return rc;
  bool too_old;
  int fd = MountByFsConfig(plan, &too_old, failure);
  if (fd >= 0 || !too_old) return fd;
  fd = MountByMount2(plan, attach_at, failure);
  if (fd < 0) return fd;
  ::close(fd);
  return Detach(attach_at, failure);
}

}  // namespace strata
