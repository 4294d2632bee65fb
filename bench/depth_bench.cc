// SPDX-License-Identifier: Apache-2.0
//
// The measurement behind the bounds of ComposeOptions: what a root costs to compose and to use, by
// the number of lower layers that are mounted; and what a delta costs against segments, by how much
// has changed. DEPTH.md tells what follows from it.
//
// 480 layers of 50 files, most of them in directories that all share; each is mounted as a run does
// it, with a skeleton and an upper. depth:0 is one plain directory. Needs root.
//
//     bench/run --only depth
//     bench/plot_depth.py build/bench-results/results.json bench/depth.svg
#include <memory>

#include "bench/suite.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

constexpr int kPackages = 480;
constexpr int kLookups = 5000;
constexpr int kRepetitions = 3;

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
  std::map<size_t, RootContent> roots;
  Used() {
    for (const LayerId& id : layers) {
      Spawn({"cp", "-a", bench.store().path() + "/layers/" + id.Hex() + "/tree/.", plain});
    }
  }
  // Detached; a fresh mount knows no name yet.
  UniqueFd Open(size_t depth) {
    if (depth == 0) return Must(OpenAt(AT_FDCWD, plain, O_PATH | O_DIRECTORY));
    auto [root, is_new] = roots.try_emplace(depth);
    if (is_new) {
      RootDraft draft = Must(DraftRoot(bench.store(), SetOf(layers), InSegments(depth)));
      if (draft.content.lowers.size() != depth) std::abort();
      root->second = draft.content;
    }
    return Mount(bench, root->second);
  }
};

void AddCompose(size_t depth, int repetitions) {
  Add({.name = fmt::format("depth_compose/strata/depth:{}", depth),
       .cached = "layers imported; no root",
       .repetitions = repetitions,
       .prepare =
           [] {
             Composed::Get().bench.Forget();
             Settle(Composed::Get().bench);
           },
       .work =
           [depth](benchmark::State&) {
             Composed& composed = Composed::Get();
             Compose(composed.bench.store(), SetOf(composed.layers), InSegments(depth));
           }});
  Add({.name = fmt::format("depth_mount/strata/depth:{}", depth),
       .cached = "root composed, all warm",
       .repetitions = repetitions,
       .prepare = [depth] { Used::Get().Open(depth); },
       .work = [depth](benchmark::State&) { Used::Get().Open(depth); }});
}

// --- What is done in a root

// `round` makes names that were not looked for before.
using Use = void (*)(int root, const char* round);

void WalkAll(int root, const char*) {
  if (Walk(root, ".") < size_t{kPackages} * 50) std::abort();
}
void LookUp(int root, const char* round) {
  LookUpInVain(root, "usr/include", kLookups, round);
}

// As a preprocessor looks for 400 headers: ten directories of packages, then usr/lib, each in vain,
// and usr/include at last, where it reads it.
void SearchIncludes(int root, const char*) {
  std::vector<UniqueFd> path;
  for (int i = 0; i < 10; ++i) {
    path.push_back(Must(OpenAt(root, fmt::format("usr/share/p{}", i * 40), O_PATH | O_DIRECTORY)));
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
}

void AddUse(const std::string& what, size_t depth, Use use, int repetitions) {
  const bool cold = what.starts_with("cold");
  auto root = std::make_shared<UniqueFd>();
  Add({.name = fmt::format("depth_{}/{}/depth:{}", what, depth == 0 ? "plain" : "strata", depth),
       .cached = cold ? "caches dropped" : "all warm",
       .repetitions = repetitions,
       .prepare =
           [root, depth, use, cold] {
             Used::Get().Open(depth);  // composes where that was not done yet
             if (cold) DropCaches(Used::Get().bench);
             *root = Used::Get().Open(depth);
             if (!cold) use(root->get(), "before");
           },
       .work = [root, use](benchmark::State&) { use(root->get(), "then"); },
       .after = [root] { root->reset(); }});
}

void AddUses(size_t depth, int repetitions) {
  AddUse("cold_walk", depth, WalkAll, repetitions);
  AddUse("warm_walk", depth, WalkAll, repetitions);
  AddUse("cold_lookups", depth, LookUp, repetitions);
  AddUse("warm_lookups", depth, LookUp, repetitions);
  AddUse("cold_includes", depth, SearchIncludes, repetitions);
}

// --- 1/part of the layers changes in all their files.

enum class Where { kScattered, kOnTop };

void AddChange(const char* contender, size_t part, Where where, const ComposeOptions& options) {
  auto set = [part, where] {
    const Composed& composed = Composed::Get();
    std::vector<LayerId> layers = composed.layers;
    const size_t count = kPackages / part;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = where == Where::kOnTop ? kPackages - count + i : i * kPackages / count;
      layers[at] = composed.changed[at];
    }
    return SetOf(layers);
  };
  Add({.name = fmt::format("depth_change/{}/part:{}", contender, part),
       .cached = "layers imported, the old root composed",
       .repetitions = kRepetitions,
       .prepare =
           [] {
             Composed& composed = Composed::Get();
             composed.bench.Forget();
             Compose(composed.bench.store(), SetOf(composed.layers));
             Settle(composed.bench);
           },
       .work = [set, options](
                   benchmark::State&) { Compose(Composed::Get().bench.store(), set(), options); }});
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  AddUses(0, kRepetitions);
  for (size_t depth : {1, 2, 3, 4, 6, 8, 12, 16, 32, 60}) {
    AddCompose(depth, kRepetitions);
    AddUses(depth, kRepetitions);
  }
  AddCompose(kPackages, 1);
  AddUses(kPackages, 1);  // half a minute each
  for (size_t part : {480, 64, 32, 16, 8, 4, 2}) {
    AddChange("delta", part, Where::kScattered, {.delta_part = 1});
    AddChange("segments", part, Where::kScattered, {.delta_part = 0});
    AddChange("segments_on_top", part, Where::kOnTop, {.delta_part = 0});
  }
  return Run(argc, argv);
}
