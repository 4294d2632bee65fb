// SPDX-License-Identifier: Apache-2.0
#include "sandbox/seccomp_policy.h"

#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>

#include "base/unique_fd.h"

namespace strata {
namespace {

// Names as libseccomp knows them. One that an architecture lacks is left out there.
constexpr const char* kNeverForBuilds[] = {
    // keyrings
    "add_key", "request_key", "keyctl",
    // programs, counters and page faults of the kernel
    "bpf", "perf_event_open", "userfaultfd", "lookup_dcookie",
    // files by handle, past every mount and directory permission
    "open_by_handle_at",
    // the machine
    "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
    "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "nfsservctl", "iopl", "ioperm", "vm86",
    "vm86old",
    // the clock
    "settimeofday", "stime", "clock_settime", "clock_settime64"};

constexpr const char* kIoUring[] = {"io_uring_setup", "io_uring_enter", "io_uring_register"};

constexpr const char* kMounting[] = {"mount", "umount", "umount2", "pivot_root", "setns"};

constexpr const char* kNewMountApi[] = {"open_tree", "move_mount", "fsopen",       "fsconfig",
                                        "fsmount",   "fspick",     "mount_setattr"};
// Linux 6.15; libseccomp 2.5 has no name for it. The number is the same everywhere, as all from
// 403.
constexpr uint32_t kOpenTreeAttr = 467;

constexpr const char* kChown[] = {"chown",   "fchown",   "lchown",  "fchownat",
                                  "chown32", "fchown32", "lchown32"};

constexpr uint64_t kCloneNewTime = 0x00000080;                // Linux 5.6
constexpr uint64_t kUnshareEmptyMountNamespace = 0x00100000;  // Linux 7.1

constexpr uint64_t kLow32 = 0xffffffff;

// Conditions on an argument, by its index.
scmp_arg_cmp Equal(unsigned index, uint64_t value) {
  return {index, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp Greater(unsigned index, uint64_t value) {
  return {index, SCMP_CMP_GT, value, 0};
}
scmp_arg_cmp Masked(unsigned index, uint64_t mask, uint64_t value) {
  return {index, SCMP_CMP_MASKED_EQ, mask, value};
}

// Adds rules until one fails, and keeps that failure.
class RuleSet {
 public:
  explicit RuleSet(scmp_filter_ctx context) : context_(context) {}

  void Add(uint32_t answer, const char* name) { Add(answer, name, 0, nullptr); }
  void AddIf(uint32_t answer, const char* name, const scmp_arg_cmp& condition) {
    Add(answer, name, 1, &condition);
  }

  template <size_t N>
  void AddAll(uint32_t answer, const char* const (&names)[N]) {
    for (const char* name : names) Add(answer, name);
  }

  Result<void> result() const { return result_; }

 private:
  void Add(uint32_t answer, const char* name, unsigned count, const scmp_arg_cmp* conditions) {
    if (!result_) return;
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) {
      result_ = Fail(Errc::kUnsupported, "libseccomp knows no system call {}", name);
      return;
    }
    const int error = seccomp_rule_add_array(context_, answer, number, count, conditions);
    if (error < 0) {
      result_ = Fail(Errc::kSystem, "seccomp_rule_add {}: {}", name, strerrordesc_np(-error));
    }
  }

  scmp_filter_ctx context_;
  Result<void> result_;
};

// A namespace each. libseccomp can ask whether all bits of a mask are set, not whether one is: so
// one rule a flag.
void DenyNamespaces(RuleSet& rules) {
  for (const uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                              CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    rules.AddIf(SCMP_ACT_ERRNO(EPERM), "unshare", Masked(0, flag, flag));
    rules.AddIf(SCMP_ACT_ERRNO(EPERM), "clone", Masked(0, flag, flag));
  }
  // For clone these bits mean something else.
  for (const uint64_t flag : {kCloneNewTime, kUnshareEmptyMountNamespace}) {
    rules.AddIf(SCMP_ACT_ERRNO(EPERM), "unshare", Masked(0, flag, flag));
  }
}

// Denies everything but 1 (UNIX), 2 (INET), 10 (INET6) and 16 (NETLINK). Each comparison is of all
// 64 bits where the kernel takes an int: what differs only in the upper half is denied.
void DenySocketFamilies(RuleSet& rules) {
  static_assert(AF_UNIX == 1 && AF_INET == 2 && AF_INET6 == 10 && AF_NETLINK == 16);
  constexpr uint32_t kAnswer = SCMP_ACT_ERRNO(EAFNOSUPPORT);
  // First, since for the rules below libseccomp adds ones for socketcall(SYS_SOCKET), which yield
  // to this one.
  rules.Add(SCMP_ACT_ERRNO(ENOSYS), "socketcall");
  for (const char* name : {"socket", "socketpair"}) {
    rules.AddIf(kAnswer, name, Equal(0, 0));
    rules.AddIf(kAnswer, name, Equal(0, 3));
    rules.AddIf(kAnswer, name, Masked(0, ~uint64_t{3}, 4));  // 4 to 7
    rules.AddIf(kAnswer, name, Masked(0, ~uint64_t{1}, 8));  // 8, 9
    rules.AddIf(kAnswer, name, Equal(0, 11));
    rules.AddIf(kAnswer, name, Masked(0, ~uint64_t{3}, 12));  // 12 to 15
    rules.AddIf(kAnswer, name, Greater(0, 16));
  }
}

void DenyTerminalInjection(RuleSet& rules) {
  for (const uint64_t request : {TIOCSTI, TIOCLINUX}) {
    rules.AddIf(SCMP_ACT_ERRNO(EPERM), "ioctl", Masked(1, kLow32, request));
  }
}

void AddRules(RuleSet& rules, ChownPolicy chown, NestedUserns nested) {
  rules.AddAll(SCMP_ACT_ERRNO(EPERM), kNeverForBuilds);
  rules.AddAll(SCMP_ACT_ERRNO(ENOSYS), kIoUring);
  rules.Add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  if (nested == NestedUserns::kDenied) {
    rules.AddAll(SCMP_ACT_ERRNO(EPERM), kMounting);
    rules.AddAll(SCMP_ACT_ERRNO(ENOSYS), kNewMountApi);
    DenyNamespaces(rules);
  }
  DenySocketFamilies(rules);
  DenyTerminalInjection(rules);
  if (chown == ChownPolicy::kIgnore) rules.AddAll(SCMP_ACT_ERRNO(0), kChown);
}

// Instructions in front of libseccomp's that answer `number` whatever the architecture.
std::vector<sock_filter> AnswerByNumber(uint32_t number, uint32_t answer) {
  return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, answer)};
}

Unexpected FailSeccomp(const char* call, int result) {
  return Fail(Errc::kSystem, "{}: {}", call, strerrordesc_np(-result));
}

// libseccomp 2.5 exports only to a descriptor.
Result<std::vector<sock_filter>> Export(scmp_filter_ctx context) {
  const UniqueFd fd(memfd_create("seccomp", MFD_CLOEXEC));
  if (!fd.valid()) return FailSeccomp("memfd_create", -errno);
  if (int rc = seccomp_export_bpf(context, fd.get()); rc < 0) {
    return FailSeccomp("seccomp_export_bpf", rc);
  }
  const off_t size = lseek(fd.get(), 0, SEEK_END);
  if (size < 0) return FailSeccomp("lseek", -errno);
  std::vector<sock_filter> program(static_cast<size_t>(size) / sizeof(sock_filter));
  if (pread(fd.get(), program.data(), static_cast<size_t>(size), 0) != size) {
    return FailSeccomp("pread", -errno);
  }
  return program;
}

}  // namespace

