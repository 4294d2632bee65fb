// SPDX-License-Identifier: Apache-2.0
//
// A root with a static busybox (sh, cat, ls ... in /bin), and strata_run with less to write. The
// tests' own directory is at /host in it.
#pragma once

#include <fcntl.h>
#include <time.h>

#include <algorithm>

#include "tests/libstrata/fixture.h"

namespace libstrata {

inline int64_t Milliseconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

struct FreeResult {
  void operator()(strata_result* result) const { strata_result_free(result); }
};
using RunResult = std::unique_ptr<strata_result, FreeResult>;

class RunFixture : public Fixture {
 protected:
  RunFixture() {
    std::filesystem::create_directories(Path("busybox/bin"));
    std::filesystem::create_directories(Path("host"));
    std::filesystem::copy_file("/bin/busybox", Path("busybox/bin/busybox"));
    for (const char* applet : {"sh", "cat", "ls", "sleep", "true", "id", "touch", "mkdir", "echo",
                               "grep", "rm", "hostname", "pwd", "chown", "env"}) {
      std::filesystem::create_symlink("busybox", Path("busybox/bin/") + applet);
    }
    strata_layer* layer = nullptr;
    strata_import_options options{};
    options.size = sizeof options;
    options.ref = "busybox";
    Good(strata_import(store(), Path("busybox").c_str(), &options, &layer, error()));
    strata_layer_free(layer);
    root_ = Compose({"busybox"});
    host_ = {STRATA_MOUNT_BIND, nullptr, "/host", 0, {}};
    host_path_ = Path("host");
    host_.source = host_path_.c_str();
  }

  // Options that refer to `words`, with /host and without standard streams.
  strata_run_options Options(const std::vector<std::string>& words) {
    argv_.push_back({});
    words_.push_back(words);
    for (const std::string& word : words_.back()) argv_.back().push_back(word.c_str());
    argv_.back().push_back(nullptr);
    strata_run_options options{};
    options.size = sizeof options;
    options.argv = argv_.back().data();
    options.mounts = &host_;
    options.mount_count = 1;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = -1;
    return options;
  }
  strata_run_options Script(const std::string& script) { return Options({"sh", "-c", script}); }

  RunResult Run(const strata_run_options& options) {
    strata_result* result = nullptr;
    Good(strata_run(root_.get(), &options, &result, error()));
    return RunResult(result);
  }
  // -1000 for an error; uses nothing that threads share.
  int Status(const strata_run_options& options) const {
    strata_result* result = nullptr;
    strata_error* failure = nullptr;
    if (strata_run(root_.get(), &options, &result, &failure) != 0) {
      std::ofstream(Path("failure")) << strata_error_message(failure) << "\n";
      strata_error_free(failure);
      return -1000;
    }
    const int status = strata_result_status(result);
    strata_result_free(result);
    return status;
  }
  // Why Status() was -1000.
  std::string Failure() const { return Read(Path("failure")); }
  std::string Written(const std::string& name = "out") const { return Read(Path("host/" + name)); }
  bool WaitFor(const std::string& name) const {
    for (int64_t end = Milliseconds() + 120000; Milliseconds() < end; ::usleep(2000)) {
      if (std::filesystem::exists(Path("host/" + name))) return true;
    }
    return false;
  }

  Root root_;
  strata_mount host_{};
  std::string host_path_;

 private:
  std::vector<std::vector<std::string>> words_;
  std::vector<std::vector<const char*>> argv_;
};

}  // namespace libstrata
