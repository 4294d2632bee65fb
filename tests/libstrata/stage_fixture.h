// SPDX-License-Identifier: Apache-2.0
//
// Stages in namespaces where an ordinary user may mount.
#pragma once

#include <sched.h>
#include <sys/wait.h>

#include <functional>

#include "tests/libstrata/fixture.h"

namespace libstrata {

inline void WriteTo(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

class StageFixture : public Fixture {
 protected:
  // Runs `work` where it may mount, in a process of its own: its failures are told by its status.
  void InNamespaces(const std::function<void()>& work) {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ::_exit(3);
      WriteTo("/proc/self/setgroups", "deny");
      WriteTo("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
      WriteTo("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
      work();
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  Stage OpenStage(strata_root* root, const strata_stage_options* options = nullptr) {
    strata_stage* stage = nullptr;
    Good(strata_stage_open(root, options, &stage, error()));
    return Stage(stage);
  }
  std::string NewDirectory(const std::string& name) {
    std::filesystem::create_directory(Path(name));
    return Path(name);
  }
};

}  // namespace libstrata
