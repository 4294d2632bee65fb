// SPDX-License-Identifier: Apache-2.0
//
// The filter for builds, installed in a child that then makes the call. What it answers to every
// number and argument, and on machines that this one is not: seccomp_evaluate_test.cc.
#include "sandbox/seccomp_filter.h"

#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <thread>

#include "tests/support/seccomp_child.h"

namespace strata::testing {
namespace {

// --- Calls with any arguments, one by one.

using DeniedCallTest = CallTest<DeniedCall>;
INSTANTIATE_TEST_SUITE_P(Calls, DeniedCallTest, ::testing::ValuesIn(EachAbi(kDenied)), kCallName);

TEST_P(DeniedCallTest, IsDeniedByTheDefaultFilter) {
  EXPECT_EQ(To(DefaultFilter()), call().answer);
}

TEST_P(DeniedCallTest, IsAllowedWithNestedNamespacesOnlyIfTheyNeedIt) {
  EXPECT_EQ(To(NestedFilter()), call().allowed_if_nested ? kLetThrough : Answer(call().answer));
}

using AllowedCallTest = CallTest<Call>;
INSTANTIATE_TEST_SUITE_P(Calls, AllowedCallTest, ::testing::ValuesIn(EachAbi(kAllowed)), kCallName);

TEST_P(AllowedCallTest, ReachesTheKernel) {
  EXPECT_EQ(To(DefaultFilter()), kLetThrough);
}

class ChownFilterTest : public CallTest<Call> {};
INSTANTIATE_TEST_SUITE_P(Calls, ChownFilterTest, ::testing::ValuesIn(EachAbi(kChownCalls)),
                         kCallName);

TEST_P(ChownFilterTest, ReachesTheKernelByDefault) {
  EXPECT_EQ(To(DefaultFilter()), kLetThrough);
}
TEST_P(ChownFilterTest, IsAnsweredWithZeroIfIgnored) {
  EXPECT_EQ(To(ChownFilter()), 0);
}

// --- Calls that depend on an argument.

using CloneFilterTest = AbiTest;
INSTANTIATE_TEST_SUITE_P(Abi, CloneFilterTest, ::testing::Values(Abi::kNative, Abi::kI386),
                         AbiName);

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
INSTANTIATE_TEST_SUITE_P(Abi, IoctlFilterTest, ::testing::Values(Abi::kNative, Abi::kI386),
                         AbiName);

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
INSTANTIATE_TEST_SUITE_P(Abi, SocketFilterTest, ::testing::Values(Abi::kNative, Abi::kI386),
                         AbiName);

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

}  // namespace
}  // namespace strata::testing
