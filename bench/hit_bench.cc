// SPDX-License-Identifier: Apache-2.0
//
// P2: a root that is in the cache costs the same, whatever is in it: 1,000 files against 1,000,000,
// and 2 layers against 2,000. Once what a hit does, in this process: the key, FindRoot and the
// mount; and once as a whole process, `strata run` of a program that ends at once. Needs root.
//
//     bench/on_fresh_ext4 build/release/bench/bench_hit
//
//   STRATA   the strata executable (default: the one of this build tree)
#include <fstream>

#include "bench/ratios.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

enum Kind { kSmall, kLarge, kManyLayers, kKinds };

// Roots of the same base and 1,000 files; 1,000,000 files (empty ones) in one layer; and in 1,999
// layers.
struct Roots {
  static Roots& Get() {
    static Roots roots;
    return roots;
  }
  BenchStore bench;
  std::vector<LayerId> layers[kKinds];
  std::string names[kKinds];  // of files that list the layers

 private:
  Roots() {
    const Store& store = bench.store();
    const LayerId base = MakeBase();
    layers[kSmall] = {base, MakeLayer(store, ManyFiles("opt/small", 1000), "")};
    layers[kLarge] = {base, MakeLayer(store, ManyFiles("opt/large", 1000000), "")};
    layers[kManyLayers] = {base};
    for (int i = 0; i < 1999; ++i) {
      layers[kManyLayers].push_back(
          MakeLayer(store, ManyFiles(fmt::format("opt/many/{}", i), 500), ""));
    }
    for (int kind = 0; kind < kKinds; ++kind) {
      Compose(store, SetOf(layers[kind]));
      names[kind] = fmt::format("{}/layers{}", bench.path(), kind);
      std::ofstream list(names[kind]);
      for (const LayerId& id : layers[kind]) list << id.Hex() << "\n";
    }
    ::setenv("STRATA_STORE", store.path().c_str(), 1);
    Settle(bench);
  }
  LayerId MakeBase() {
    std::string program = Must(ReadFile(AT_FDCWD, "/bin/busybox", 16 << 20));
    testing::LayerMaker base(bench.store());
    return base.File("bin/true", program, 0755).Publish();
  }
};

void BM_Hit(benchmark::State& state) {
  Roots& roots = Roots::Get();
  const DependencySet set = SetOf(roots.layers[state.range(0)]);
  for (auto _ : state) {
    Timed(state, [&] {
      std::optional<CachedRoot> root = Must(FindRoot(roots.bench.store(), set.Encode()));
      if (!root) state.SkipWithError("not in the cache");
      Mount(roots.bench, root->content);
    });
  }
}

void BM_Run(benchmark::State& state) {
  Roots& roots = Roots::Get();
  const char* strata = std::getenv("STRATA");
  const std::vector<std::string> words{strata != nullptr ? strata : STRATA_EXECUTABLE,
                                       "run",
                                       "--layers-from",
                                       roots.names[state.range(0)],
                                       "--",
                                       "/bin/true"};
  for (auto _ : state) {
    Timed(state, [&] {
      if (Spawn(words) != 0) state.SkipWithError("the command failed");
    });
  }
}

void Kinds(benchmark::internal::Benchmark* bench) {
  bench->ArgName("root")->Arg(kSmall)->Arg(kLarge)->Arg(kManyLayers);
  bench->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond)->Repetitions(101);
}
BENCHMARK(BM_Hit)->Apply(Kinds);
BENCHMARK(BM_Run)->Apply(Kinds);

const std::vector<Ratio> kRatios = {
    {"P2 a hit, 1,000,000 files", "BM_Hit/root:1", "BM_Hit/root:0", 1.2, 1},
    {"P2 a hit, 2,000 layers", "BM_Hit/root:2", "BM_Hit/root:0", 1.2, 1},
    {"P2 strata run, 1,000,000 files", "BM_Run/root:1", "BM_Run/root:0", 1.2, 1},
    {"P2 strata run, 2,000 layers", "BM_Run/root:2", "BM_Run/root:0", 1.2, 1},
};

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  return strata::bench::RunWithRatios(argc, argv, strata::bench::kRatios);
}
