// SPDX-License-Identifier: Apache-2.0
//
// The seccomp filter of a sandbox: what `strata run --seccomp build|FILE` installs.
//
// The filter for builds is a deny list: what is not named below is allowed, so that a program which
// asks for a system call newer than strata gets the kernel's own answer.
//
//   answer        to
//   EPERM         mount, umount, umount2, pivot_root, setns [n]
//                 unshare and clone with a flag that makes a namespace [n]
//                 add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd
//                 open_by_handle_at, quotactl, quotactl_fd, acct, swapon, swapoff, reboot,
//                 kexec_load, kexec_file_load, init_module, finit_module, delete_module
//                 settimeofday, stime, clock_settime, iopl, ioperm, vm86, lookup_dcookie,
//                 nfsservctl ioctl with TIOCSTI or TIOCLINUX (the low 32 bits decide, as in the
//                 kernel)
//   ENOSYS        clone3 (its flags lie behind a pointer; libc falls back to clone)
//                 open_tree, open_tree_attr, move_mount, fsopen, fsconfig, fsmount, fspick,
//                 mount_setattr [n]
//                 io_uring_setup, io_uring_enter, io_uring_register
//                 socketcall of 32-bit x86 (the address family lies behind a pointer)
//                 every system call of the x32 ABI, as in a kernel built without it
//   EAFNOSUPPORT  socket and socketpair of every family but UNIX, INET, INET6 and NETLINK
//   0             chown, fchown, lchown, fchownat, with ChownPolicy::kIgnore: nothing is changed
//
//   [n] allowed with NestedUserns::kAllowed, since that is what nested user namespaces are for
//
// The 32-bit ABI of the machine (i386 on x86-64, arm on aarch64) has the same rules under its own
// numbers. It loses one thing that works elsewhere: a libc that reaches sockets by socketcall, as
// glibc for i386 does unless it was configured for Linux 4.3 or later (Debian's is not), has no
// sockets.
//
// Allowed on purpose: ptrace and process_vm_* (debuggers and tracers in builds), chroot (its
// capability may be granted), adjtimex and clock_adjtime (reading them is ordinary; setting needs a
// capability that no sandbox has), name_to_handle_at (of no use without open_by_handle_at),
// personality, modify_ldt, and chmod with setuid bits (dpkg must see it succeed; the store drops
// them).
//
// The filter is made by libseccomp when strata is built (seccomp_policy.h, seccomp_generate.cc):
// making it costs 0.7 ms, installing the ready array 0.07 ms.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

// What chown answers. Where only one id is mapped the kernel refuses every other owner, and
// unpacking an ordinary release archive as uid 0 fails.
enum class ChownPolicy { kFail, kIgnore };  // kFail: what the kernel says

enum class NestedUserns { kDenied, kAllowed };

// A program to install. A view: plain data that stays valid in a cloned child. For one made of a
// vector, the vector has to live on.
struct SeccompFilter {
  const sock_filter* insns = nullptr;
  uint16_t count = 0;  // at most BPF_MAXINSNS

  // What SECCOMP_SET_MODE_FILTER takes. The kernel only reads through the pointer.
  sock_fprog Program() const noexcept { return {count, const_cast<sock_filter*>(insns)}; }
};

// The filter for builds. Points to constant data: no allocation, may be called after clone.
SeccompFilter BuildFilter(ChownPolicy chown, NestedUserns nested) noexcept;

// A filter that the user provides: an array of struct sock_filter in the machine's byte order, as
// seccomp_export_bpf() writes it and `bwrap --seccomp` reads it. An error (kInvalid) when it is
// empty, not a whole number of instructions, or longer than BPF_MAXINSNS. Whether the program is
// valid the kernel decides when it is installed (EINVAL).
Result<std::vector<sock_filter>> LoadFilterFile(const std::string& path);

// The same, from a descriptor to its end; `name` is for the message. The descriptor stays open.
Result<std::vector<sock_filter>> LoadFilterFd(int fd, std::string_view name);

inline SeccompFilter View(const std::vector<sock_filter>& insns) noexcept {
  return {insns.data(), static_cast<uint16_t>(insns.size())};
}

}  // namespace strata
