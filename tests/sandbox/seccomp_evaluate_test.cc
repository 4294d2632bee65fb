// SPDX-License-Identifier: Apache-2.0
//
// The filter for builds, evaluated by a small BPF interpreter: it can ask about every number and
// many arguments, and about architectures that this machine is not.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sandbox/seccomp_policy.h"
#include "tests/support/seccomp_calls.h"

namespace strata::testing {
namespace {

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

class ArchitectureTest : public ::testing::TestWithParam<Architecture> {
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
    ::testing::Values(Architecture{"x86_64", AUDIT_ARCH_X86_64, &Numbers::x86_64, ~0ull, kX86},
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

}  // namespace
}  // namespace strata::testing
