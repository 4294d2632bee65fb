// SPDX-License-Identifier: Apache-2.0
//
// P2: a root that is in the cache costs the same, whatever is in it: 1,000 files against 1,000,000,
// and 2 layers against 2,000.
//
//   strata           `strata run --layers-from FILE -- /bin/true`, the whole process
//   strata_named     the same root by its name
//   strata_library   what a hit does, in this process: the key, FindRoot and the mount
//
// Needs root. Quick has 100,000 files.
#include <fstream>

#include "bench/support.h"

namespace strata::bench {
namespace {

struct Kind {
  int files;
  int layers;
};

const std::vector<Kind>& Kinds() {
  static const int many = TheSize() == Size::kQuick ? 100000 : 1000000;
  static const std::vector<Kind> kinds{{1000, 2}, {many, 2}, {many, 2000}};
  return kinds;
}

// Roots of the same base and the files: in one layer, or in 1,999.
struct Roots {
  static Roots& Get() {
    static Roots roots;
    return roots;
  }
  BenchStore bench;
  std::vector<DependencySet> sets;
  std::vector<std::string> lists;  // files that list the layers

 private:
  Roots() {
    ::setenv("STRATA_STORE", bench.store().path().c_str(), 1);
    const LayerId base = MakeBase();
    for (const Kind& kind : Kinds()) {
      std::vector<LayerId> layers{base};
      const int others = kind.layers - 1;
      for (int i = 0; i < others; ++i) {
        layers.push_back(MakeLayer(
            bench.store(),
            ManyFiles(fmt::format("opt/{}/{}", kind.files, i), std::max(kind.files / others, 1)),
            ""));
      }
      sets.push_back(SetOf(layers));
      const std::string key = Compose(bench.store(), sets.back()).key.Hex();
      const std::string name = fmt::format("root{}", sets.size() - 1);
      if (Spawn({StrataExecutable(), "tag", key, name}) != 0) std::abort();
      lists.push_back(bench.path() + "/" + name);
      std::ofstream list(lists.back());
      for (const LayerId& id : layers) list << id.Hex() << "\n";
    }
    Settle(bench);
  }
  LayerId MakeBase() {
    std::string program = Must(ReadFile(AT_FDCWD, "/bin/busybox", 16 << 20));
    testing::LayerMaker base(bench.store());
    return base.File("bin/true", program, 0755).Publish();
  }
};

void AddHit(const std::string& contender, size_t kind,
            const std::function<void(benchmark::State&)>& work) {
  Add({.name = fmt::format("hit/{}/files:{}/layers:{}", contender, Kinds()[kind].files,
                           Kinds()[kind].layers),
       .cached = "all warm: the root is in the cache",
       .repetitions = 101,
       .prepare = [] { Roots::Get(); },
       .work = work});
}

void AddKind(size_t kind) {
  AddHit("strata", kind, [=](benchmark::State& state) {
    RunCommand(state, {StrataExecutable(), "run", "--layers-from", Roots::Get().lists[kind], "--",
                       "/bin/true"});
  });
  AddHit("strata_named", kind, [=](benchmark::State& state) {
    RunCommand(state, {StrataExecutable(), "run", fmt::format("root{}", kind), "--", "/bin/true"});
  });
  AddHit("strata_library", kind, [=](benchmark::State& state) {
    const Roots& roots = Roots::Get();
    std::optional<CachedRoot> root = Must(FindRoot(roots.bench.store(), roots.sets[kind].Encode()));
    if (!root) return state.SkipWithError("not in the cache");
    Mount(roots.bench, root->content);
  });
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  for (size_t kind = 0; kind < strata::bench::Kinds().size(); ++kind) {
    strata::bench::AddKind(kind);
  }
  return strata::bench::Run(argc, argv);
}
