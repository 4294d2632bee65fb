// SPDX-License-Identifier: Apache-2.0
//
// The cloned child, from clone to exec. Set-up runs with the caller's root as /, and the root that
// is made hangs above it: a tmpfs becomes the root of the namespace and the caller's root a mount
// below it, so that a recursive bind of / does not take the new root along.
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sandbox/loopback.h"
#include "sandbox/mount_ops.h"
#include "sandbox/privileges.h"
#include "tools/strata-bwrap/ids.h"
#include "tools/strata-bwrap/input.h"
#include "tools/strata-bwrap/message.h"
#include "tools/strata-bwrap/operations.h"
#include "tools/strata-bwrap/sandbox_plan.h"

namespace strata::bwrap {
namespace {

void CloseIf(int fd) noexcept {
  if (fd >= 0) ::close(fd);
}

void WaitForMonitor(const SandboxPlan& plan) noexcept {
  const Options& o = plan.options;
  CloseIf(o.info_fd);
  CloseIf(o.json_status_fd);
  CloseIf(plan.lifeline[1]);
  if (plan.go[0] < 0) return;
  ::close(plan.go[1]);
  char byte;
  if (sys::Read(plan.go[0], &byte, 1) != 1)
    sys::ExitNow(1);  // the monitor has said why, or was killed
  ::close(plan.go[0]);
}

// As a tmpfs with `newroot` in it. The caller's root goes below it, but stays this process's /.
void MakeNewRoot(const SandboxPlan& plan, NewRoot* root) noexcept {
  constexpr char kBase[] = "/tmp";
  int rc = 0;
  // A new user namespace gets copies of the mounts that are slaves already.
  if (!plan.new_user_namespace()) {
    rc = sys::Mount(nullptr, "/", nullptr, MS_SILENT | MS_SLAVE | MS_REC, nullptr);
    if (rc < 0) DieMount(rc, "Failed to make / slave");
  }
  Descriptor old_root(sys::OpenAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  Descriptor old_directory(sys::OpenAt(AT_FDCWD, ".", O_PATH | O_DIRECTORY));
  if (old_root.fd < 0) DieWith(old_root.fd, "can't open /");
  rc = sys::Mount("tmpfs", kBase, "tmpfs", kNoSetuidNoDevices, nullptr);
  if (rc < 0) DieMount(rc, "Failed to mount tmpfs");
  root->base_fd = sys::OpenAt(AT_FDCWD, kBase, O_PATH | O_DIRECTORY);
  if (root->base_fd < 0 || ::fchdir(root->base_fd) != 0) DieWith(errno, "chdir base_path");
  rc = sys::MkdirAt(AT_FDCWD, "newroot", 0755);
  if (rc < 0) DieWith(rc, "Creating newroot failed");
  rc = sys::MkdirAt(AT_FDCWD, "oldroot", 0755);
  if (rc < 0) DieWith(rc, "Creating oldroot failed");
  rc = sys::Mount("newroot", "newroot", nullptr, MS_SILENT | MS_BIND, nullptr);
  if (rc < 0) DieMount(rc, "setting up newroot bind");
  rc = sys::PivotRoot(".", "oldroot");
  if (rc < 0) DieWith(rc, "pivot_root");
  if (::fchdir(old_root.fd) != 0 || ::chroot(".") != 0) DieWith(errno, "chroot to the old root");
  // Without a directory of its own, the caller cannot name anything relative to it either.
  if (old_directory.fd >= 0 && ::fchdir(old_directory.fd) != 0) DieWith(errno, "chdir");
  ReopenRoot(root);
}

void EnterNewRoot(NewRoot* root) noexcept {
  ReopenRoot(root);
  if (::fchdir(root->base_fd) != 0 || ::chroot(".") != 0) DieWith(errno, "chroot to the base");
  if (::fchdir(root->fd) != 0) DieWith(errno, "chdir /newroot");
  // Old and new root on one spot, then the old one is let go, with all that is below it.
  int rc = sys::PivotRoot(".", ".");
  if (rc < 0) DieWith(rc, "pivot_root(/newroot)");
  rc = sys::Umount2(".", MNT_DETACH);
  if (rc < 0) DieWith(rc, "umount old root");
  if (::chdir("/") != 0) DieWith(errno, "chdir /");
  ::close(root->base_fd);
  ::close(root->fd);
}

// Descriptors that the set-up got from the caller or opened. What is left is the caller's wish:
// links of the root are followed next, which may lead to /proc/self/fd.
void CloseConsumed(const SandboxPlan& plan) noexcept {
  const Options& o = plan.options;
  CloseIf(o.userns_fd);
  CloseIf(o.userns2_fd);
  CloseIf(o.pidns_fd);
  CloseIf(plan.proc_fd);
}

void DropRights(const SandboxPlan& plan) noexcept {
  const Options& o = plan.options;
  ChildFailure failure;
  if (plan.new_user_namespace()) {
    int rc = DropBoundingSet(o.capabilities, &failure);
    if (rc < 0 && rc != -EPERM) DieWith(rc, "Dropping capabilities from bounds");
  }
  // Root keeps what it has, and some callers' filters deny capset.
  if (o.capabilities_given || plan.uid != 0) {
    int rc = sys::CapSet(o.capabilities, o.capabilities, o.capabilities);
    if (rc < 0 && !(rc == -EPERM && plan.uid == 0)) DieWith(rc, "capset failed");
  }
  // /proc/self belongs to the user again; but not with a lease, which pid 1 keeps: /proc/1/fd would
  // lead from it to all that the caller has. The command is readable after execve in any case.
  int rc = sys::Prctl(PR_SET_DUMPABLE, o.leases.empty() ? 1 : 0);
  if (rc < 0) DieWith(rc, "can't set dumpable");
}

// So that they survive exec for a uid that is not 0. EPERM: not inheritable, so not wanted.
void RaiseAmbient(uint64_t capabilities) noexcept {
  for (unsigned cap = 0; cap < 64; ++cap) {
    if ((capabilities >> cap & 1) == 0) continue;
    int rc = sys::Prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap);
    if (rc == -EINVAL) break;  // the kernel knows no more
    if (rc < 0 && rc != -EPERM) DieWith(rc, "Adding ambient capability %u", cap);
  }
}

void TellAboutExec(const SandboxPlan& plan) noexcept {
  if (plan.exec_pipe[1] >= 0) sys::Write(plan.exec_pipe[1], "", 1);
}

[[noreturn]] void Execute(const SandboxPlan& plan, const sock_fprog& late_filter) noexcept {
  const Options& o = plan.options;
  if (!o.as_pid_1) CloseIf(o.sync_fd);
  for (int fd : o.leases) ::close(fd);
  ChangeDirectory(plan);
  DieWithParent(plan);
  RaiseAmbient(o.capabilities);
  // Last, so that a filter needs to allow nothing but what follows.
  InstallFilters(plan, late_filter);
  TellAboutExec(plan);
  const char* path = o.command[0];
  if (o.argv0 != nullptr) o.command[0] = const_cast<char*>(o.argv0);
  ::execvp(path, o.command);
  const int error = errno;
  TellAboutExec(plan);
  DieWith(error, "execvp %s", path);
}

}  // namespace

void ChangeDirectory(const SandboxPlan& plan) noexcept {
  const char* directory = plan.options.chdir;
  if (directory != nullptr) {
    if (::chdir(directory) != 0) DieWith(errno, "Can't chdir to %s", directory);
  } else {
    directory = "/";
    for (const char* wish :
         {plan.working_directory, static_cast<const char*>(std::getenv("HOME"))}) {
      if (wish == nullptr || ::chdir(wish) != 0) continue;
      directory = wish;
      break;
    }
  }
  // The monitor has put a PWD into the environment.
  static char variable[4200];
  std::snprintf(variable, sizeof variable, "PWD=%s", directory);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "PWD=", 4) == 0) *entry = variable;
  }
}

