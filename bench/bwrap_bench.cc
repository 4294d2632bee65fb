// SPDX-License-Identifier: Apache-2.0
//
// strata-bwrap against bubblewrap on the same command line, as whole processes: all namespaces, a
// plain root, /proc and /dev, and 0, 20 and 2,000 binds more.
//
//   STRATA_BWRAP        the executable to time (default: the one of this build tree)
//   STRATA_BWRAP_PEER   one more to compare with, say bubblewrap 0.12 as tests/bwrap/fetch --peers
//                       builds it; the first is always `bwrap` in $PATH
//
// Command lines with many binds come by --args, as flatpak's do: the loader does not see them.
#include <sys/mman.h>

#include <filesystem>
#include <fstream>

#include "bench/support.h"

namespace strata::bench {
namespace {

namespace fs = std::filesystem;

// A directory to bind, and a root that holds a static program alone.
struct Fixture {
  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  BenchStore bench;
  std::string root = bench.FreshDirectory();
  std::string source = bench.FreshDirectory();

 private:
  Fixture() {
    for (const char* part : {"/bin", "/proc", "/dev", "/mnt"}) fs::create_directory(root + part);
    std::ofstream(source + "/file") << "content\n";
    fs::copy_file("/bin/busybox", root + "/bin/true");
  }
};

// The options that come by --args, in a file: `binds` of the same file, each at a path of its own.
int Binds(int64_t binds) {
  std::string text = std::string("--tmpfs\0/mnt\0", 13);
  for (int64_t i = 0; i < binds; ++i) {
    text += fmt::format("--ro-bind{0}{1}/file{0}/mnt/{2}{0}", '\0', Fixture::Get().source, i);
  }
  const int fd = ::memfd_create("args", 0);  // inherited
  Must(WriteAll(fd, text, "args"));
  return fd;
}

void AddSandbox(const std::string& contender, const std::string& program, int64_t binds) {
  static int args = -1;
  static std::vector<std::string> words;
  Add({.name = fmt::format("binds/{}/binds:{}", contender, binds),
       .cached = "all warm",
       .repetitions = binds > 1000 ? 5 : 41,
       .prepare =
           [=] {
             words = {program, "--unshare-all", "--bind", Fixture::Get().root, "/", "--proc",
                      "/proc", "--dev",         "/dev"};
             if (binds > 0) {
               args = Binds(binds);
               ::lseek(args, 0, SEEK_SET);
               words.insert(words.end(), {"--args", std::to_string(args)});
             }
             words.push_back("/bin/true");
           },
       .work = [](benchmark::State& state) { RunCommand(state, words); },
       .after =
           [=] {
             if (binds > 0) ::close(args);
           }});
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  for (int64_t binds : BySize({0, 20}, {2000}, {})) {
    AddSandbox("strata_bwrap", StrataBwrapExecutable(), binds);
    AddSandbox("bwrap", "bwrap", binds);
    if (const char* peer = std::getenv("STRATA_BWRAP_PEER")) AddSandbox("bwrap_peer", peer, binds);
  }
  return Run(argc, argv);
}
