// SPDX-License-Identifier: Apache-2.0
//
// Composing, against what it replaces:
//
//   P3    the first stage of a set never seen: a base, and an artifact of 100,000 files
//   P4    a cold walk and failing lookups in a root of 480 layers, against one plain directory
//   P5    one of 480 layers changes, against composing from nothing
//   5000  the first compose of 5,000 layers, against hardlinking them into one directory
//
// Nothing is deleted before the end. Prints the ratios of the medians, and fails where one is worse
// than accepted. Needs root.
//
//     bench/on_fresh_ext4 build/release/bench/bench_compose
#include <functional>

#include "bench/ratios.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

constexpr int kPackages = 480;
constexpr int kLookups = 20000;

BenchStore& TheStore() {
  static BenchStore store;
  return store;
}
const Store& store() {
  return TheStore().store();
}

void Setup(benchmark::internal::Benchmark* bench) {
  bench->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
}
void Few(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->Repetitions(5);
}
void Many(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->Repetitions(15);
}

// --- P3

const std::vector<LayerId>& Artifact() {
  static const std::vector<LayerId> layers{
      MakeLayer(store(), ManyFiles("usr/lib", 10000), "base"),
      MakeLayer(store(), ManyFiles("opt/artifact", 100000), "artifact")};
  return layers;
}

void BM_P3_FirstStage(benchmark::State& state) {
  const DependencySet set = SetOf(Artifact());
  for (auto _ : state) {
    TheStore().Forget();
    Settle(TheStore());
    UniqueFd root;
    Timed(state, [&] {
      if (Must(FindRoot(store(), set.Encode()))) std::abort();
      root = Mount(TheStore(), Compose(store(), set).content);
    });
  }
}
BENCHMARK(BM_P3_FirstStage)->Apply(Many);

void BM_P3_CpBaseline(benchmark::State& state) {
  for (auto _ : state) {
    std::vector<std::string> words{"cp", "-al"};
    for (const LayerId& id : Artifact()) {
      words.push_back(store().path() + "/layers/" + id.Hex() + "/tree/.");
    }
    words.push_back(TheStore().FreshDirectory());
    Settle(TheStore());
    Timed(state, [&] {
      if (Spawn(words) != 0) state.SkipWithError("cp failed");
    });
  }
}
BENCHMARK(BM_P3_CpBaseline)->Apply(Few);

void BM_P3_LinkBaseline(benchmark::State& state) {
  for (auto _ : state) {
    const std::vector<LayerId>& layers = Artifact();
    std::string to = TheStore().FreshDirectory();
    Settle(TheStore());
    Timed(state, [&] { HardlinkLayers(TheStore(), layers, to); });
  }
}
BENCHMARK(BM_P3_LinkBaseline)->Apply(Few);

// --- P4

std::vector<LayerId> MakePackages(const Store& store, int count) {
  std::vector<LayerId> made;
  for (int i = 0; i < count; ++i) made.push_back(MakeLayer(store, Package(i), "package"));
  return made;
}

// In a store whose roots are never forgotten.
struct Walked {
  static Walked& Get() {
    static Walked walked;
    return walked;
  }
  BenchStore bench;
  std::vector<LayerId> layers = MakePackages(bench.store(), kPackages);
  RootContent root = Compose(bench.store(), SetOf(layers)).content;
  std::string copy = bench.FreshDirectory();   // inodes of its own: the best a directory can be
  std::string links = bench.FreshDirectory();  // what hardlink staging makes

 private:
  Walked() {
    for (const LayerId& id : layers) {
      Spawn({"cp", "-a", bench.store().path() + "/layers/" + id.Hex() + "/tree/.", copy});
    }
    HardlinkLayers(bench, layers, links);
  }
};

// 0: the composed root; 1: a plain directory; 2: one made of hardlinks to the layers.
void InTree(benchmark::State& state, const std::function<void(int root)>& work) {
  Walked& walked = Walked::Get();
  for (auto _ : state) {
    DropCaches(walked.bench);
    UniqueFd root = state.range(0) == 0
                        ? Mount(walked.bench, walked.root)
                        : Must(OpenAt(AT_FDCWD, state.range(0) == 1 ? walked.copy : walked.links,
                                      O_PATH | O_DIRECTORY));
    Timed(state, [&] { work(root.get()); });
  }
}

