// SPDX-License-Identifier: Apache-2.0
//
// main() of every GoogleTest executable. After each test the process must have the descriptors, the
// mounts and the children that it had before; and with STRATA_TESTS_MUST_RUN=1 a skipped test
// counts as failed.
#include <dirent.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

namespace {

bool own_mounts = false;

std::set<std::string> OpenDescriptors() {
  std::set<std::string> open;
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return open;
  while (const dirent* entry = ::readdir(dir)) {
    std::string name(entry->d_name);
    if (name == "." || name == ".." || name == std::to_string(::dirfd(dir))) continue;
    char target[256];
    ssize_t size = ::readlink(("/proc/self/fd/" + name).c_str(), target, sizeof target);
    open.insert(fmt::format("{} -> {}", name,
                            std::string(target, size > 0 ? static_cast<size_t>(size) : 0)));
  }
  ::closedir(dir);
  return open;
}

// Where the mounts are not our own alone, those below $TMPDIR: others mount meanwhile.
size_t MountCount() {
  std::string place;
  if (const char* tmp = std::getenv("TMPDIR"); !own_mounts) place = tmp != nullptr ? tmp : "/tmp";
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  size_t count = 0;
  while (std::getline(mounts, line)) count += line.find(place) != line.npos;
  return count;
}

class LeakListener : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo&) override {
    descriptors_ = OpenDescriptors();
    mounts_ = MountCount();
  }
  void OnTestEnd(const ::testing::TestInfo& info) override {
    for (const std::string& fd : OpenDescriptors()) {
      if (descriptors_.count(fd) == 0) ADD_FAILURE() << "leaked descriptor " << fd;
    }
    if (MountCount() > mounts_) ADD_FAILURE() << "leaked a mount";
    int status;
    if (::waitpid(-1, &status, WNOHANG | __WALL) >= 0) ADD_FAILURE() << "leaked a child process";
    if (info.result()->Skipped() && std::getenv("STRATA_TESTS_MUST_RUN") != nullptr) {
      ADD_FAILURE() << "skipped, and STRATA_TESTS_MUST_RUN is set";
    }
  }

  std::set<std::string> descriptors_;
  size_t mounts_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  // Where that is possible (root), what others mount meanwhile is not seen, and is not taken for a
  // leak.
  if (::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0) {
    own_mounts = ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new LeakListener);
  return RUN_ALL_TESTS();
}
