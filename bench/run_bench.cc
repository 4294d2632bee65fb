// SPDX-License-Identifier: Apache-2.0
//
// P1: `strata run` of a cached root, a Debian base and an artifact of 100,000 files, as a whole
// process; against bubblewrap, which stages nothing: it binds a plain directory. And the start of a
// program without any sandbox, which is in all of them.
//
//   STRATA_BENCH_ROOT   a root file system as a tar, say of mmdebstrap (default: a root that holds
//                       a static program alone)
#include <filesystem>
#include <memory>

#include "bench/support.h"

namespace strata::bench {
namespace {

namespace fs = std::filesystem;
constexpr int kFiles = 100000;

// A store with the layers `base` and `artifact`, and the base as a plain directory.
struct Fixture {
  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  BenchStore bench;
  std::string plain = bench.FreshDirectory();

 private:
  Fixture() {
    ::setenv("STRATA_STORE", bench.store().path().c_str(), 1);
    if (const char* root = std::getenv("STRATA_BENCH_ROOT")) {
      Do({"tar", "-xf", root, "-C", plain, "--exclude=./dev/*", "--no-same-owner"});
    } else {
      for (const char* point : {"proc", "dev", "tmp", "bin"}) {
        fs::create_directory(plain + "/" + point);
      }
      fs::copy_file("/bin/busybox", plain + "/bin/true");
    }
    Do({StrataExecutable(), "import", "-q", "--name", "base", plain});
    const LayerId artifact = MakeLayer(bench.store(), ManyFiles("artifact", kFiles), "artifact");
    Do({StrataExecutable(), "tag", artifact.Hex(), "artifact"});
    // What writing back would cost is not the runs'.
    Settle(bench);
  }
  static void Do(const std::vector<std::string>& words) {
    if (Spawn(words) == 0) return;
    fmt::print(stderr, "{} {} failed\n", words[0], words[1]);
    std::exit(1);
  }
};

std::vector<std::string> StrataRun(const std::vector<std::string>& options) {
  std::vector<std::string> words{StrataExecutable(), "run"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"base", "artifact", "--", "/bin/true"});
  return words;
}

std::vector<std::string> Bwrap(const std::string& program) {
  return {program, "--unshare-all", "--bind", Fixture::Get().plain, "/", "--proc",
          "/proc", "--dev",         "/dev",   "/bin/true"};
}

void AddRun(const std::string& contender,
            const std::function<std::vector<std::string>()>& command) {
  // The words are made outside the clock, and it ran once before it is timed.
  auto words = std::make_shared<std::vector<std::string>>();
  Add({.name = fmt::format("run/{}/files:{}", contender, kFiles),
       .cached = "all warm: the same ran before",
       .repetitions = 151,
       .prepare =
           [=] {
             Fixture::Get();
             if (!words->empty()) return;
             *words = command();
             Spawn(*words);
           },
       .work = [=](benchmark::State& state) { RunCommand(state, *words); }});
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  AddRun("strata", [] { return StrataRun({}); });
  AddRun("strata_tmpfs", [] { return StrataRun({"--scratch", "tmpfs"}); });
  AddRun("strata_read_only", [] { return StrataRun({"--read-only"}); });
  AddRun("strata_bwrap", [] { return Bwrap(StrataBwrapExecutable()); });
  AddRun("bwrap", [] { return Bwrap("bwrap"); });
  AddRun("no_sandbox", [] { return std::vector<std::string>{"/bin/true"}; });
  return Run(argc, argv);
}