void BM_P4_ColdWalk(benchmark::State& state) {
  static size_t entries = 0;
  InTree(state, [&](int root) {
    size_t seen = Walk(root, ".");
    if (entries != 0 && entries != seen) state.SkipWithError("another tree");
    entries = seen;
  });
}
void BM_P4_FailingLookups(benchmark::State& state) {
  InTree(state, [](int root) { LookUpInVain(root, "usr/include", kLookups); });
}
BENCHMARK(BM_P4_ColdWalk)->ArgName("tree")->Arg(0)->Arg(1)->Arg(2)->Apply(Many);
BENCHMARK(BM_P4_FailingLookups)->ArgName("tree")->Arg(0)->Arg(1)->Arg(2)->Apply(Many);

// --- P5

const std::vector<LayerId>& Packages() {
  static const std::vector<LayerId> layers = MakePackages(store(), kPackages);
  return layers;
}

void BM_P5_FromNothing(benchmark::State& state) {
  const DependencySet set = SetOf(Packages());
  for (auto _ : state) {
    TheStore().Forget();
    Settle(TheStore());
    Timed(state, [&] { Compose(store(), set); });
  }
}
BENCHMARK(BM_P5_FromNothing)->Apply(Few);

void ChangeOne(benchmark::State& state, const ComposeOptions& options) {
  static int round = 0;
  for (auto _ : state) {
    ++round;
    std::vector<LayerId> layers = Packages();
    const int at = round * 97 % kPackages;
    layers[static_cast<size_t>(at)] =
        MakeLayer(store(), Package(at), fmt::format("change {}", round));
    const DependencySet set = SetOf(layers);
    TheStore().Forget();
    Compose(store(), SetOf(Packages()));
    Settle(TheStore());
    Timed(state, [&] { Compose(store(), set, options); });
  }
}
void BM_P5_Delta(benchmark::State& state) {
  ChangeOne(state, {});
}
void BM_P5_WithoutDeltas(benchmark::State& state) {
  ChangeOne(state, {.delta_part = 0});
}
BENCHMARK(BM_P5_Delta)->Apply(Many);
BENCHMARK(BM_P5_WithoutDeltas)->Apply(Few);

// --- 5,000 layers

const std::vector<LayerId>& Thousands() {
  static const std::vector<LayerId> layers = MakePackages(store(), 5000);
  return layers;
}

void BM_5000_FirstCompose(benchmark::State& state) {
  const DependencySet set = SetOf(Thousands());
  for (auto _ : state) {
    TheStore().Forget();
    Settle(TheStore());
    Timed(state, [&] { Compose(store(), set); });
  }
}
void BM_5000_LinkBaseline(benchmark::State& state) {
  const std::vector<LayerId>& layers = Thousands();
  for (auto _ : state) {
    std::string to = TheStore().FreshDirectory();
    Settle(TheStore());
    Timed(state, [&] { HardlinkLayers(TheStore(), layers, to); });
  }
}
void Thrice(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->Repetitions(3);
}
BENCHMARK(BM_5000_FirstCompose)->Apply(Thrice);
BENCHMARK(BM_5000_LinkBaseline)->Apply(Thrice);

const std::vector<Ratio> kRatios = {
    {"P3 first stage, against cp -al", "BM_P3_FirstStage", "BM_P3_CpBaseline", 1.0 / 20, 1.0 / 200},
    {"P3 first stage, against bare linkat", "BM_P3_FirstStage", "BM_P3_LinkBaseline", 1.0 / 20,
     1.0 / 200},
    {"P4 cold walk", "BM_P4_ColdWalk/tree:0", "BM_P4_ColdWalk/tree:1", 3, 1.5},
    {"P4 cold walk, against hardlinks", "BM_P4_ColdWalk/tree:0", "BM_P4_ColdWalk/tree:2", 0, 0},
    {"P4 failing lookups", "BM_P4_FailingLookups/tree:0", "BM_P4_FailingLookups/tree:1", 5, 1.5},
    {"P4 failing lookups, against hardlinks", "BM_P4_FailingLookups/tree:0",
     "BM_P4_FailingLookups/tree:2", 0, 0},
    {"P5 one layer changed", "BM_P5_Delta", "BM_P5_FromNothing", 1.0 / 8, 1.0 / 30},
    {"P5 one layer changed, no deltas", "BM_P5_WithoutDeltas", "BM_P5_FromNothing", 0, 0},
    {"5,000 layers, first compose", "BM_5000_FirstCompose", "BM_5000_LinkBaseline", 1.2, 0},
};

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  return strata::bench::RunWithRatios(argc, argv, strata::bench::kRatios);
}
