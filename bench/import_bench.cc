// SPDX-License-Identifier: Apache-2.0
//
// P6: import of a tar of small files, hashing included, against GNU `tar -xf` of it. Both write
// into a fresh directory on the same file system ($STRATA_BENCH_DIR, else /var/tmp), and nothing is
// deleted before the end: ext4 is slow to create files soon after many were deleted.
//
//     bench_import --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <string>

#include "base/remove_tree.h"
#include "base/temp_dir.h"
#include "cache/import.h"
#include "cache/store.h"
#include "tests/support/tar_builder.h"

namespace strata {
namespace {

// Everything that the benchmarks make; removed when the program ends.
class Workspace {
 public:
  Workspace() {
    const char* dir = std::getenv("STRATA_BENCH_DIR");
    path_ = fmt::format("{}/strata-bench-{}", dir != nullptr ? dir : "/var/tmp", RandomName());
    ::mkdir(path_.c_str(), 0700);
  }
  ~Workspace() { static_cast<void>(RemoveTree(AT_FDCWD, path_)); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  std::string FreshDirectory() const {
    std::string path = path_ + "/" + RandomName();
    ::mkdir(path.c_str(), 0700);
    return path;
  }

  // `files` small files, ten in a directory.
  const std::string& Tar(int64_t files) {
    std::string& path = tars_[files];
    if (path.empty()) {
      path = fmt::format("{}/{}.tar", path_, files);
      WriteTar(path, files);
    }
    return path;
  }

 private:
  static void WriteTar(const std::string& path, int64_t files) {
    TarBuilder tar;
    tar.mtime = 1500000000;
    uint64_t state = 1;
    std::string directory;
    for (int64_t i = 0; i < files; ++i) {
      if (i % 1000 == 0) tar.Dir(fmt::format("part{}/", i / 1000));
      if (i % 10 == 0) {
        directory = fmt::format("part{}/dir{}/", i / 1000, i / 10);
        tar.Dir(directory);
      }
      state = state * 6364136223846793005U + 1442695040888963407U;
      std::string content = fmt::format("{}\n", state);
      while (content.size() < 80 + (state >> 33) % 2000) content += content;
      tar.File(fmt::format("{}file{}.h", directory, i % 10), content);
    }
    std::ofstream(path, std::ios::binary) << tar.Finish();
  }

  std::string path_;
  std::map<int64_t, std::string> tars_;
};

Workspace& TheWorkspace() {
  static Workspace workspace;
  return workspace;
}

void BM_Import_Tar(benchmark::State& state) {
  const std::string& tar = TheWorkspace().Tar(state.range(0));
  for (auto _ : state) {
    auto store = Store::Open(TheWorkspace().FreshDirectory());
    auto result = store ? Import(*store, tar, {}) : tl::unexpected(store.error());
    if (!result) {
      state.SkipWithError(result.error().message().c_str());
      break;
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_Import_TarBaseline(benchmark::State& state) {
  const std::string& tar = TheWorkspace().Tar(state.range(0));
  for (auto _ : state) {
    std::string command = fmt::format("tar -xf {} -C {}", tar, TheWorkspace().FreshDirectory());
    if (std::system(command.c_str()) != 0) {
      state.SkipWithError("tar failed");
      break;
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void Sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgName("files")->Arg(10'000)->Arg(100'000);
  bench->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(BM_Import_Tar)->Apply(Sizes);
BENCHMARK(BM_Import_TarBaseline)->Apply(Sizes);

}  // namespace
}  // namespace strata
