// SPDX-License-Identifier: Apache-2.0
//
// Observer: how work that takes long tells whoever asked for it what goes on, as libraries do not
// print. Each of its functions may be empty. They are called by the thread that does the work, but
// for `output`, and never two at a time; none after the work has returned.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string_view>

#include "base/result.h"
#include "cache/import.h"

namespace strata {

struct Observer {
  enum class Kind {
    kProblem,  // why the command ended as it did
    kAdvice,   // what may have been the matter, for whoever wonders
    kNotice,   // what became of something that was asked for
    kWarning,  // something that was left out, or done otherwise
  };
  // One of the latter two has neither code nor hint.
  std::function<void(Kind, const Error&)> message;
  // A line, without its end, that an integration command wrote. By another thread, while the
  // caller's waits.
  std::function<void(std::string_view)> output;
  // An integration command is about to run.
  std::function<void(std::string_view)> command;
  // Something that may take long begins ("compose"), and is counted in *progress until the call
  // with null.
  std::function<void(std::string_view what, const Progress* progress)> progress;

  void Tell(Kind kind, const Error& error) const {
    if (message) message(kind, error);
  }
  void Warn(std::string_view text) const {
    Tell(Kind::kWarning, Error(Errc::kSystem, std::string(text)));
  }
};

// Tells of the beginning, when it is told to, and of the end.
class ShownProgress {
 public:
  explicit ShownProgress(const Observer& observer) : observer_(observer) {}
  ShownProgress(const ShownProgress&) = delete;
  ShownProgress& operator=(const ShownProgress&) = delete;
  ~ShownProgress() { End(); }

  void Begin(std::string_view what) {
    if (!observer_.progress) return;
    observer_.progress(what, &counters);
    shown_ = true;
  }
  void End() {
    if (shown_) observer_.progress({}, nullptr);
    shown_ = false;
  }

  Progress counters;

 private:
  const Observer& observer_;
  bool shown_ = false;
};

}  // namespace strata
