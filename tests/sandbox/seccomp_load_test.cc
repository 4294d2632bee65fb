// SPDX-License-Identifier: Apache-2.0
//
// Filters from files and descriptors.
#include <algorithm>
#include <thread>

#include "sandbox/seccomp_filter.h"
#include "tests/support/seccomp_child.h"

namespace strata::testing {
namespace {

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
}  // namespace strata::testing
