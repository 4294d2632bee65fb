// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstring>

#include "base/sys.h"
#include "tools/strata-bwrap/options.h"

namespace strata::bwrap {
namespace {

constexpr char kHelp[] =
    R"(
Runs COMMAND in new namespaces with a root made of what the options say, in their order, at first
an empty tmpfs. This is strata's executable for the command line of bubblewrap 0.11.

General
  --help                        print this
  --version                     print the version of bubblewrap that this stands for
  --args FD                     read more options from FD, each ended by a NUL byte
  --argv0 VALUE                 give the command VALUE as its argv[0]
  --level-prefix                start each message with its level, for example <3>

Namespaces
  --unshare-all                 all of the following; user and cgroup as far as there are any
  --share-net                   but keep the network (after --unshare-all)
  --unshare-user                a new user namespace; implied for an ordinary user
  --unshare-user-try            the same where user namespaces are on
  --unshare-ipc, --unshare-pid, --unshare-net, --unshare-uts, --unshare-cgroup
                                a new namespace of that kind; net has loopback only
  --unshare-cgroup-try          the same where the kernel has them
  --userns FD                   join this user namespace (not with --unshare-user)
  --userns2 FD                  change to this user namespace when all is set up
  --pidns FD                    join this pid namespace; with --unshare-pid, as the parent
  --disable-userns              no more user namespaces in the sandbox (needs --unshare-user)
  --assert-userns-disabled      fail if the sandbox could make more user namespaces
  --uid UID, --gid GID          ids in the sandbox (need --unshare-user or --userns)
  --hostname NAME               host name in the sandbox (needs --unshare-uts)

Environment of the command
  --chdir DIR                   start in DIR; else where the caller is, else in $HOME, else in /
  --clearenv                    remove all variables
  --setenv VAR VALUE            set one
  --unsetenv VAR                remove one

Files. All paths DEST are in the new root, and links in it never lead out of it.
  --bind SRC DEST               show SRC of the host at DEST, without devices and set-user-ids
  --ro-bind SRC DEST            the same, read-only
  --dev-bind SRC DEST           the same, with devices
  --bind-try, --ro-bind-try, --dev-bind-try SRC DEST
                                the same, but nothing where there is no SRC
  --bind-fd, --ro-bind-fd FD DEST
                                the same for the directory or file that is open as FD
  --remount-ro DEST             make the mount at DEST read-only, but not those below it
  --overlay-src SRC             a layer of the following overlay; the first one is at the bottom
  --layer REF                   the same with a layer of the strata store (only in strata-bwrap)
  --overlay RWSRC WORKDIR DEST  mount an overlay, writes go to RWSRC; WORKDIR is an empty directory
                                on the same file system
  --tmp-overlay DEST            mount an overlay, writes go to a tmpfs
  --ro-overlay DEST             mount an overlay that is read-only
  --proc DEST                   mount a procfs
  --dev DEST                    mount a minimal /dev
  --tmpfs DEST                  mount a tmpfs
  --mqueue DEST                 mount an mqueue file system
  --dir DEST                    make a directory
  --file FD DEST                write what is read from FD to a file
  --bind-data FD DEST           show what is read from FD as a file that can be written to
  --ro-bind-data FD DEST        the same, read-only
  --symlink SRC DEST            make DEST a link to SRC
  --chmod OCTAL DEST            change the mode of DEST
  --perms OCTAL                 mode for the next --dir, --file, --bind-data or --tmpfs
  --size BYTES                  size of the next --tmpfs
  --exec-label LABEL, --file-label LABEL
                                SELinux labels: not supported

Life and rights
  --new-session                 detach from the terminal
  --die-with-parent             end the sandbox when the caller ends
  --as-pid-1                    no reaper: COMMAND itself is pid 1 (needs --unshare-pid)
  --not-a-security-boundary     where the mounts below a bind cannot be restricted, warn and go on
  --cap-add CAP, --cap-drop CAP keep or drop a capability, or ALL
  --seccomp FD                  install the seccomp program that is read from FD
  --add-seccomp-fd FD           the same, may be given several times
  --lock-file DEST              hold a shared lock on DEST as long as the sandbox lives
  --sync-fd FD                  keep FD open as long as the sandbox lives

Reports
  --info-fd FD                  write what is known of the sandbox to FD, as JSON
  --json-status-fd FD           write that, and later the exit status, to FD, one JSON per line
  --block-fd FD                 wait until FD can be read before the command starts
  --userns-block-fd FD          wait until FD can be read; somebody else writes the id maps
)";

void PrintUsage(FILE* to, const char* argv0) {
  static_cast<void>(
      std::fprintf(to, "usage: %s [OPTIONS...] [--] COMMAND [ARGS...]\n%s", argv0, kHelp));
}

[[noreturn]] void Exit(int status) {
  // What could not be written (to a full disk, a closed pipe) is a failure.
  sys::ExitNow(std::fflush(nullptr) != 0 || std::ferror(stdout) != 0 ? 1 : status);
}

}  // namespace

void PrintHelp(const char* argv0) {
  PrintUsage(stdout, argv0);
  Exit(0);
}

void PrintUsageError(const char* argv0) {
  PrintUsage(stderr, argv0);
  Exit(1);
}

void PrintVersion() {
  std::puts("bubblewrap 0.11.1");
  Exit(0);
}

}  // namespace strata::bwrap
