// SPDX-License-Identifier: Apache-2.0
//
// A root to run commands in: one lower directory with a static busybox (sh, cat, ls ... in /bin),
// one with mount points, and a fresh upper for each run. /host in it is a directory of the test.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sandbox/sandbox.h"
#include "tests/support/store_fixture.h"

namespace strata::testing {

inline int64_t Milliseconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

class SandboxFixture : public StoreFixture {
 protected:
  SandboxFixture() {
    for (const char* name :
         {"root/base/bin", "root/base/etc", "root/points/proc", "root/points/dev",
          "root/points/tmp", "root/points/host", "root/mnt", "host"}) {
      NewDir(name);
    }
    std::filesystem::copy_file("/bin/busybox", Path("root/base/bin/busybox"));
    for (const char* applet : {"sh", "cat", "ls", "sleep", "true", "false", "readlink", "env",
                               "touch", "setsid", "mkdir", "echo", "grep", "stat"}) {
      std::filesystem::create_symlink("busybox", Path("root/base/bin/") + applet);
    }
  }

  SandboxSpec Spec(std::vector<std::string> argv) {
    const std::string number = std::to_string(runs_++);
    SandboxSpec spec;
    spec.root.directory = Path("root");
    spec.root.attach_at = "mnt";
    spec.root.lowers = {"base", "points"};
    NewDir("root/upper" + number);
    NewDir("root/work" + number);
    spec.root.upper = "upper" + number;
    spec.root.work = "work" + number;
    spec.mounts.push_back({.source = Path("host"), .target = "/host"});
    spec.argv = std::move(argv);
    spec.env = {"PATH=/bin"};
    spec.capabilities = DefaultCapabilities();
    return spec;
  }
  SandboxSpec Script(const std::string& script) { return Spec({"/bin/sh", "-c", script}); }

  // What the command wrote to /host/NAME.
  std::string Written(const std::string& name = "out") const {
    auto text = ReadFile(AT_FDCWD, Path("host/" + name), 1 << 20);
    return text ? *text : "(nothing)";
  }
  bool WaitFor(const std::string& name) const {
    for (int64_t end = Milliseconds() + 120000; Milliseconds() < end; ::usleep(2000)) {
      if (std::filesystem::exists(Path("host/" + name))) return true;
    }
    return false;
  }
  void WriteProgram(const std::string& path, std::string_view content, unsigned mode = 0755) {
    UniqueFd fd =
        Must(OpenAt(AT_FDCWD, Path("root/base/" + path), O_WRONLY | O_CREAT | O_EXCL, 0600));
    Must(WriteAll(fd.get(), content, path));
    MustSys(::fchmod(fd.get(), mode), path);
  }

 private:
  int runs_ = 0;
};

}  // namespace strata::testing
