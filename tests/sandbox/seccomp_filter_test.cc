// SPDX-License-Identifier: Apache-2.0
//
// The filter for builds, in two ways: installed in a child that then makes the call, through each
// system call ABI of the machine; and evaluated by a small BPF interpreter, which can ask about
// every number and argument, and about architectures that this machine is not.
//
// The kernel refuses much of what the filter refuses, with the same errno, above all to an ordinary
// user. So the children run a marked copy of the filter, whose answers are 2000 higher: an answer
// of the filter cannot be taken for one of the kernel. Every call is made with arguments that do no
// harm should the filter let it through.
#include "sandbox/seccomp_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sandbox/seccomp_policy.h"

namespace strata {
namespace {

constexpr ChownPolicy kChownPolicies[] = {ChownPolicy::kFail, ChownPolicy::kIgnore};
constexpr NestedUserns kNestedPolicies[] = {NestedUserns::kDenied, NestedUserns::kAllowed};

SeccompFilter DefaultFilter() {
  return BuildFilter(ChownPolicy::kFail, NestedUserns::kDenied);
}
SeccompFilter NestedFilter() {
  return BuildFilter(ChownPolicy::kFail, NestedUserns::kAllowed);
}
SeccompFilter ChownFilter() {
  return BuildFilter(ChownPolicy::kIgnore, NestedUserns::kDenied);
}

// --- What is denied. The numbers are written out: they come from the kernel's tables and not from
// libseccomp's, and those of other machines are needed too.

constexpr int kNone = -1;

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

void PrintTo(const Call& call, std::ostream* out) {
  *out << call.name;
}
void PrintTo(const DeniedCall& call, std::ostream* out) {
  *out << call.name;
}

// With any arguments.
constexpr DeniedCall kDenied[] = {
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

constexpr Call kChownCalls[] = {
    {"chown", {92, 182, kNone, 182}},       {"fchown", {93, 95, 55, 95}},
    {"lchown", {94, 16, kNone, 16}},        {"fchownat", {260, 298, 54, 325}},
    {"chown32", {kNone, 212, kNone, 212}},  {"fchown32", {kNone, 207, kNone, 207}},
    {"lchown32", {kNone, 198, kNone, 198}},
};

// Calls that one might deny, and that builds need or nothing is gained by denying.
constexpr Call kAllowed[] = {
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

constexpr Numbers kClone = {56, 120, 220, 120};
constexpr Numbers kUnshare = {272, 310, 97, 337};
constexpr Numbers kIoctl = {16, 54, 29, 54};
constexpr Numbers kSocket = {41, 359, 198, 281};
constexpr Numbers kSocketPair = {53, 360, 199, 288};
constexpr int kX32Bit = 0x40000000;

constexpr uint64_t kNewTime = 0x80;
constexpr uint64_t kEmptyMountNamespace = 0x00100000;

struct Flag {
  const char* name;
  uint64_t bit;
};
constexpr Flag kNamespaceFlags[] = {
    {"NEWNS", CLONE_NEWNS},   {"NEWCGROUP", CLONE_NEWCGROUP}, {"NEWUTS", CLONE_NEWUTS},
    {"NEWIPC", CLONE_NEWIPC}, {"NEWUSER", CLONE_NEWUSER},     {"NEWPID", CLONE_NEWPID},
    {"NEWNET", CLONE_NEWNET},
};

uint64_t AllNamespaceFlags() {
  uint64_t all = 0;
  for (const Flag& flag : kNamespaceFlags) all |= flag.bit;
  return all;
}

bool MayOpenFamily(uint64_t family) {
  return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

// --- Making calls, in a child under a filter.

enum class Abi { kNative, kI386 };

int NumberFor(const Numbers& numbers, Abi abi) {
#if defined(__x86_64__)
  return abi == Abi::kNative ? numbers.x86_64 : numbers.i386;
#elif defined(__aarch64__)
  return abi == Abi::kNative ? numbers.aarch64 : kNone;
#endif
}

using Args = std::array<uint64_t, 5>;

// Not a valid pointer, descriptor, process, flag set or command for anything.
constexpr Args kHarmless = {~0ull, ~0ull, ~0ull, ~0ull, ~0ull};

int64_t NativeCall(int number, const Args& args) {
  const int64_t result = syscall(number, args[0], args[1], args[2], args[3], args[4]);
  return result == -1 ? -errno : result;
}

#if defined(__x86_64__)
// The 32-bit entry point of the kernel, which 64-bit programs can use as well. It takes the low
// half of each argument.
int64_t I386Call(int number, const Args& args) {
  int64_t result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]), "D"(args[4])
               : "r8", "r9", "r10", "r11", "memory", "cc");
  return static_cast<int32_t>(result);
}
#endif

int64_t MakeCall([[maybe_unused]] Abi abi, int number, const Args& args) {
#if defined(__x86_64__)
  if (abi == Abi::kI386) return I386Call(number, args);
#endif
  return NativeCall(number, args);
}

constexpr int64_t kDied = std::numeric_limits<int64_t>::min();
constexpr int64_t kNotInstalled = kDied + 1;

int Install(const SeccompFilter& filter) {
  const sock_fprog program = filter.Program();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) return errno;
  return 0;
}

// What `body` returns in a child, where `filter` is installed; kDied if a signal ended the child.
int64_t InChild(const SeccompFilter& filter, const std::function<int64_t()>& body) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return kDied;
  const pid_t pid = fork();
  if (pid == 0) {
    const int64_t value = Install(filter) == 0 ? body() : kNotInstalled;
    const ssize_t written = write(fds[1], &value, sizeof(value));
    _exit(written == sizeof(value) ? 0 : 1);
  }
  close(fds[1]);
  int64_t value = kDied;
  if (read(fds[0], &value, sizeof(value)) != sizeof(value)) value = kDied;
  close(fds[0]);
  waitpid(pid, nullptr, 0);
  return value;
}

