// SPDX-License-Identifier: Apache-2.0
//
// strata-mount: the command line of fuse-overlayfs over the kernel's overlay.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "tools/strata-mount/fallback.h"
#include "tools/strata-mount/mount.h"
#include "tools/strata-mount/options.h"
#include "tools/strata-mount/store_layers.h"

namespace strata::mount {
namespace {

// mount(8)'s, for its helpers. fuse-overlayfs has one for all that fails.
constexpr int kHelperUsage = 1;
constexpr int kHelperMountFailed = 32;

void Print(const Error& error) {
  std::fprintf(stderr, "strata-mount: %s\n", error.message().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "hint: %s\n", error.hint().c_str());
}

// 500 layers, and a directory for each level of a tree that is looked through.
void RaiseOpenFiles() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<void> Mount(const Request& request, bool* of_store) {
  STRATA_ASSIGN(*of_store, AreStoreLayers(request));
  if (!request.only_by_fuse.empty()) {
    Error error(Errc::kUnsupported,
                fmt::format("-o {}: no overlay of the kernel does this", request.only_by_fuse));
    if (!*of_store) return Unexpected(std::move(error));
    return Unexpected(std::move(error).Hint(
        "fuse-overlayfs does, of directories; of layers of the store it knows nothing"));
  }
  return *of_store ? MountStoreLayers(request) : MountDirectories(request);
}

int Main(char** argv) {
  Result<Request> request = ParseCommandLine(argv);
  if (!request) {
    Print(request.error());
    return kHelperUsage;
  }
  if (request->action == Request::Action::kHelp) {
    std::fputs(HelpText().c_str(), stdout);
    return 0;
  }
  if (request->action == Request::Action::kVersion) {
    std::printf("strata-mount: version %s\n", STRATA_VERSION);
    return 0;
  }
  for (const std::string& unknown : request->unknown) {
    std::fprintf(stderr, "unknown argument ignored: %s\n", unknown.c_str());
  }
  const int failed = request->is_helper ? kHelperMountFailed : EXIT_FAILURE;
  if (request->dry_run) return 0;
  RaiseOpenFiles();
  bool of_store = false;
  Result<void> mounted = Mount(*request, &of_store);
  if (!mounted) {
    Error error = std::move(mounted).error();
    // fuse-overlayfs knows no layers but directories, and not the options of mount(8).
    if (error.code() == Errc::kUnsupported && !of_store && !request->is_helper) {
      error = BecomeFuseOverlayfs(argv, error);
    }
    Print(error);
    return failed;
  }
  if (!request->foreground) return 0;
  Result<void> stayed = StayUntilUnmounted(request->target);
  if (stayed) return 0;
  Print(stayed.error());
  return failed;
}

}  // namespace
}  // namespace strata::mount

int main(int, char** argv) {
  try {
    return strata::mount::Main(argv);
  } catch (const std::bad_alloc&) {
    std::fputs("strata-mount: out of memory\n", stderr);
    return EXIT_FAILURE;
  }
}
