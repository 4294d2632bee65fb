// SPDX-License-Identifier: Apache-2.0
//
// The measurement behind the bounds of ComposeOptions: what a root costs to compose and to use, by
// the number of lower layers that are mounted; and what a delta costs against segments, by how much
// has changed. DEPTH.md tells what follows from it.
//
// 480 layers of 50 files, most of them in directories that all share; each is mounted as a run does
// it, with a skeleton and an upper. depth:0 is one plain directory. Needs root.
//
//     bench/on_fresh_ext4 build/release/bench/bench_depth --benchmark_out=bench/depth.json
//     bench/plot_depth.py bench/depth.json bench/depth.svg
#include <functional>

#include "bench/ratios.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

constexpr int kPackages = 480;
constexpr int kLookups = 5000;

ComposeOptions InSegments(size_t depth) {
  ComposeOptions options;
  options.max_direct = 0;
  options.max_segments = depth;
  options.delta_part = 0;
  return options;
}

struct Packages {
  BenchStore bench;
  std::vector<LayerId> layers;
  Packages() {
    for (int i = 0; i < kPackages; ++i) {
      layers.push_back(MakeLayer(bench.store(), Package(i), "package"));
    }
  }
};

// Where roots are composed, and forgotten.
struct Composed : Packages {
  static Composed& Get() {
    static Composed composed;
    return composed;
  }
  std::vector<LayerId> changed;
  Composed() {
    for (int i = 0; i < kPackages; ++i) {
      changed.push_back(MakeLayer(bench.store(), Package(i), "changed"));
    }
  }
};

// Where they are used.
struct Used : Packages {
  static Used& Get() {
    static Used used;
    return used;
  }
  std::string plain = bench.FreshDirectory();
  std::map<int64_t, RootContent> roots;
  Used() {
    for (const LayerId& id : layers) {
      Spawn({"cp", "-a", bench.store().path() + "/layers/" + id.Hex() + "/tree/.", plain});
    }
  }
  // Detached; a fresh mount knows no name yet.
  UniqueFd Open(int64_t depth) {
    if (depth == 0) return Must(OpenAt(AT_FDCWD, plain, O_PATH | O_DIRECTORY));
    auto [root, is_new] = roots.try_emplace(depth);
    if (is_new) {
      RootDraft draft =
          Must(DraftRoot(bench.store(), SetOf(layers), InSegments(static_cast<size_t>(depth))));
      if (draft.content.lowers.size() != static_cast<size_t>(depth)) std::abort();
      root->second = draft.content;
    }
    return Mount(bench, root->second);
  }
};

void BM_Compose(benchmark::State& state) {
  Composed& composed = Composed::Get();
  const DependencySet set = SetOf(composed.layers);
  for (auto _ : state) {
    composed.bench.Forget();
    Settle(composed.bench);
    Timed(state, [&] { Compose(composed.bench.store(), set, InSegments(state.range(0))); });
  }
}

void BM_Mount(benchmark::State& state) {
  Used::Get().Open(state.range(0));
  for (auto _ : state) {
    Timed(state, [&] { Used::Get().Open(state.range(0)); });
  }
}

enum class Caches { kCold, kWarm };

template <typename Work>
void InRoot(benchmark::State& state, Caches caches, const Work& work) {
  Used& used = Used::Get();
  used.Open(state.range(0));
  for (auto _ : state) {
    if (caches == Caches::kCold) DropCaches(used.bench);
    UniqueFd root = used.Open(state.range(0));
    if (caches == Caches::kWarm) work(root.get(), "before");
    Timed(state, [&] { work(root.get(), "then"); });
  }
}

void WalkAll(int root, const char*) {
  if (Walk(root, ".") < size_t{kPackages} * 50) std::abort();
}
void LookUp(int root, const char* prefix) {
  LookUpInVain(root, "usr/include", kLookups, prefix);
}

void BM_ColdWalk(benchmark::State& state) {
  InRoot(state, Caches::kCold, WalkAll);
}
void BM_WarmWalk(benchmark::State& state) {
  InRoot(state, Caches::kWarm, WalkAll);
}
void BM_ColdLookups(benchmark::State& state) {
  InRoot(state, Caches::kCold, LookUp);
  state.counters["lookups"] = kLookups;
}
void BM_WarmLookups(benchmark::State& state) {
  InRoot(state, Caches::kWarm, LookUp);
  state.counters["lookups"] = kLookups;
}

