// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/option_texts.h"

namespace strata::bwrap {
namespace {

constexpr OptionText kTexts[] = {
    {"--help", "print this", "General"},
    {"--version", "print the version of bubblewrap that this stands for", nullptr},
    {"--args FD", "read more options from FD, each ended by a NUL byte", nullptr},
    {"--argv0 VALUE", "give the command VALUE as its argv[0]", nullptr},
    {"--level-prefix", "start each message with its level, for example <3>", nullptr},
    {"--unshare-all", "all of the following namespaces; user and cgroup as far as there are any",
     "Namespaces"},
    {"--share-net", "keep the network (after --unshare-all)", nullptr},
    {"--unshare-user", "a new user namespace; implied for an ordinary user", nullptr},
    {"--unshare-user-try", "a new user namespace where that is possible", nullptr},
    {"--unshare-ipc, --unshare-pid, --unshare-net, --unshare-uts, --unshare-cgroup",
     "a new namespace of that kind; net has loopback only", nullptr},
    {"--unshare-cgroup-try", "a new cgroup namespace where the kernel has them", nullptr},
    {"--userns FD", "join this user namespace (not with --unshare-user)", nullptr},
    {"--userns2 FD", "change to this user namespace when all is set up", nullptr},
    {"--pidns FD", "join this pid namespace; with --unshare-pid, as the parent", nullptr},
    {"--disable-userns", "no more user namespaces in the sandbox (needs --unshare-user)", nullptr},
    {"--assert-userns-disabled", "fail if the sandbox could make more user namespaces", nullptr},
    {"--uid, --gid ID", "the id in the sandbox (needs --unshare-user or --userns)", nullptr},
    {"--hostname NAME", "host name in the sandbox (needs --unshare-uts)", nullptr},
    {"--chdir DIR", "start in DIR; else where the caller is, else in $HOME, else in /",
     "Environment of the command"},
    {"--clearenv", "remove all variables", nullptr},
    {"--setenv VAR VALUE", "set a variable", nullptr},
    {"--unsetenv VAR", "remove a variable", nullptr},
    {"--bind SRC DEST", "show SRC of the host at DEST, without devices and set-user-ids", "Files"},
    {"--ro-bind SRC DEST", "show SRC at DEST, read-only", nullptr},
    {"--dev-bind SRC DEST", "show SRC at DEST, with devices", nullptr},
    {"--bind-try, --ro-bind-try, --dev-bind-try SRC DEST", "show SRC at DEST if there is a SRC",
     nullptr},
    {"--bind-fd, --ro-bind-fd FD DEST", "show the directory or file that is open as FD", nullptr},
    {"--remount-ro DEST", "make the mount at DEST read-only, but not those below it", nullptr},
    {"--overlay-src SRC", "a layer of the following overlay; the first one is at the bottom",
     nullptr},
    {"--layer REF", "the same, with a layer of the strata store (only in strata-bwrap)", nullptr},
    {"--overlay RWSRC WORKDIR DEST",
     "mount an overlay, writes go to RWSRC; WORKDIR is an empty directory on the same file system",
     nullptr},
    {"--tmp-overlay DEST", "mount an overlay, writes go to a tmpfs", nullptr},
    {"--ro-overlay DEST", "mount an overlay that is read-only", nullptr},
    {"--proc DEST", "mount a procfs", nullptr},
    {"--dev DEST", "mount a minimal /dev", nullptr},
    {"--tmpfs DEST", "mount a tmpfs", nullptr},
    {"--mqueue DEST", "mount an mqueue file system", nullptr},
    {"--dir DEST", "make a directory", nullptr},
    {"--file FD DEST", "write what is read from FD to a file", nullptr},
    {"--bind-data FD DEST", "show what is read from FD as a file that can be written to", nullptr},
    {"--ro-bind-data FD DEST", "show what is read from FD as a file that is read-only", nullptr},
    {"--symlink SRC DEST", "make DEST a link to SRC", nullptr},
    {"--chmod OCTAL DEST", "change the mode of DEST", nullptr},
    {"--perms OCTAL", "mode for the next --dir, --file, --bind-data or --tmpfs", nullptr},
    {"--size BYTES", "size of the next --tmpfs", nullptr},
    {"--exec-label, --file-label LABEL", "SELinux labels: not supported", nullptr},
    {"--new-session", "detach from the terminal", "Life and rights"},
    {"--die-with-parent", "end the sandbox when the caller ends", nullptr},
    {"--as-pid-1", "no reaper: COMMAND itself is pid 1 (needs --unshare-pid)", nullptr},
    {"--not-a-security-boundary",
     "where the mounts below a bind cannot be restricted, warn and go on", nullptr},
    {"--cap-add, --cap-drop CAP", "keep or drop a capability, or ALL", nullptr},
    {"--seccomp FD", "install the seccomp program that is read from FD", nullptr},
    {"--add-seccomp-fd FD", "the same; may be repeated", nullptr},
    {"--lock-file DEST", "hold a shared lock on DEST as long as the sandbox lives", nullptr},
    {"--sync-fd FD", "keep FD open as long as the sandbox lives", nullptr},
    {"--info-fd FD", "write what is known of the sandbox to FD, as JSON", "Reports"},
    {"--json-status-fd FD", "write that, and later the exit status, to FD, one JSON per line",
     nullptr},
    {"--block-fd FD", "wait until FD can be read before the command starts", nullptr},
    {"--userns-block-fd FD", "wait until FD can be read; somebody else writes the id maps",
     nullptr},
};

}  // namespace

constinit const char* const kDescription =
    "Runs COMMAND in new namespaces with a root made of what the options say, in their order, at first\n"
    "an empty tmpfs. Paths DEST are in the new root, and links in it never lead out of it. This is\n"
    "strata's executable for the command line of bubblewrap 0.11.";
constinit const std::span<const OptionText> kOptionTexts = kTexts;

}  // namespace strata::bwrap
