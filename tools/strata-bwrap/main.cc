// SPDX-License-Identifier: Apache-2.0
//
// strata-bwrap: the command line of bubblewrap, made of the pieces that `strata run` is made of.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/sys.h"
#include "tools/strata-bwrap/message.h"
#include "tools/strata-bwrap/monitor.h"
#include "tools/strata-bwrap/options.h"
#include "tools/strata-bwrap/store_layers.h"

namespace strata::bwrap {
namespace {

// The capabilities that root keeps. Nobody else may have any: they would come from the executable,
// which trusts its caller in everything.
uint64_t OwnCapabilities() {
  if (::getuid() != ::geteuid() || ::getgid() != ::getegid()) {
    Die("Refusing to run with the rights of another user: this executable must not be setuid");
  }
  uint64_t effective;
  uint64_t permitted;
  int rc = sys::CapGet(&effective, &permitted);
  if (rc < 0) DieWith(rc, "capget failed");
  if (::getuid() == 0) return effective;
  if (permitted != 0) Die("Unexpected capabilities but not setuid, old file caps config?");
  return 0;
}

// A caller that ignores it would make it impossible to wait.
void ResetChildSignal() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &standard, nullptr);
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_UNBLOCK, &child, nullptr);
}

int Main(int argc, char** argv) {
  // Works whatever rights there are: packages ask for it while they are built.
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) PrintVersion();
  ResetChildSignal();
  const uint64_t capabilities = OwnCapabilities();
  int rc = sys::Prctl(PR_SET_NO_NEW_PRIVS, 1);
  if (rc < 0) DieWith(rc, "prctl(PR_SET_NO_NEW_PRIVS) failed");
  RememberStorePlace();
  Options options;
  ParseOptions(argc, argv, capabilities, &options);
  return RunSandbox(options);
}

}  // namespace
}  // namespace strata::bwrap

int main(int argc, char** argv) {
  strata::sys::ExitNow(strata::bwrap::Main(argc, argv));
}
