// SPDX-License-Identifier: Apache-2.0
#include "tools/libstrata/mount_watch.h"

#include <poll.h>
#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include "base/sys.h"
#include "tools/libstrata/fork_mark.h"

namespace strata {
namespace {

constexpr int kLookAgainMs = 10;  // another thread may have read what this one waits for

Error ExplainInotify(Error error) {
  const bool too_many = error.sys_errno() == EMFILE || error.sys_errno() == ENOSPC;
  if (!too_many) return error;
  return std::move(error).Hint(
      "it takes one inotify instance of the user's: sysctl fs.inotify.max_user_instances");
}

}  // namespace

struct MountWatches::Instance {
  ForkMark owner;
  UniqueFd fd;
  std::mutex mutex;
  std::map<int, bool> gone;  // of each watch

  // With the mutex held.
  Result<void> ReadEvents() {
    alignas(inotify_event) char buffer[4096];
    for (;;) {
      const int64_t size = sys::Read(fd.get(), buffer, sizeof buffer);
      if (size == -EAGAIN) return {};
      STRATA_TRY(sys::Check(size, "read", "inotify"));
      for (int64_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        at += static_cast<int64_t>(sizeof *event + event->len);
        const auto found = gone.find(event->wd);
        if (found != gone.end() && (event->mask & IN_UNMOUNT) != 0) found->second = true;
      }
    }
  }
};

MountWatches::~MountWatches() {
  delete instance_.load();
}

Result<MountWatches::Instance*> MountWatches::Own() {
  Instance* known = instance_.load();
  if (known != nullptr && known->owner.IsOwn()) return known;
  auto made = std::make_unique<Instance>();
  STRATA_TRY(made->owner.Make());
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  Result<UniqueFd> opened = sys::CheckFd(fd < 0 ? -errno : fd, "inotify_init1");
  if (!opened) return Unexpected(ExplainInotify(std::move(opened).error()));
  made->fd = std::move(*opened);
  if (!instance_.compare_exchange_strong(known, made.get())) return known;  // another thread's
  // That of the parent process, of which this one has a copy, stays: another thread may be looking
  // at it.
  return made.release();
}

Result<void> MountWatches::Prepare() {
  STRATA_TRY(Own());
  return {};
}

Result<int> MountWatches::WatchHere() {
  STRATA_ASSIGN(Instance * own, Own());
  const std::lock_guard lock(own->mutex);
  STRATA_TRY(own->ReadEvents());  // what nobody has asked for
  // Of a root nothing else is told: it cannot be deleted. IN_UNMOUNT comes without being asked for.
  const int watch = ::inotify_add_watch(own->fd.get(), ".", IN_DELETE_SELF | IN_ONLYDIR);
  Result<int> added = sys::Check(watch < 0 ? -errno : watch, "inotify_add_watch", "the mount");
  if (!added) return Unexpected(ExplainInotify(std::move(added).error()));
  own->gone[watch] = false;
  return watch;
}

Result<bool> MountWatches::IsGone(int watch, int timeout_ms) {
  STRATA_ASSIGN(Instance * own, Own());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    {
      const std::lock_guard lock(own->mutex);
      STRATA_TRY(own->ReadEvents());
      const auto found = own->gone.find(watch);
      if (found != own->gone.end() && found->second) return true;
    }
    if (std::chrono::steady_clock::now() >= end) return false;
    pollfd ready{own->fd.get(), POLLIN, 0};
    static_cast<void>(::poll(&ready, 1, kLookAgainMs));
  }
}

void MountWatches::Forget(int watch) {
  Instance* known = instance_.load();
  if (known == nullptr || !known->owner.IsOwn()) return;
  const std::lock_guard lock(known->mutex);
  known->gone.erase(watch);
}

}  // namespace strata
