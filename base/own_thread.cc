// SPDX-License-Identifier: Apache-2.0
#include "base/own_thread.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace strata {

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  ::sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
    ::sigdelset(&all, fault);
  }
  ::pthread_sigmask(SIG_BLOCK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

Result<void> InDirectory(const std::string& path, const std::function<Result<void>()>& work) {
  Result<void> done;
  RunOnOwnThread([&] {
    done = [&]() -> Result<void> {
      STRATA_TRY(sys::Check(sys::Unshare(CLONE_FS), "unshare", "CLONE_FS"));
      if (::chdir(path.c_str()) != 0) return FailSys(errno, "chdir", path);
      return work();
    }();
  });
  return done;
}

}  // namespace strata
