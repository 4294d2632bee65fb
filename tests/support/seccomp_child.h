// SPDX-License-Identifier: Apache-2.0
//
// Calls made in a child in which a filter is installed, through each system call ABI of the
// machine.
//
// The kernel refuses much of what the filter refuses, with the same errno, above all to an ordinary
// user. So the children run a marked copy of the filter, whose answers are 2000 higher: an answer
// of the filter cannot be taken for one of the kernel. Every call is made with arguments that do no
// harm should the filter let it through.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/seccomp_calls.h"

namespace strata::testing {

enum class Abi { kNative, kI386 };

inline int NumberFor(const Numbers& numbers, Abi abi) {
#if defined(__x86_64__)
  return abi == Abi::kNative ? numbers.x86_64 : numbers.i386;
#elif defined(__aarch64__)
  return abi == Abi::kNative ? numbers.aarch64 : kNone;
#endif
}

// Not a valid pointer, descriptor, process, flag set or command for anything.
inline constexpr Args kHarmless = {~0ull, ~0ull, ~0ull, ~0ull, ~0ull};

inline int64_t NativeCall(int number, const Args& args) {
  const int64_t result = syscall(number, args[0], args[1], args[2], args[3], args[4]);
  return result == -1 ? -errno : result;
}

#if defined(__x86_64__)
// The 32-bit entry point of the kernel, which 64-bit programs can use as well. It takes the low
// half of each argument.
inline int64_t I386Call(int number, const Args& args) {
  int64_t result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]), "D"(args[4])
               : "r8", "r9", "r10", "r11", "memory", "cc");
  return static_cast<int32_t>(result);
}
#endif

inline int64_t MakeCall([[maybe_unused]] Abi abi, int number, const Args& args) {
#if defined(__x86_64__)
  if (abi == Abi::kI386) return I386Call(number, args);
#endif
  return NativeCall(number, args);
}

inline constexpr int64_t kDied = std::numeric_limits<int64_t>::min();
inline constexpr int64_t kNotInstalled = kDied + 1;

inline int Install(const SeccompFilter& filter) {
  const sock_fprog program = filter.Program();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) return errno;
  return 0;
}

// What `body` returns in a child, where `filter` is installed; kDied if a signal ended the child.
inline int64_t InChild(const SeccompFilter& filter, const std::function<int64_t()>& body) {
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

inline constexpr int kMark = 2000;

inline std::vector<sock_filter> Marked(const SeccompFilter& filter) {
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
inline constexpr Answer kLetThrough = std::nullopt;

inline Answer AnswerIn(int64_t result) {
  if (result == kDied || result == kNotInstalled) {
    ADD_FAILURE() << (result == kDied ? "the child was killed" : "the filter was not installed");
    return {};
  }
  if (result > -kMark || result < -4095) return kLetThrough;
  return static_cast<int>(-result - kMark);
}

inline Answer AnswerTo(const SeccompFilter& filter, Abi abi, int number, const Args& args) {
  return AnswerIn(InChild(View(Marked(filter)), [&] { return MakeCall(abi, number, args); }));
}

// For clone: what it starts, if the filter lets it, ends at once.
inline Answer AnswerToClone(const SeccompFilter& filter, Abi abi, uint64_t flags) {
  return AnswerIn(InChild(View(Marked(filter)), [&] {
    const Args args = {flags | SIGCHLD, 0, 0, 0, 0};
    const int64_t pid = MakeCall(abi, NumberFor(kClone, abi), args);
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(static_cast<pid_t>(pid), nullptr, 0);
    return pid;
  }));
}

inline constexpr char kNoI386Calls[] =
    "no 32-bit system calls here: needs an x86-64 kernel with CONFIG_IA32_EMULATION, started "
    "without ia32_emulation=off";

inline bool HasI386Calls() {
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
class AbiTest : public ::testing::TestWithParam<Abi> {
 protected:
  void SetUp() override {
    if (GetParam() == Abi::kI386 && !HasI386Calls()) GTEST_SKIP() << kNoI386Calls;
  }
  Answer To(const SeccompFilter& filter, const Numbers& numbers, const Args& args) const {
    return AnswerTo(filter, GetParam(), NumberFor(numbers, GetParam()), args);
  }
};

inline std::string AbiName(const ::testing::TestParamInfo<Abi>& info) {
  return info.param == Abi::kNative ? "native" : "i386";
}

// Tests that are run once for each call of a table, through each ABI that has it.
template <typename CallType>
class CallTest : public ::testing::TestWithParam<std::tuple<CallType, Abi>> {
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

inline constexpr auto kCallName = [](const auto& info) {
  const bool native = std::get<1>(info.param) == Abi::kNative;
  return std::string(std::get<0>(info.param).name) + (native ? "_native" : "_i386");
};

class TempDirTest : public ::testing::Test {
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

}  // namespace strata::testing
