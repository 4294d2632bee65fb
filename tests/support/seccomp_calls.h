// SPDX-License-Identifier: Apache-2.0
//
// System calls by the number that each architecture has for them, and what the filter for builds is
// to answer to them.
#pragma once

#include <linux/sched.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ostream>

#include "sandbox/seccomp_filter.h"

namespace strata::testing {

inline constexpr ChownPolicy kChownPolicies[] = {ChownPolicy::kFail, ChownPolicy::kIgnore};
inline constexpr NestedUserns kNestedPolicies[] = {NestedUserns::kDenied, NestedUserns::kAllowed};

inline SeccompFilter DefaultFilter() {
  return BuildFilter(ChownPolicy::kFail, NestedUserns::kDenied);
}
inline SeccompFilter NestedFilter() {
  return BuildFilter(ChownPolicy::kFail, NestedUserns::kAllowed);
}
inline SeccompFilter ChownFilter() {
  return BuildFilter(ChownPolicy::kIgnore, NestedUserns::kDenied);
}

using Args = std::array<uint64_t, 5>;

// --- What is denied. The numbers are written out: they come from the kernel's tables and not from
// libseccomp's, and those of other machines are needed too.

inline constexpr int kNone = -1;

struct Numbers {
  int x86_64, i386, aarch64, arm;
};

struct Call {
  const char* name;
  Numbers numbers;
};

struct DeniedCall {
  const char* name;
  int answer;
  bool allowed_if_nested;
  Numbers numbers;
};

inline void PrintTo(const Call& call, std::ostream* out) {
  *out << call.name;
}
inline void PrintTo(const DeniedCall& call, std::ostream* out) {
  *out << call.name;
}

// With any arguments.
inline constexpr DeniedCall kDenied[] = {
    {"mount", EPERM, true, {165, 21, 40, 21}},
    {"umount", EPERM, true, {kNone, 22, kNone, kNone}},
    {"umount2", EPERM, true, {166, 52, 39, 52}},
    {"pivot_root", EPERM, true, {155, 217, 41, 218}},
    {"setns", EPERM, true, {308, 346, 268, 375}},
    {"open_tree", ENOSYS, true, {428, 428, 428, 428}},
    {"move_mount", ENOSYS, true, {429, 429, 429, 429}},
    {"fsopen", ENOSYS, true, {430, 430, 430, 430}},
    {"fsconfig", ENOSYS, true, {431, 431, 431, 431}},
    {"fsmount", ENOSYS, true, {432, 432, 432, 432}},
    {"fspick", ENOSYS, true, {433, 433, 433, 433}},
    {"mount_setattr", ENOSYS, true, {442, 442, 442, 442}},
    {"open_tree_attr", ENOSYS, true, {467, 467, 467, 467}},
    {"clone3", ENOSYS, false, {435, 435, 435, 435}},
    {"io_uring_setup", ENOSYS, false, {425, 425, 425, 425}},
    {"io_uring_enter", ENOSYS, false, {426, 426, 426, 426}},
    {"io_uring_register", ENOSYS, false, {427, 427, 427, 427}},
    {"socketcall", ENOSYS, false, {kNone, 102, kNone, kNone}},
    {"add_key", EPERM, false, {248, 286, 217, 309}},
    {"request_key", EPERM, false, {249, 287, 218, 310}},
    {"keyctl", EPERM, false, {250, 288, 219, 311}},
    {"bpf", EPERM, false, {321, 357, 280, 386}},
    {"perf_event_open", EPERM, false, {298, 336, 241, 364}},
    {"userfaultfd", EPERM, false, {323, 374, 282, 388}},
    {"lookup_dcookie", EPERM, false, {212, 253, 18, 249}},
    {"open_by_handle_at", EPERM, false, {304, 342, 265, 371}},
    {"reboot", EPERM, false, {169, 88, 142, 88}},
    {"kexec_load", EPERM, false, {246, 283, 104, 347}},
    {"kexec_file_load", EPERM, false, {320, kNone, 294, 401}},
    {"init_module", EPERM, false, {175, 128, 105, 128}},
    {"finit_module", EPERM, false, {313, 350, 273, 379}},
    {"delete_module", EPERM, false, {176, 129, 106, 129}},
    {"swapon", EPERM, false, {167, 87, 224, 87}},
    {"swapoff", EPERM, false, {168, 115, 225, 115}},
    {"acct", EPERM, false, {163, 51, 89, 51}},
    {"quotactl", EPERM, false, {179, 131, 60, 131}},
    {"quotactl_fd", EPERM, false, {443, 443, 443, 443}},
    {"nfsservctl", EPERM, false, {180, 169, 42, 169}},
    {"iopl", EPERM, false, {172, 110, kNone, kNone}},
    {"ioperm", EPERM, false, {173, 101, kNone, kNone}},
    {"vm86", EPERM, false, {kNone, 166, kNone, kNone}},
    {"vm86old", EPERM, false, {kNone, 113, kNone, kNone}},
    {"settimeofday", EPERM, false, {164, 79, 170, 79}},
    {"stime", EPERM, false, {kNone, 25, kNone, kNone}},
    {"clock_settime", EPERM, false, {227, 264, 112, 262}},
    {"clock_settime64", EPERM, false, {kNone, 404, kNone, 404}},
};

inline constexpr Call kChownCalls[] = {
    {"chown", {92, 182, kNone, 182}},       {"fchown", {93, 95, 55, 95}},
    {"lchown", {94, 16, kNone, 16}},        {"fchownat", {260, 298, 54, 325}},
    {"chown32", {kNone, 212, kNone, 212}},  {"fchown32", {kNone, 207, kNone, 207}},
    {"lchown32", {kNone, 198, kNone, 198}},
};

// Calls that one might deny, and that builds need or nothing is gained by denying.
inline constexpr Call kAllowed[] = {
    {"chroot", {161, 61, 51, 61}},
    {"ptrace", {101, 26, 117, 26}},
    {"process_vm_readv", {310, 347, 270, 376}},
    {"process_vm_writev", {311, 348, 271, 377}},
    {"name_to_handle_at", {303, 341, 264, 370}},
    {"adjtimex", {159, 124, 171, 124}},
    {"clock_adjtime", {305, 343, 266, 372}},
    {"personality", {135, 136, 92, 136}},
    {"modify_ldt", {154, 123, kNone, kNone}},
    {"fchmod", {91, 94, 52, 94}},
    {"fchmodat", {268, 306, 53, 333}},
    {"fchmodat2", {452, 452, 452, 452}},
    {"memfd_secret", {447, 447, 447, kNone}},
    {"landlock_create_ruleset", {444, 444, 444, 444}},
    {"futex_waitv", {449, 449, 449, 449}},
    {"statmount", {457, 457, 457, 457}},
    {"listmount", {458, 458, 458, 458}},
    {"mseal", {462, 462, 462, 462}},
    {"future_call", {1000, 1000, 1000, 1000}},
};

inline constexpr Numbers kClone = {56, 120, 220, 120};
inline constexpr Numbers kUnshare = {272, 310, 97, 337};
inline constexpr Numbers kIoctl = {16, 54, 29, 54};
inline constexpr Numbers kSocket = {41, 359, 198, 281};
inline constexpr Numbers kSocketPair = {53, 360, 199, 288};
inline constexpr int kX32Bit = 0x40000000;

inline constexpr uint64_t kNewTime = 0x80;
inline constexpr uint64_t kEmptyMountNamespace = 0x00100000;

struct Flag {
  const char* name;
  uint64_t bit;
};
inline constexpr Flag kNamespaceFlags[] = {
    {"NEWNS", CLONE_NEWNS},   {"NEWCGROUP", CLONE_NEWCGROUP}, {"NEWUTS", CLONE_NEWUTS},
    {"NEWIPC", CLONE_NEWIPC}, {"NEWUSER", CLONE_NEWUSER},     {"NEWPID", CLONE_NEWPID},
    {"NEWNET", CLONE_NEWNET},
};

inline uint64_t AllNamespaceFlags() {
  uint64_t all = 0;
  for (const Flag& flag : kNamespaceFlags) all |= flag.bit;
  return all;
}

inline bool MayOpenFamily(uint64_t family) {
  return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

inline bool SameProgram(const SeccompFilter& a, const SeccompFilter& b) {
  return a.count == b.count && std::memcmp(a.insns, b.insns, a.count * sizeof(sock_filter)) == 0;
}

}  // namespace strata::testing
