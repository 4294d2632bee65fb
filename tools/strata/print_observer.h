// SPDX-License-Identifier: Apache-2.0
//
// What the libraries have to tell while they work, on standard error.
#pragma once

#include <optional>

#include "sandbox/observer.h"
#include "tools/strata/progress.h"

namespace strata {

// With `quiet`: no warnings, no advice, no progress, nothing of what integration commands say.
class PrintObserver {
 public:
  explicit PrintObserver(bool quiet);
  PrintObserver(const PrintObserver&) = delete;
  PrintObserver& operator=(const PrintObserver&) = delete;

  operator const Observer&() const { return observer_; }

 private:
  Observer observer_;
  std::optional<ProgressLine> line_;
};

}  // namespace strata