std::vector<uint32_t> NativeArchitectures() {
#if defined(__x86_64__)
  return {SCMP_ARCH_X86_64, SCMP_ARCH_X86};
#elif defined(__aarch64__)
  return {SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};
#else
  return {seccomp_arch_native()};
#endif
}

Result<std::vector<sock_filter>> MakeBuildFilter(ChownPolicy chown, NestedUserns nested,
                                                 const std::vector<uint32_t>& architectures) {
  const std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, decltype(&seccomp_release)> context(
      seccomp_init(SCMP_ACT_ALLOW), &seccomp_release);
  if (!context) return Fail(Errc::kSystem, "seccomp_init failed");

  // A new filter has the native architecture.
  bool native_wanted = false;
  for (const uint32_t architecture : architectures) {
    native_wanted |= architecture == seccomp_arch_native();
    const int rc = seccomp_arch_add(context.get(), architecture);
    if (rc < 0 && rc != -EEXIST) return FailSeccomp("seccomp_arch_add", rc);
  }
  if (!native_wanted) seccomp_arch_remove(context.get(), SCMP_ARCH_NATIVE);

  int rc = seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (rc < 0) return FailSeccomp("seccomp_attr_set", rc);
  // A binary search by number instead of a list.
  rc = seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (rc < 0) return FailSeccomp("seccomp_attr_set", rc);

  RuleSet rules(context.get());
  AddRules(rules, chown, nested);
  STRATA_TRY(rules.result());

  STRATA_ASSIGN(std::vector<sock_filter> program, Export(context.get()));
  if (nested == NestedUserns::kDenied) {
    const auto prologue = AnswerByNumber(kOpenTreeAttr, SECCOMP_RET_ERRNO | ENOSYS);
    program.insert(program.begin(), prologue.begin(), prologue.end());
  }
  return program;
}

}  // namespace strata
