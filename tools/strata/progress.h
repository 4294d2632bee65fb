// SPDX-License-Identifier: Apache-2.0
//
// One line on the terminal (standard error) about work that takes longer than half a second.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "cache/import.h"

namespace strata {

// "import base.tar: 12 MB of 48 MB, 3,210 entries, 40 MB/s, 1 s left"; where no bytes are counted,
// "compose: 3,210 of 12,000 entries, 3 s left".
std::string ProgressText(const std::string& label, uint64_t bytes, uint64_t total_bytes,
                         uint64_t entries, double seconds, uint64_t total_entries = 0);

// Shows the line as long as it lives, by a thread of its own, and wipes it at the end. Silent, and
// without a thread, when `quiet` or when standard error is no terminal.
class ProgressLine {
 public:
  // `progress` must outlive it.
  ProgressLine(std::string label, const Progress& progress, bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void Run();

  std::string label_;
  const Progress& progress_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace strata
