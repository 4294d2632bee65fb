// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/mount.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "stager/overlay.h"
#include "tools/strata-mount/directories.h"
#include "tools/strata-mount/same_overlay.h"

namespace strata::mount {
namespace {

// Whether attributes in trusted.* can be written, which is for root of the machine alone.
bool MayTrust() {
  UniqueFd file(::memfd_create("probe", MFD_CLOEXEC));
  return file.valid() && sys::FsetXattr(file.get(), "trusted.strata", "y", 1) >= 0;
}

bool HasSelinux() {
  return ::access("/sys/fs/selinux/enforce", F_OK) == 0;
}

int64_t BootTime() {
  timespec now;
  timespec up;
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  return now.tv_sec - up.tv_sec;
}

// A volatile mount leaves a mark, and the kernel mounts nothing more until it is gone: after a
// crash the upper may not be what was written to it. Within one boot it is.
Result<void> RemoveVolatileMark(const std::string& work) {
  const std::string mark = work + "/work/incompat/volatile";
  // What the kernel makes there is no link, and what one leads to is not ours to remove.
  UniqueFd above(
      sys::OpenAt(AT_FDCWD, (work + "/work").c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (!above.valid()) return {};
  UniqueFd directory(sys::OpenAt(above.get(), "incompat", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat st;
  if (!directory.valid() || sys::FstatAt(directory.get(), "volatile", &st) < 0) return {};
  if (st.st_mtim.tv_sec < BootTime()) {
    return Unexpected(
        Error(Errc::kBusy,
              "the machine went down while this workdir was mounted with `volatile`: what is in "
              "the upperdir may be incomplete")
            .Hint(fmt::format("to use it all the same: rm -r {}", mark)));
  }
  return RemoveTree(directory.get(), "volatile");
}

// What another way to mount may get around.
bool IsRefusal(int sys_errno) {
  constexpr int kRefusals[] = {EPERM,      EACCES, ENOSYS, ENODEV, EINVAL,
                               EOPNOTSUPP, ELOOP,  E2BIG,  EREMOTE};
  return std::find(std::begin(kRefusals), std::end(kRefusals), sys_errno) != std::end(kRefusals);
}

Error Explain(const ChildFailure& failure) {
  Error error = failure.ToError();
  if (!IsRefusal(failure.sys_errno)) return error;
  Error refusal(Errc::kUnsupported, error.message());
  switch (failure.sys_errno) {
    case EPERM:
    case EACCES:
      return std::move(refusal).Hint(
          "only root may mount, or who is root of a user namespace: `unshare -Urm`, `podman "
          "unshare`");
    case ELOOP:
      return std::move(refusal).Hint("one of the directories is inside of another");
    case E2BIG:
      return std::move(refusal).Hint(
          fmt::format("an overlay has at most {} layers", kMaxOverlayLowers));
    default:
      return std::move(refusal).Hint(
          "`dmesg` may say more: not every file system can carry an upperdir");
  }
}

void Describe(const Request& request, const Overlay& overlay) {
  for (const std::string& lower : overlay.lowers)
    std::fprintf(stderr, "lowerdir=%s\n", lower.c_str());
  std::fprintf(stderr, "upperdir=%s\n", overlay.upper.empty() ? "NOT USED" : overlay.upper.c_str());
  std::fprintf(stderr, "workdir=%s\n", overlay.work.empty() ? "NOT USED" : overlay.work.c_str());
  std::fprintf(stderr, "mountpoint=%s\n", request.target.c_str());
}

}  // namespace

Result<void> PrepareUpper(const Request& request, Overlay* overlay) {
  if (request.upper.empty()) return {};
  STRATA_ASSIGN(overlay->upper, RealPath(request.upper));
  STRATA_ASSIGN(overlay->work, RealPath(request.work));
  return RemoveVolatileMark(overlay->work);
}

Result<void> AttachOverlay(const Request& request, const Overlay& overlay) {
  std::vector<const char*> lowers;
  for (const std::string& lower : overlay.lowers) lowers.insert(lowers.begin(), lower.c_str());
  OverlayPlan plan;
  plan.lowers = lowers.data();
  plan.lower_count = lowers.size();
  if (!overlay.upper.empty()) {
    plan.upper = overlay.upper.c_str();
    plan.work = overlay.work.c_str();
  }
  plan.keep_upper = !request.is_volatile;
  plan.uniform_inodes = overlay.uniform_inodes;
  plan.attributes = request.attributes;
  plan.trusted = overlay.trusted;
  plan.source = request.source.empty() ? "strata-mount" : request.source.c_str();
  if (!request.context.empty() && HasSelinux()) plan.context = request.context.c_str();
  if (request.debug) Describe(request, overlay);
  ChildFailure failure;
  int fd = MountOverlay(plan, request.target.c_str(), &failure);
  if (fd < 0) return Unexpected(Explain(failure));
  ::close(fd);
  return {};
}

Result<void> MountDirectories(const Request& request) {
  Overlay overlay;
  overlay.trusted = !request.userxattr && MayTrust();
  STRATA_ASSIGN(bool shown, ShowSameOverlay(request));
  if (shown) return {};
  STRATA_TRY(PrepareUpper(request, &overlay));
  STRATA_ASSIGN(Directories directories, Directories::Open(request.lowers));
  STRATA_TRY(directories.Translate(request, &overlay));
  return AttachOverlay(request, overlay);
}

Result<void> StayUntilUnmounted(const std::string& target) {
  STRATA_ASSIGN(std::string place, RealPath(target));
  const uint64_t mount = MountIdAt(place);
  sigset_t signals;
  ::sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  UniqueFd asked(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!asked.valid()) return FailSys(errno, "signalfd");
  STRATA_ASSIGN(UniqueFd table, OpenAt(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY));
  for (;;) {
    STRATA_ASSIGN(bool there, IsMounted(mount));
    if (!there) return {};
    pollfd events[2] = {{table.get(), POLLPRI, 0}, {asked.get(), POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return FailSys(errno, "poll");
    if (events[1].revents == 0) continue;
    if (MountIdAt(place) != mount) return {};  // something else covers it: not ours to take away
    int rc = sys::Umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    return rc < 0 ? FailSys(-rc, "umount", place) : Result<void>();
  }
}

}  // namespace strata::mount
