// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/ids.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/sys.h"
#include "tools/strata-bwrap/message.h"

namespace strata::bwrap {
namespace {

struct Ids {
  unsigned uid;
  unsigned gid;
  bool operator==(const Ids&) const = default;
};

// By the descriptor, since /proc may not be in the sandbox.
int WriteProcFile(const SandboxPlan& plan, const char* path, const char* text) noexcept {
  int fd = sys::OpenAt(plan.proc_fd, path, O_WRONLY);
  if (fd < 0) return fd;
  const int64_t rc = sys::Write(fd, text, std::strlen(text));
  ::close(fd);
  return rc < 0 ? static_cast<int>(rc) : 0;
}

void Map(const SandboxPlan& plan, Ids inside, Ids outside, bool deny_setgroups) noexcept {
  char text[32];
  std::snprintf(text, sizeof text, "%u %u 1\n", inside.uid, outside.uid);
  int rc = WriteProcFile(plan, "self/uid_map", text);
  if (rc < 0) DieWith(rc, "setting up uid map");
  if (deny_setgroups) {
    rc = WriteProcFile(plan, "self/setgroups", "deny\n");
    if (rc < 0 && rc != -ENOENT) DieWith(rc, "error writing to setgroups");
  }
  std::snprintf(text, sizeof text, "%u %u 1\n", inside.gid, outside.gid);
  rc = WriteProcFile(plan, "self/gid_map", text);
  if (rc < 0) DieWith(rc, "setting up gid map");
}

Ids Wanted(const Options& o) noexcept {
  return {static_cast<unsigned>(o.uid), static_cast<unsigned>(o.gid)};
}

Ids First(const Options& o) noexcept {
  return o.needs_devpts ? Ids{0, 0} : Wanted(o);
}

bool MapsItself(const Options& o) noexcept {
  return o.unshare_user && o.userns_block_fd < 0;
}

}  // namespace

void BecomeSandboxIds(const SandboxPlan& plan) noexcept {
  const Ids wanted = Wanted(plan.options);
  if (wanted.gid != plan.gid) {
    int rc = sys::SetResGid(wanted.gid);
    if (rc < 0) DieWith(rc, "unable to switch to gid %u", wanted.gid);
  }
  if (wanted.uid != plan.uid) {
    int rc = sys::SetResUid(wanted.uid);
    if (rc < 0) DieWith(rc, "unable to switch to uid %u", wanted.uid);
  }
}

void MapFirstIds(const SandboxPlan& plan) noexcept {
  if (!MapsItself(plan.options)) return;
  Map(plan, First(plan.options), {plan.uid, plan.gid}, true);
}

void MapFinalIds(const SandboxPlan& plan) noexcept {
  const Options& o = plan.options;
  if (o.userns2_fd >= 0) {
    int rc = sys::SetNs(o.userns2_fd, CLONE_NEWUSER);
    if (rc < 0) DieWith(rc, "Setting userns2 failed");
  }
  const Ids first = First(o);
  if (MapsItself(o) && (first != Wanted(o) || o.disable_userns)) {
    if (o.disable_userns) {
      int rc = WriteProcFile(plan, "sys/user/max_user_namespaces", "1");
      if (rc < 0) DieWith(rc, "sysctl user.max_user_namespaces = 1");
    }
    int rc = sys::Unshare(CLONE_NEWUSER);
    if (rc < 0) DieWith(rc, "unshare user ns");
    Map(plan, Wanted(o), first, false);
  }
  if ((o.disable_userns || o.assert_userns_disabled) && sys::Unshare(CLONE_NEWUSER) == 0) {
    Die("creation of new user namespaces was not disabled as requested");
  }
}

}  // namespace strata::bwrap
