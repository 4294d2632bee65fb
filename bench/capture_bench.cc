// SPDX-License-Identifier: Apache-2.0
//
// P7: capture of 1,000 new files (4 KiB each, in 100 new directories below one of the root's) over
// a root of 1,000 and of 100,000 files. Only the capture is timed, publishing included; each round
// captures a tree of its own ($STRATA_BENCH_DIR, else /var/tmp), and nothing is deleted before the
// end.
//
//     bench_capture --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <string>

#include "base/io.h"
#include "base/temp_dir.h"
#include "stager/capture.h"
#include "tests/support/layer_chain.h"
#include "tests/support/layer_maker.h"

namespace strata::testing {
namespace {

constexpr int kNewFiles = 1000;

// A store that is removed when the program ends.
class BenchStore {
 public:
  static BenchStore& Get() {
    static BenchStore store;
    return store;
  }
  const Store& store() const { return store_; }
  // Ten files in each directory.
  const LayerId& Root(int64_t files) {
    LayerId& root = roots_[files];
    if (root != LayerId()) return root;
    LayerMaker layer(store_);
    for (int64_t i = 0; i < files; ++i) {
      layer.File(fmt::format("usr/share/d{}/f{}", i / 10, i % 10), std::to_string(i));
    }
    return root = layer.Publish();
  }

 private:
  static std::string Place() {
    const char* place = std::getenv("STRATA_BENCH_DIR");
    return place != nullptr ? place : "/var/tmp";
  }

  UniqueFd parent_ = Must(OpenAt(AT_FDCWD, Place(), O_RDONLY | O_DIRECTORY));
  TempDir temp_ = Must(TempDir::Create(parent_.get(), "strata-bench-"));
  Store store_ = Must(Store::Open(Place() + "/" + temp_.name() + "/store"));
  std::map<int64_t, LayerId> roots_;
};

// What a build leaves in the upper; `round` makes it another layer each time.
PendingLayer NewUpper(const Store& store, int round) {
  PendingLayer pending = Must(store.NewLayer());
  std::string content(4096, 'x');
  MustSys(::mkdirat(pending.tree_fd(), "usr", 0755), "mkdirat");
  MustSys(::mkdirat(pending.tree_fd(), "usr/share", 0755), "mkdirat");
  for (int i = 0; i < kNewFiles; ++i) {
    if (i % 10 == 0) {
      MustSys(::mkdirat(pending.tree_fd(), fmt::format("usr/share/new{}", i / 10).c_str(), 0755),
              "mkdirat");
    }
    std::string id = fmt::format("{} {}", round, i);
    content.replace(0, id.size(), id);
    UniqueFd fd = Must(OpenAt(pending.tree_fd(), fmt::format("usr/share/new{}/f{}", i / 10, i),
                              O_WRONLY | O_CREAT | O_EXCL, 0644));
    Must(WriteAll(fd.get(), content, "f"));
  }
  return pending;
}

void BM_Capture_Upper(benchmark::State& state) {
  static int round = 0;
  const Store& store = BenchStore::Get().store();
  const LayerId root = BenchStore::Get().Root(state.range(0));
  for (auto _ : state) {
    PendingLayer pending = NewUpper(store, ++round);
    auto start = std::chrono::steady_clock::now();
    // As `strata run` has it: the manifests are mapped, nothing of them has been read.
    Chain chain(store, {root});
    CaptureResult captured =
        Must(CaptureUpper(store, std::move(pending), chain.lower(), CaptureOptions()));
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (captured.entries != kNewFiles + kNewFiles / 10 + 2) state.SkipWithError("wrong layer");
  }
  state.SetItemsProcessed(state.iterations() * kNewFiles);
}
BENCHMARK(BM_Capture_Upper)
    ->ArgName("root_files")
    ->Arg(1000)
    ->Arg(100000)
    ->Iterations(1)
    ->Repetitions(15)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace strata::testing
