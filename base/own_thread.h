// SPDX-License-Identifier: Apache-2.0
//
// Threads of strata's own in a process that may be somebody else's: the signals of the process are
// not handled on them, and nothing that is thrown on one ends the process.
#pragma once

#include <csignal>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "base/result.h"

namespace strata {

// While it lives, the calling thread takes no signals but those of its own faults; what it starts
// (threads, children) begins like that.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_;
};

// Throws std::system_error where there can be no more threads.
template <typename Work>
std::thread StartThread(Work work) {
  SignalsBlocked blocked;
  return std::thread(std::move(work));
}

// Runs `work` on a thread of its own and waits for it. What it throws is thrown here.
template <typename Work>
void RunOnOwnThread(const Work& work) {
  std::exception_ptr thrown;
  std::thread thread = StartThread([&] {
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  thread.join();
  if (thrown) std::rethrow_exception(thrown);
}

// Runs `work` in the working directory `path`, on a thread of its own: the process stays where it
// is. In the namespaces of the calling thread.
Result<void> InDirectory(const std::string& path, const std::function<Result<void>()>& work);

}  // namespace strata