void DieWithParent(const SandboxPlan& plan) noexcept {
  if (!plan.options.die_with_parent) return;
  int rc = sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (rc < 0) DieWith(rc, "prctl");
  // The monitor may have ended before that.
  char byte;
  if (plan.lifeline[0] >= 0 && sys::Read(plan.lifeline[0], &byte, 1) == 0) sys::ExitNow(1);
}

void InstallFilters(const SandboxPlan& plan, const sock_fprog& late) noexcept {
  auto install = [](const sock_fprog& filter) noexcept {
    // Not seccomp(2): callers' filters allow what bubblewrap does after the first one.
    int rc =
        sys::Prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, reinterpret_cast<unsigned long>(&filter));
    if (rc == -EINVAL) {
      Die("Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP) reported "
          "EINVAL. (Hint: the program is no valid filter, or the kernel lacks "
          "CONFIG_SECCOMP_FILTER.)");
    }
    if (rc < 0) DieWith(rc, "prctl(PR_SET_SECCOMP)");
  };
  for (const sock_fprog& filter : plan.options.filters) install(filter);
  if (plan.options.seccomp_fd >= 0) install(late);
}

void RunChild(const SandboxPlan& plan) noexcept {
  const Options& o = plan.options;
  WaitForMonitor(plan);
  if (o.userns_fd >= 0) BecomeSandboxIds(plan);
  if (o.unshare_net) {
    ChildFailure failure;
    int rc = BringUpLoopback(&failure);
    // Callers look for these words to find out that the network cannot be had.
    if (rc < 0) DieWith(rc, "loopback: Failed RTM_NEWADDR");
  }
  MapFirstIds(plan);
  const mode_t old_umask = ::umask(0);
  NewRoot root;
  MakeNewRoot(plan, &root);
  RunOperations(o, plan.terminal, &root);
  EnterNewRoot(&root);
  MapFinalIds(plan);
  DropRights(plan);
  CloseConsumed(plan);

  if (o.block_fd >= 0) {
    char byte;
    sys::Read(o.block_fd, &byte, 1);
    ::close(o.block_fd);
  }
  static FilterData filter_data;
  sock_fprog late_filter{0, nullptr};
  if (o.seccomp_fd >= 0) {
    late_filter = ReadFilter(o.seccomp_fd, &filter_data);
    ::close(o.seccomp_fd);
  }
  ::umask(old_umask);
  if (o.new_session) {
    int rc = sys::SetSid();
    if (rc < 0) DieWith(rc, "setsid");
  }
  if (o.has_init()) {
    const int64_t pid = sys::Clone(0, nullptr);
    if (pid < 0) DieWith(static_cast<int>(pid), "Can't fork for pid 1");
    if (pid != 0) RunInit(plan, static_cast<pid_t>(pid), late_filter);
  }
  Execute(plan, late_filter);
}

}  // namespace strata::bwrap