constexpr int kMark = 2000;

std::vector<sock_filter> Marked(const SeccompFilter& filter) {
  std::vector<sock_filter> marked(filter.insns, filter.insns + filter.count);
  for (sock_filter& insn : marked) {
    const bool is_errno =
        insn.code == (BPF_RET | BPF_K) && (insn.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
    if (is_errno) insn.k += kMark;
  }
  return marked;
}

// What the filter answered to a call; nothing if it let the call through to the kernel.
using Answer = std::optional<int>;
constexpr Answer kLetThrough = std::nullopt;

Answer AnswerIn(int64_t result) {
  if (result == kDied || result == kNotInstalled) {
    ADD_FAILURE() << (result == kDied ? "the child was killed" : "the filter was not installed");
    return {};
  }
  if (result > -kMark || result < -4095) return kLetThrough;
  return static_cast<int>(-result - kMark);
}

Answer AnswerTo(const SeccompFilter& filter, Abi abi, int number, const Args& args) {
  return AnswerIn(InChild(View(Marked(filter)), [&] { return MakeCall(abi, number, args); }));
}

// For clone: what it starts, if the filter lets it, ends at once.
Answer AnswerToClone(const SeccompFilter& filter, Abi abi, uint64_t flags) {
  return AnswerIn(InChild(View(Marked(filter)), [&] {
    const Args args = {flags | SIGCHLD, 0, 0, 0, 0};
    const int64_t pid = MakeCall(abi, NumberFor(kClone, abi), args);
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(static_cast<pid_t>(pid), nullptr, 0);
    return pid;
  }));
}

constexpr char kNoI386Calls[] =
    "no 32-bit system calls here: needs an x86-64 kernel with CONFIG_IA32_EMULATION, started "
    "without "
    "ia32_emulation=off";

bool HasI386Calls() {
#if defined(__x86_64__)
  // Where the kernel has no 32-bit entry point, int 0x80 is a fault.
  static const bool has = [] {
    const pid_t pid = fork();
    if (pid == 0) {
      signal(SIGSEGV, SIG_DFL);
      _exit(I386Call(20 /* getpid */, {}) == getpid() ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }();
  return has;
#else
  return false;
#endif
}

// Tests that are run once for each ABI.
class AbiTest : public testing::TestWithParam<Abi> {
 protected:
  void SetUp() override {
    if (GetParam() == Abi::kI386 && !HasI386Calls()) GTEST_SKIP() << kNoI386Calls;
  }
  Answer To(const SeccompFilter& filter, const Numbers& numbers, const Args& args) const {
    return AnswerTo(filter, GetParam(), NumberFor(numbers, GetParam()), args);
  }
};

std::string AbiName(const testing::TestParamInfo<Abi>& info) {
  return info.param == Abi::kNative ? "native" : "i386";
}

// Tests that are run once for each call of a table, through each ABI that has it.
template <typename CallType>
class CallTest : public testing::TestWithParam<std::tuple<CallType, Abi>> {
 protected:
  void SetUp() override {
    if (abi() == Abi::kI386 && !HasI386Calls()) GTEST_SKIP() << kNoI386Calls;
  }
  const CallType& call() const { return std::get<0>(this->GetParam()); }
  Abi abi() const { return std::get<1>(this->GetParam()); }
  Answer To(const SeccompFilter& filter) const {
    return AnswerTo(filter, abi(), NumberFor(call().numbers, abi()), kHarmless);
  }
};

template <typename CallType, size_t N>
std::vector<std::tuple<CallType, Abi>> EachAbi(const CallType (&calls)[N]) {
  std::vector<std::tuple<CallType, Abi>> result;
  for (const CallType& call : calls) {
    for (const Abi abi : {Abi::kNative, Abi::kI386}) {
      if (NumberFor(call.numbers, abi) != kNone) result.emplace_back(call, abi);
    }
  }
  return result;
}

constexpr auto kCallName = [](const auto& info) {
  const bool native = std::get<1>(info.param) == Abi::kNative;
  return std::string(std::get<0>(info.param).name) + (native ? "_native" : "_i386");
};

// --- Calls with any arguments, one by one.

using DeniedCallTest = CallTest<DeniedCall>;
INSTANTIATE_TEST_SUITE_P(Calls, DeniedCallTest, testing::ValuesIn(EachAbi(kDenied)), kCallName);

TEST_P(DeniedCallTest, IsDeniedByTheDefaultFilter) {
  EXPECT_EQ(To(DefaultFilter()), call().answer);
}

TEST_P(DeniedCallTest, IsAllowedWithNestedNamespacesOnlyIfTheyNeedIt) {
  EXPECT_EQ(To(NestedFilter()), call().allowed_if_nested ? kLetThrough : Answer(call().answer));
}

using AllowedCallTest = CallTest<Call>;
INSTANTIATE_TEST_SUITE_P(Calls, AllowedCallTest, testing::ValuesIn(EachAbi(kAllowed)), kCallName);

TEST_P(AllowedCallTest, ReachesTheKernel) {
  EXPECT_EQ(To(DefaultFilter()), kLetThrough);
}

class ChownFilterTest : public CallTest<Call> {};
INSTANTIATE_TEST_SUITE_P(Calls, ChownFilterTest, testing::ValuesIn(EachAbi(kChownCalls)),
                         kCallName);

TEST_P(ChownFilterTest, ReachesTheKernelByDefault) {
  EXPECT_EQ(To(DefaultFilter()), kLetThrough);
}
TEST_P(ChownFilterTest, IsAnsweredWithZeroIfIgnored) {
  EXPECT_EQ(To(ChownFilter()), 0);
}

// --- Calls that depend on an argument.

using CloneFilterTest = AbiTest;
INSTANTIATE_TEST_SUITE_P(Abi, CloneFilterTest, testing::Values(Abi::kNative, Abi::kI386), AbiName);

TEST_P(CloneFilterTest, CloneIsDeniedEachNamespaceFlag) {
  for (const Flag& flag : kNamespaceFlags) {
    EXPECT_EQ(AnswerToClone(DefaultFilter(), GetParam(), flag.bit), EPERM) << flag.name;
  }
}

TEST_P(CloneFilterTest, CloneIsDeniedANamespaceAmongOtherFlags) {
  EXPECT_EQ(AnswerToClone(DefaultFilter(), GetParam(), CLONE_NEWNET | CLONE_FS | CLONE_FILES),
            EPERM);
}

TEST_P(CloneFilterTest, CloneWithoutANamespaceReachesTheKernel) {
  EXPECT_EQ(AnswerToClone(DefaultFilter(), GetParam(), CLONE_FS | CLONE_FILES), kLetThrough);
}

TEST_P(CloneFilterTest, CloneOfAUserNamespaceIsAllowedIfNested) {
  EXPECT_EQ(AnswerToClone(NestedFilter(), GetParam(), CLONE_NEWUSER), kLetThrough);
}

TEST_P(CloneFilterTest, UnshareIsDeniedEachNamespaceFlag) {
  for (const Flag& flag : kNamespaceFlags) {
    EXPECT_EQ(To(DefaultFilter(), kUnshare, {flag.bit}), EPERM) << flag.name;
  }
}

TEST_P(CloneFilterTest, UnshareIsDeniedATimeNamespace) {
  EXPECT_EQ(To(DefaultFilter(), kUnshare, {kNewTime}), EPERM);
}

TEST_P(CloneFilterTest, UnshareIsDeniedAnEmptyMountNamespace) {
  EXPECT_EQ(To(DefaultFilter(), kUnshare, {kEmptyMountNamespace}), EPERM);
}

TEST_P(CloneFilterTest, UnshareWithoutANamespaceReachesTheKernel) {
  EXPECT_EQ(To(DefaultFilter(), kUnshare, {CLONE_FS | CLONE_FILES}), kLetThrough);
}

TEST_P(CloneFilterTest, UnshareOfAUserNamespaceIsAllowedIfNested) {
  EXPECT_EQ(To(NestedFilter(), kUnshare, {CLONE_NEWUSER}), kLetThrough);
}

TEST(CloneFilterNativeTest, BitsAboveTheKernelsIntDoNotHideANamespaceFlag) {
  EXPECT_EQ(AnswerToClone(DefaultFilter(), Abi::kNative, CLONE_NEWUSER | (1ull << 40)), EPERM);
}

using IoctlFilterTest = AbiTest;
INSTANTIATE_TEST_SUITE_P(Abi, IoctlFilterTest, testing::Values(Abi::kNative, Abi::kI386), AbiName);

TEST_P(IoctlFilterTest, InjectingTerminalInputIsDenied) {
  EXPECT_EQ(To(DefaultFilter(), kIoctl, {~0ull, TIOCSTI}), EPERM);
}

TEST_P(IoctlFilterTest, InjectingAConsoleSelectionIsDenied) {
  EXPECT_EQ(To(DefaultFilter(), kIoctl, {~0ull, TIOCLINUX}), EPERM);
}

TEST_P(IoctlFilterTest, BothAreDeniedIfNestedToo) {
  EXPECT_EQ(To(NestedFilter(), kIoctl, {~0ull, TIOCSTI}), EPERM);
  EXPECT_EQ(To(NestedFilter(), kIoctl, {~0ull, TIOCLINUX}), EPERM);
}

TEST_P(IoctlFilterTest, TheWindowSizeMayBeAskedFor) {
  EXPECT_EQ(To(DefaultFilter(), kIoctl, {~0ull, TIOCGWINSZ}), kLetThrough);
}

TEST(IoctlFilterNativeTest, BitsAboveTheKernelsIntDoNotHideTerminalInput) {
  EXPECT_EQ(AnswerTo(DefaultFilter(), Abi::kNative, SYS_ioctl, {~0ull, TIOCSTI | (1ull << 32)}),
            EPERM);
  EXPECT_EQ(
      AnswerTo(DefaultFilter(), Abi::kNative, SYS_ioctl, {~0ull, TIOCSTI | (0xdeadull << 48)}),
      EPERM);
}

using SocketFilterTest = AbiTest;
INSTANTIATE_TEST_SUITE_P(Abi, SocketFilterTest, testing::Values(Abi::kNative, Abi::kI386), AbiName);

TEST_P(SocketFilterTest, OnlyFourFamiliesReachTheKernel) {
  for (uint64_t family = 0; family <= AF_MAX; ++family) {
    const Answer want = MayOpenFamily(family) ? kLetThrough : Answer(EAFNOSUPPORT);
    EXPECT_EQ(To(DefaultFilter(), kSocket, {family, SOCK_STREAM, 0}), want) << family;
  }
}

TEST_P(SocketFilterTest, OnlyPairsOfFourFamiliesReachTheKernel) {
  for (uint64_t family = 0; family <= AF_MAX; ++family) {
    const Answer want = MayOpenFamily(family) ? kLetThrough : Answer(EAFNOSUPPORT);
    EXPECT_EQ(To(DefaultFilter(), kSocketPair, {family, SOCK_STREAM, 0, ~0ull}), want) << family;
  }
}

TEST_P(SocketFilterTest, TheHypervisorIsOutOfReachIfNestedToo) {
  EXPECT_EQ(To(NestedFilter(), kSocket, {AF_VSOCK, SOCK_STREAM, 0}), EAFNOSUPPORT);
}

TEST(SocketFilterNativeTest, BitsAboveTheKernelsIntDoNotHideAFamily) {
  EXPECT_EQ(AnswerTo(DefaultFilter(), Abi::kNative, SYS_socket,
                     {AF_VSOCK | (1ull << 32), SOCK_STREAM, 0}),
            EAFNOSUPPORT);
  EXPECT_EQ(AnswerTo(DefaultFilter(), Abi::kNative, SYS_socket,
                     {0xffffffff00000000ull | AF_VSOCK, SOCK_STREAM, 0}),
            EAFNOSUPPORT);
}

#if defined(__x86_64__)
// An array of arguments that a 32-bit call can point to.
uint32_t* LowMemory() {
  void* memory =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<uint32_t*>(memory);
}

TEST(SocketcallTest, ReachesNoHypervisor) {
  if (!HasI386Calls()) GTEST_SKIP() << kNoI386Calls;
  uint32_t* args = LowMemory();
  ASSERT_NE(args, nullptr);
  args[0] = AF_VSOCK;
  args[1] = SOCK_STREAM;
  args[2] = 0;
  const Answer answer = AnswerTo(DefaultFilter(), Abi::kI386, 102,
                                 {1 /* SYS_SOCKET */, reinterpret_cast<uintptr_t>(args)});
  munmap(args, 4096);
  EXPECT_EQ(answer, ENOSYS);
}

// The filter sees these numbers whether or not the kernel has x32.
TEST(X32Test, NoCallReachesTheKernel) {
  for (const int number : {39 /* getpid */, 165 /* mount */, 41 /* socket */, 272 /* unshare */,
                           467 /* open_tree_attr */, 514 /* ioctl */, 521 /* ptrace */}) {
    EXPECT_EQ(AnswerTo(DefaultFilter(), Abi::kNative, number | kX32Bit, kHarmless), ENOSYS)
        << number;
  }
}

TEST(X32Test, NoCallReachesTheKernelIfNestedEither) {
  EXPECT_EQ(AnswerTo(NestedFilter(), Abi::kNative, 165 | kX32Bit, kHarmless), ENOSYS);
}
#endif

// --- The filter as it is, unmarked.

class TempDirTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "seccomp_test.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& data) const {
    std::string path = dir_ + "/file";
    std::ofstream(path, std::ios::binary) << data;
    return path;
  }

  std::string dir_;
};

class RealFilterTest : public TempDirTest {};

TEST_F(RealFilterTest, EachVariantIsAcceptedByTheKernel) {
  for (const ChownPolicy chown : kChownPolicies) {
    for (const NestedUserns nested : kNestedPolicies) {
      EXPECT_EQ(InChild(BuildFilter(chown, nested), [] { return 0; }), 0);
    }
  }
}

TEST_F(RealFilterTest, MountingFailsWithEperm) {
  const int64_t result = InChild(DefaultFilter(), [this] {
    return mount("none", dir_.c_str(), "tmpfs", MS_NOSUID, nullptr) == 0 ? 0 : errno;
  });
  EXPECT_EQ(result, EPERM);
}

TEST_F(RealFilterTest, IgnoredChownSucceeds) {
  const std::string path = Write("data");
  EXPECT_EQ(InChild(ChownFilter(), [&] { return chown(path.c_str(), 4242, 4242); }), 0);
}

TEST_F(RealFilterTest, IgnoredChownLeavesTheOwner) {
  const std::string path = Write("data");
  InChild(ChownFilter(), [&] { return chown(path.c_str(), 4242, 4242); });
  struct stat st = {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, geteuid());
}

TEST_F(RealFilterTest, SetuidBitsMayBeSet) {
  const std::string path = Write("data");
  EXPECT_EQ(InChild(DefaultFilter(), [&] { return chmod(path.c_str(), 04755); }), 0);
}

TEST_F(RealFilterTest, ThreadsStartWithoutClone3) {
  const int64_t value = InChild(DefaultFilter(), [] {
    int64_t seen = 0;
    std::thread([&seen] { seen = 42; }).join();
    return seen;
  });
  EXPECT_EQ(value, 42);
}

TEST_F(RealFilterTest, ProgramsStartWithoutClone3) {
  const int64_t status = InChild(DefaultFilter(), []() -> int64_t {
    char program[] = "/bin/true";
    char* argv[] = {program, nullptr};
    pid_t pid = 0;
    if (posix_spawn(&pid, program, nullptr, nullptr, argv, environ) != 0) return -1;
    int wait_status = -1;
    waitpid(pid, &wait_status, 0);
    return wait_status;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(RealFilterTest, LoopbackSocketsOpen) {
  const int64_t value = InChild(DefaultFilter(), [] {
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 0 : errno;
  });
  EXPECT_EQ(value, 0);
}

// --- Every number and many arguments, by interpretation.

// What the program returns for one call. Knows the instructions that libseccomp generates.
uint32_t Evaluate(const SeccompFilter& filter, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t pc = 0; pc < filter.count; ++pc) {
    const sock_filter& insn = filter.insns[pc];
    const auto jump = [&](bool condition) { pc += condition ? insn.jt : insn.jf; };
    switch (insn.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + insn.k, sizeof(uint32_t));
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= insn.k;
        break;
      case BPF_JMP | BPF_JA:
        pc += insn.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        jump(accumulator == insn.k);
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        jump(accumulator > insn.k);
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        jump(accumulator >= insn.k);
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        jump((accumulator & insn.k) != 0);
        break;
      case BPF_RET | BPF_K:
        return insn.k;
      default:
        ADD_FAILURE() << "instruction " << insn.code << " at " << pc;
        return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t Errno(int number) {
  return SECCOMP_RET_ERRNO | static_cast<uint32_t>(number);
}

// An architecture, and the filter that a build for its machine has.
struct Architecture {
  const char* name;
  uint32_t audit;
  int Numbers::*column;
  uint64_t max_argument;
  std::vector<uint32_t> machine;
};
void PrintTo(const Architecture& architecture, std::ostream* out) {
  *out << architecture.name;
}

const std::vector<uint32_t> kX86 = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386};
const std::vector<uint32_t> kArm = {AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM};

class ArchitectureTest : public testing::TestWithParam<Architecture> {
 protected:
  std::vector<sock_filter> Make(ChownPolicy chown, NestedUserns nested) const {
    Result<std::vector<sock_filter>> filter = MakeBuildFilter(chown, nested, GetParam().machine);
    if (!filter) {
      ADD_FAILURE() << filter.error().message();
      return {};
    }
    return *std::move(filter);
  }
  uint32_t Ask(const std::vector<sock_filter>& filter, int number, const Args& args) const {
    seccomp_data data = {};
    data.nr = number;
    data.arch = GetParam().audit;
    for (size_t i = 0; i < args.size(); ++i) data.args[i] = args[i] & GetParam().max_argument;
    return Evaluate(View(filter), data);
  }
  uint32_t Ask(const std::vector<sock_filter>& filter, const Numbers& numbers,
               const Args& args) const {
    return Ask(filter, numbers.*GetParam().column, args);
  }
  // Values that are near something the filter compares with, and random ones.
  std::vector<uint64_t> Arguments() const {
    std::vector<uint64_t> values;
    for (uint64_t low = 0; low < 300; ++low) {
      for (const uint64_t high : {0ull, 1ull << 32, 1ull << 63, 0xffffffffull << 32}) {
        values.push_back(high | low);
        values.push_back(high | (0xffffffff - low));
      }
    }
    for (int bit = 0; bit < 64; ++bit) values.push_back(1ull << bit);
    std::mt19937_64 random(20240607);
    for (int i = 0; i < 5000; ++i) values.push_back(random() >> (random() % 64));
    return values;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Architectures, ArchitectureTest,
    testing::Values(Architecture{"x86_64", AUDIT_ARCH_X86_64, &Numbers::x86_64, ~0ull, kX86},
                    Architecture{"i386", AUDIT_ARCH_I386, &Numbers::i386, 0xffffffff, kX86},
                    Architecture{"aarch64", AUDIT_ARCH_AARCH64, &Numbers::aarch64, ~0ull, kArm},
                    Architecture{"arm", AUDIT_ARCH_ARM, &Numbers::arm, 0xffffffff, kArm}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_P(ArchitectureTest, ExactlyTheListedCallsAreDenied) {
  for (const ChownPolicy chown : kChownPolicies) {
    for (const NestedUserns nested : kNestedPolicies) {
      std::map<int, uint32_t> expected;
      for (const DeniedCall& call : kDenied) {
        if (nested == NestedUserns::kAllowed && call.allowed_if_nested) continue;
        expected[call.numbers.*GetParam().column] = Errno(call.answer);
      }
      if (chown == ChownPolicy::kIgnore) {
        for (const Call& call : kChownCalls) expected[call.numbers.*GetParam().column] = Errno(0);
      }
      // With a first argument of 0.
      expected[kSocket.*GetParam().column] = Errno(EAFNOSUPPORT);
      expected[kSocketPair.*GetParam().column] = Errno(EAFNOSUPPORT);
      expected.erase(kNone);

      const std::vector<sock_filter> filter = Make(chown, nested);
      std::map<int, uint32_t> denied;
      for (int number = 0; number < 2000; ++number) {
        const uint32_t action = Ask(filter, number, {});
        if (action != kAllow) denied[number] = action;
      }
      EXPECT_EQ(denied, expected);
    }
  }
}

TEST_P(ArchitectureTest, CloneIsDeniedExactlyTheNamespaceFlags) {
  const auto filter = Make(ChownPolicy::kFail, NestedUserns::kDenied);
  for (const uint64_t flags : Arguments()) {
    const bool denied = (flags & AllNamespaceFlags()) != 0;
    ASSERT_EQ(Ask(filter, kClone, {flags}), denied ? Errno(EPERM) : kAllow) << std::hex << flags;
  }
}

TEST_P(ArchitectureTest, UnshareIsDeniedExactlyTheNamespaceFlags) {
  const auto filter = Make(ChownPolicy::kFail, NestedUserns::kDenied);
  const uint64_t denied_flags = AllNamespaceFlags() | kNewTime | kEmptyMountNamespace;
  for (const uint64_t flags : Arguments()) {
    const bool denied = (flags & denied_flags) != 0;
    ASSERT_EQ(Ask(filter, kUnshare, {flags}), denied ? Errno(EPERM) : kAllow) << std::hex << flags;
  }
}

TEST_P(ArchitectureTest, SocketsAreDeniedAllButFourFamilies) {
  const auto filter = Make(ChownPolicy::kFail, NestedUserns::kDenied);
  for (const uint64_t family : Arguments()) {
    const bool allowed = MayOpenFamily(family & GetParam().max_argument);
    const uint32_t want = allowed ? kAllow : Errno(EAFNOSUPPORT);
    ASSERT_EQ(Ask(filter, kSocket, {family}), want) << std::hex << family;
    ASSERT_EQ(Ask(filter, kSocketPair, {family}), want) << std::hex << family;
  }
}

TEST_P(ArchitectureTest, TerminalInputIsDeniedWhateverTheUpperBits) {
  const auto filter = Make(ChownPolicy::kFail, NestedUserns::kDenied);
  for (const uint64_t high : Arguments()) {
    ASSERT_EQ(Ask(filter, kIoctl, {0, (high << 32) | TIOCSTI}), Errno(EPERM)) << std::hex << high;
  }
}

TEST_P(ArchitectureTest, OtherControlsOfDevicesAreAllowed) {
  const auto filter = Make(ChownPolicy::kFail, NestedUserns::kDenied);
  for (const uint64_t request : Arguments()) {
    const uint32_t low = static_cast<uint32_t>(request);
    if (low == TIOCSTI || low == TIOCLINUX) continue;
    ASSERT_EQ(Ask(filter, kIoctl, {0, request}), kAllow) << std::hex << request;
  }
}

seccomp_data DataFor(uint32_t audit, int number) {
  seccomp_data data = {};
  data.arch = audit;
  data.nr = number;
  return data;
}

TEST(ForeignArchitectureTest, EveryX32CallIsAnsweredWithEnosys) {
  for (const NestedUserns nested : kNestedPolicies) {
    const auto filter = MakeBuildFilter(ChownPolicy::kFail, nested, kX86);
    ASSERT_TRUE(filter.has_value());
    for (int number = 0; number < 2000; ++number) {
      ASSERT_EQ(Evaluate(View(*filter), DataFor(AUDIT_ARCH_X86_64, number | kX32Bit)),
                Errno(ENOSYS))
          << number;
    }
  }
}

TEST(ForeignArchitectureTest, CallsOfAnUnknownArchitectureAreAnsweredWithEnosys) {
  const auto filter = MakeBuildFilter(ChownPolicy::kFail, NestedUserns::kDenied, kX86);
  ASSERT_TRUE(filter.has_value());
  for (int number = 0; number < 2000; ++number) {
    ASSERT_EQ(Evaluate(View(*filter), DataFor(AUDIT_ARCH_S390X, number)), Errno(ENOSYS)) << number;
  }
}

// A tracer sets the number -1 to have a call skipped; an answer of the filter would replace its
// own.
TEST(ForeignArchitectureTest, ACallThatATracerSkippedIsAllowed) {
  for (const uint32_t architecture : kX86) {
    const auto filter = MakeBuildFilter(ChownPolicy::kFail, NestedUserns::kDenied, kX86);
    ASSERT_TRUE(filter.has_value());
    EXPECT_EQ(Evaluate(View(*filter), DataFor(architecture, -1)), kAllow);
  }
}

bool SameProgram(const SeccompFilter& a, const SeccompFilter& b) {
  return a.count == b.count && std::memcmp(a.insns, b.insns, a.count * sizeof(sock_filter)) == 0;
}

TEST(BuildFilterTest, EachVariantIsWhatThePolicyMakes) {
  for (const ChownPolicy chown : kChownPolicies) {
    for (const NestedUserns nested : kNestedPolicies) {
      const auto made = MakeBuildFilter(chown, nested);
      ASSERT_TRUE(made.has_value());
      EXPECT_TRUE(SameProgram(BuildFilter(chown, nested), View(*made)));
    }
  }
}

TEST(BuildFilterTest, EachVariantIsShort) {
  for (const ChownPolicy chown : kChownPolicies) {
    for (const NestedUserns nested : kNestedPolicies) {
      EXPECT_LT(BuildFilter(chown, nested).count, BPF_MAXINSNS / 10);
    }
  }
}

// --- Filters from files.

class LoadFilterTest : public TempDirTest {
 protected:
  static std::string Bytes(const SeccompFilter& filter) {
    return {reinterpret_cast<const char*>(filter.insns), filter.count * sizeof(sock_filter)};
  }
  // The message of the error that loading a file with this content gives; empty if it loads.
  std::string ErrorFor(const std::string& data) const {
    const auto loaded = LoadFilterFile(Write(data));
    return loaded ? std::string() : loaded.error().message();
  }
};

TEST_F(LoadFilterTest, GivesTheInstructionsOfTheFile) {
  const auto loaded = LoadFilterFile(Write(Bytes(DefaultFilter())));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
  EXPECT_TRUE(SameProgram(View(*loaded), DefaultFilter()));
}

TEST_F(LoadFilterTest, ALoadedFilterWorks) {
  const sock_filter insns[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const auto loaded = LoadFilterFile(Write(Bytes({insns, std::size(insns)})));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
  EXPECT_EQ(InChild(View(*loaded), [] { return NativeCall(SYS_getppid, {}); }), -EDOM);
}

TEST_F(LoadFilterTest, AnEmptyFileIsAnError) {
  EXPECT_EQ(ErrorFor(""), "seccomp filter " + dir_ + "/file: is empty");
}

TEST_F(LoadFilterTest, APartOfAnInstructionIsAnError) {
  EXPECT_EQ(ErrorFor(std::string(sizeof(sock_filter) * 4 - 1, '\0')),
            "seccomp filter " + dir_ + "/file: is not a whole number of instructions");
}

TEST_F(LoadFilterTest, TheLongestProgramOfTheKernelLoads) {
  const auto loaded = LoadFilterFile(Write(std::string(sizeof(sock_filter) * BPF_MAXINSNS, '\0')));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
  EXPECT_EQ(loaded->size(), BPF_MAXINSNS);
}

TEST_F(LoadFilterTest, ALongerProgramIsAnError) {
  EXPECT_EQ(ErrorFor(std::string(sizeof(sock_filter) * (BPF_MAXINSNS + 1), '\0')),
            "seccomp filter " + dir_ + "/file: is longer than 4096 instructions");
}

TEST_F(LoadFilterTest, AFileWithoutEndIsAnError) {
  const auto loaded = LoadFilterFile("/dev/zero");
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code(), Errc::kInvalid);
}

TEST_F(LoadFilterTest, AMissingFileIsASystemError) {
  const auto loaded = LoadFilterFile(dir_ + "/missing");
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().sys_errno(), ENOENT);
}

TEST_F(LoadFilterTest, ADirectoryIsASystemError) {
  const auto loaded = LoadFilterFile(dir_);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().sys_errno(), EISDIR);
}

TEST_F(LoadFilterTest, AnInvalidFileHasAHint) {
  const auto loaded = LoadFilterFile(Write("{}"));
  ASSERT_FALSE(loaded.has_value());
  EXPECT_NE(loaded.error().hint(), "");
}

// As a program that prepares its filter for `--seccomp` does.
TEST_F(LoadFilterTest, APipeIsReadToItsEnd) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const std::string bytes = Bytes(DefaultFilter());
  std::thread writer([&] {
    for (size_t offset = 0; offset < bytes.size(); offset += 13) {
      const size_t size = std::min<size_t>(13, bytes.size() - offset);
      if (write(fds[1], bytes.data() + offset, size) < 0) break;
    }
    close(fds[1]);
  });
  const auto loaded = LoadFilterFd(fds[0], "fd");
  writer.join();
  close(fds[0]);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
  EXPECT_TRUE(SameProgram(View(*loaded), DefaultFilter()));
}

TEST_F(LoadFilterTest, TheDescriptorStaysOpen) {
  const int fd = open(Write(Bytes(DefaultFilter())).c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(LoadFilterFd(fd, "fd").has_value());
  EXPECT_EQ(close(fd), 0);
}

}  // namespace
}  // namespace strata
