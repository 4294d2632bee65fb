// SPDX-License-Identifier: Apache-2.0
//
// P1: `strata run` of a cached root, as a whole process, against bubblewrap, which stages nothing: it
// binds a plain directory. Everything is warm on both sides. Run it with interleaving, so that a slow
// moment of the machine hits all alike:
//
//     bench_run --benchmark_enable_random_interleaving=true --benchmark_repetitions=101
//
//   STRATA             the strata executable (default: the one of this build tree)
//   STRATA_BENCH_DIR   where the store goes (default: /var/tmp); a fresh loop-mounted file system keeps
//                      the figures clear of what else the disk has to do
//   STRATA_BENCH_ROOT  a root file system as a tar, say of mmdebstrap (default: a root that holds
//                      a static program alone)
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

int Spawn(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid;
  if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
  int status;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Must(const std::vector<std::string>& words) {
  if (Spawn(words) == 0) return;
  std::fprintf(stderr, "bench_run: %s %s failed\n", words[0].c_str(),
               words.size() > 1 ? words[1].c_str() : "");
  std::exit(1);
}

// A store with a root and an artifact of 100,000 small files, and the root as a plain directory.
class Fixture {
 public:
  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  const std::string& strata() const { return strata_; }
  std::string plain() const { return directory_ + "/plain"; }

  ~Fixture() { fs::remove_all(directory_); }

 private:
  Fixture() {
    const char* parent = std::getenv("STRATA_BENCH_DIR");
    std::string name = std::string(parent != nullptr ? parent : "/var/tmp") + "/strata-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      std::perror(name.c_str());
      std::exit(1);
    }
    directory_ = name;
    const char* strata = std::getenv("STRATA");
    strata_ = strata != nullptr ? strata : STRATA_EXECUTABLE;
    ::setenv("STRATA_STORE", (directory_ + "/store").c_str(), 1);
    fs::create_directory(plain());
    const char* root = std::getenv("STRATA_BENCH_ROOT");
    if (root != nullptr) {
      Must({"tar", "-xf", root, "-C", plain(), "--exclude=./dev/*", "--no-same-owner"});
    } else {
      for (const char* point : {"proc", "dev", "tmp", "bin"}) fs::create_directory(plain() + "/" + point);
      Must({"cp", "/bin/busybox", plain() + "/bin/true"});
    }
    MakeArtifact();
    for (const char* layer : {"plain", "artifact"}) {
      Must({strata_, "import", "-q", "--name", layer, directory_ + "/" + layer});
    }
    // What deleting or writing back would cost is not the runs' (nothing is deleted before the end).
    ::sync();
  }

  void MakeArtifact() {
    for (int i = 1; i <= 100; ++i) {
      for (int j = 1; j <= 100; ++j) {
        std::string directory = directory_ + "/artifact/" + std::to_string(i) + "/" + std::to_string(j);
        fs::create_directories(directory);
        for (int k = 1; k <= 10; ++k) std::ofstream(directory + "/" + std::to_string(k)) << i << j << k;
      }
    }
  }

  std::string directory_;
  std::string strata_;
};

void RunRepeatedly(benchmark::State& state, const std::vector<std::string>& words) {
  if (Spawn(words) != 0) {  // warms up
    state.SkipWithError("the command failed");
    return;
  }
  for (auto _ : state) Spawn(words);
}

std::vector<std::string> StrataRun(const std::vector<std::string>& options) {
  std::vector<std::string> words{Fixture::Get().strata(), "run"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"plain", "artifact", "--", "/bin/true"});
  return words;
}

void BM_Run_Strata(benchmark::State& state) { RunRepeatedly(state, StrataRun({})); }
void BM_Run_StrataTmpfs(benchmark::State& state) {
  RunRepeatedly(state, StrataRun({"--scratch", "tmpfs"}));
}
void BM_Run_StrataReadOnly(benchmark::State& state) {
  RunRepeatedly(state, StrataRun({"--read-only"}));
}
void BM_Run_BwrapBaseline(benchmark::State& state) {
  RunRepeatedly(state, {"bwrap", "--unshare-all", "--bind", Fixture::Get().plain(), "/", "--proc",
                        "/proc", "--dev", "/dev", "/bin/true"});
}

// One, so that the repetitions interleave run by run: the kernel tears a network namespace down after its
// last process is gone, and whoever runs next pays for that.
constexpr int kIterations = 1;
BENCHMARK(BM_Run_Strata)->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Run_StrataTmpfs)->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Run_StrataReadOnly)->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Run_BwrapBaseline)->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