// As a preprocessor looks for 400 headers: ten directories of packages, then usr/lib, each in vain,
// and usr/include at last, where it reads it.
void BM_ColdIncludes(benchmark::State& state) {
  InRoot(state, Caches::kCold, [](int root, const char*) {
    std::vector<UniqueFd> path;
    for (int i = 0; i < 10; ++i) {
      path.push_back(
          Must(OpenAt(root, fmt::format("usr/share/p{}", i * 40), O_PATH | O_DIRECTORY)));
    }
    for (const char* name : {"usr/lib", "usr/include"}) {
      path.push_back(Must(OpenAt(root, name, O_PATH | O_DIRECTORY)));
    }
    for (int i = 0; i < 400; ++i) {
      const std::string header = fmt::format("p{}_h{}", i, i % 20);
      int fd = -1;
      for (size_t at = 0; fd < 0; ++at) {
        fd = ::openat(path.at(at).get(), header.c_str(), O_RDONLY | O_CLOEXEC);
      }
      UniqueFd owner(fd);
      char content[256];
      if (sys::Read(fd, content, sizeof content) <= 0) std::abort();
    }
  });
}

void Setup(benchmark::internal::Benchmark* bench) {
  bench->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
}
void Depths(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->ArgName("depth");
  for (int depth : {1, 2, 3, 4, 6, 8, 12, 16, 32, 60}) bench->Arg(depth);
  bench->Repetitions(3);
}
void DepthsAndPlain(benchmark::internal::Benchmark* bench) {
  bench->Arg(0);
  Depths(bench);
}
// Half a minute each at that depth.
void Deepest(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->ArgName("depth")->Arg(kPackages)->Repetitions(1);
}
BENCHMARK(BM_Compose)->Apply(Depths);
BENCHMARK(BM_Compose)->Apply(Deepest);
BENCHMARK(BM_Mount)->Apply(Depths);
BENCHMARK(BM_Mount)->Apply(Deepest);
BENCHMARK(BM_ColdWalk)->Apply(DepthsAndPlain);
BENCHMARK(BM_ColdWalk)->Apply(Deepest);
BENCHMARK(BM_WarmWalk)->Apply(DepthsAndPlain);
BENCHMARK(BM_WarmWalk)->Apply(Deepest);
BENCHMARK(BM_ColdLookups)->Apply(DepthsAndPlain);
BENCHMARK(BM_ColdLookups)->Apply(Deepest);
BENCHMARK(BM_WarmLookups)->Apply(DepthsAndPlain);
BENCHMARK(BM_WarmLookups)->Apply(Deepest);
BENCHMARK(BM_ColdIncludes)->Apply(DepthsAndPlain);
BENCHMARK(BM_ColdIncludes)->Apply(Deepest);

// --- 1/part of the layers changes in all their files.

enum class Where { kScattered, kOnTop };

void Change(benchmark::State& state, Where where, const ComposeOptions& options) {
  Composed& composed = Composed::Get();
  std::vector<LayerId> layers = composed.layers;
  const size_t count = kPackages / static_cast<size_t>(state.range(0));
  for (size_t i = 0; i < count; ++i) {
    const size_t at = where == Where::kOnTop ? kPackages - count + i : i * kPackages / count;
    layers[at] = composed.changed[at];
  }
  const DependencySet set = SetOf(layers);
  for (auto _ : state) {
    composed.bench.Forget();
    Compose(composed.bench.store(), SetOf(composed.layers));
    Settle(composed.bench);
    Timed(state, [&] { Compose(composed.bench.store(), set, options); });
  }
}

void BM_Delta(benchmark::State& state) {
  Change(state, Where::kScattered, {.delta_part = 1});
}
void BM_NewSegments(benchmark::State& state) {
  Change(state, Where::kScattered, {.delta_part = 0});
}
void BM_NewSegmentsOnTop(benchmark::State& state) {
  Change(state, Where::kOnTop, {.delta_part = 0});
}

void Parts(benchmark::internal::Benchmark* bench) {
  Setup(bench);
  bench->ArgName("part");
  for (int part : {480, 64, 32, 16, 8, 4, 2}) bench->Arg(part);
  bench->Repetitions(3);
}
BENCHMARK(BM_Delta)->Apply(Parts);
BENCHMARK(BM_NewSegments)->Apply(Parts);
BENCHMARK(BM_NewSegmentsOnTop)->Apply(Parts);

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  return strata::bench::RunWithRatios(argc, argv, {});
}
