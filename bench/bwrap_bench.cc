// SPDX-License-Identifier: Apache-2.0
//
// strata-bwrap against bubblewrap on the same command line, as whole processes: all namespaces, a
// plain root, /proc and /dev, and 0, 20 and 2,000 binds more. Everything is warm on both sides, and
// the runs of both interleave.
//
//   STRATA_BWRAP        the executable to time (default: the one of this build tree)
//   STRATA_BWRAP_PEER   one more to compare with, say bubblewrap 0.12 as tests/bwrap/fetch --peers
//   builds it;
//                       the first is always `bwrap` in $PATH
//   STRATA_BENCH_DIR    where the root goes (default: /var/tmp)
//
// Command lines with many binds come by --args, as flatpak's do: the loader does not see them.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "bench/ratios.h"
#include "bench/support.h"

namespace {

namespace fs = std::filesystem;
using strata::bench::Ratio;
using strata::bench::Spawn;

// A directory to bind, and a root that holds the static program of the benchmark alone.
class Fixture {
 public:
  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  std::string root() const { return directory_ + "/root"; }
  std::string source() const { return directory_ + "/source"; }

  ~Fixture() { fs::remove_all(directory_); }

 private:
  Fixture() {
    const char* parent = std::getenv("STRATA_BENCH_DIR");
    std::string name =
        std::string(parent != nullptr ? parent : "/var/tmp") + "/strata-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      std::perror(name.c_str());
      std::exit(1);
    }
    directory_ = name;
    for (const char* part : {"/root/bin", "/root/proc", "/root/dev", "/root/mnt", "/source"}) {
      fs::create_directories(directory_ + part);
    }
    std::ofstream(directory_ + "/source/file") << "content\n";
    fs::copy_file("/bin/busybox", root() + "/bin/true");
  }

  std::string directory_;
};

std::string Words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += word + '\0';
  return text;
}

// The options that come by --args: `binds` of the same file, each at a path of its own.
std::string Binds(int binds) {
  std::string text = Words({"--tmpfs", "/mnt"});
  for (int i = 0; i < binds; ++i) {
    text += Words({"--ro-bind", Fixture::Get().source() + "/file", "/mnt/" + std::to_string(i)});
  }
  return text;
}

void RunSandbox(benchmark::State& state, const std::string& program) {
  const int binds = static_cast<int>(state.range(0));
  std::vector<std::string> words{program, "--unshare-all", "--bind", Fixture::Get().root(),
                                 "/",     "--proc",        "/proc",  "--dev",
                                 "/dev"};
  int fd = -1;
  if (binds > 0) {
    fd = ::memfd_create("args", 0);  // inherited
    const std::string text = Binds(binds);
    if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      state.SkipWithError("memfd");
      return;
    }
    words.insert(words.end(), {"--args", std::to_string(fd)});
  }
  words.push_back("/bin/true");
  for (auto _ : state) {
    if (fd >= 0) ::lseek(fd, 0, SEEK_SET);
    if (Spawn(words) != 0) state.SkipWithError((program + " failed").c_str());
  }
  if (fd >= 0) ::close(fd);
}

std::string Subject() {
  const char* named = std::getenv("STRATA_BWRAP");
  return named != nullptr ? named : STRATA_BWRAP_EXECUTABLE;
}

void Register(const char* name, const std::string& program) {
  benchmark::RegisterBenchmark(name, RunSandbox, program)
      ->Arg(0)
      ->Arg(20)
      ->Arg(2000)
      // One, so that the repetitions interleave run by run.
      ->Iterations(1)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Ratio> ratios = {
      {"no bind: bwrap", "strata-bwrap/0", "bwrap/0", 1.0, 0.8},
      {"20 binds: bwrap", "strata-bwrap/20", "bwrap/20", 1.0, 0.8},
      {"2,000 binds: bwrap", "strata-bwrap/2000", "bwrap/2000", 1.0, 0.2},
  };
  Register("strata-bwrap", Subject());
  Register("bwrap", "bwrap");
  if (const char* peer = std::getenv("STRATA_BWRAP_PEER")) {
    Register("peer", peer);
    ratios.push_back({"no bind: $STRATA_BWRAP_PEER", "strata-bwrap/0", "peer/0", 1.0, 0.8});
    ratios.push_back({"20 binds: $STRATA_BWRAP_PEER", "strata-bwrap/20", "peer/20", 1.0, 0.8});
    ratios.push_back(
        {"2,000 binds: $STRATA_BWRAP_PEER", "strata-bwrap/2000", "peer/2000", 1.0, 0.2});
  }
  return strata::bench::RunWithRatios(argc, argv, ratios);
}
