// SPDX-License-Identifier: Apache-2.0
//
// The contract of every benchmark here: what bench/run, bench/check and the report rely on.
//
// A suite is one program, bench_NAME from NAME_bench.cc. Its cases are named
//
//     SUITE/CONTENDER/PARAMETER:VALUE/...        stage/cp_al/files:100000/layers:2
//
// so that the contenders of one SUITE and the same parameters can be compared: they do the same
// job, on the same file system, with the same things cached. What is cached is the case's label, in
// a few words ("all warm"; "caches dropped"; "inputs imported, never staged"); it goes into the
// report. CONTENDER is [a-z0-9_]+; `strata` is the command as its users have it, `strata_library`
// and the like say what else is measured.
//
// One repetition is one run of the work, prepared outside the clock; all repetitions of all cases
// of a program are interleaved at random, so that a slow moment of the machine hits all alike. The
// report takes medians, quartiles and the extremes. Nothing is deleted before the program ends,
// unless deleting is what is measured: ext4 is slow to create files soon after many were deleted
// (bench/run gives each suite a file system of its own, and throws that away).
//
// A contender that is not here is registered with Missing(), and is named in the report.
//
//   STRATA_BENCH_SIZE   quick (all suites in 2 minutes), default (15 minutes), full
//   STRATA_BENCH_DIR    where everything goes (default: /var/tmp)
//   STRATA_BENCH_KEEP   set: leave it there, as the whole file system is thrown away
//   STRATA              the executable that is measured (default: the one of this build tree)
#pragma once

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::bench {

enum class Size { kQuick, kDefault, kFull };

inline Size TheSize() {
  const char* size = std::getenv("STRATA_BENCH_SIZE");
  const std::string_view name = size != nullptr ? size : "default";
  if (name == "quick") return Size::kQuick;
  if (name == "default") return Size::kDefault;
  if (name == "full") return Size::kFull;
  fmt::print(stderr, "STRATA_BENCH_SIZE is quick, default or full, not {}\n", name);
  std::exit(2);
}

// The values of a parameter by size: each size has those of the smaller ones too, in order.
inline std::vector<int64_t> BySize(std::vector<int64_t> quick,
                                   const std::vector<int64_t>& by_default,
                                   const std::vector<int64_t>& full) {
  if (TheSize() >= Size::kDefault) quick.insert(quick.end(), by_default.begin(), by_default.end());
  if (TheSize() == Size::kFull) quick.insert(quick.end(), full.begin(), full.end());
  return quick;
}

struct Case {
  std::string name;    // SUITE/CONTENDER/PARAMETER:VALUE/...
  std::string cached;  // the label
  // In the default size. Quick makes a third of them, at least 3; full makes twice as many.
  int repetitions = 7;
  // Outside the clock, before each repetition and after it; may be empty.
  std::function<void()> prepare = {};
  // What is timed. A failure is reported by state.SkipWithError; figures that are no times are
  // state.counters.
  std::function<void(benchmark::State&)> work;
  std::function<void()> after = {};
};

inline int Repetitions(int by_default) {
  switch (TheSize()) {
    case Size::kQuick:
      return std::min(by_default, std::max(3, by_default / 3));
    case Size::kDefault:
      return by_default;
    case Size::kFull:
      return by_default * 2;
  }
  return by_default;
}

inline void Add(Case added) {
  const int repetitions = Repetitions(added.repetitions);
  const std::string name = added.name;
  auto body = [the_case = std::move(added), failed = false](benchmark::State& state) mutable {
    // Once is enough; and Google Benchmark 1.7 makes no statistics where the first repetition
    // failed and others did not: it crashes.
    if (failed) state.SkipWithError("it failed before");
    for (auto _ : state) {
      if (the_case.prepare) the_case.prepare();
      auto start = std::chrono::steady_clock::now();
      the_case.work(state);
      auto end = std::chrono::steady_clock::now();
      state.SetIterationTime(std::chrono::duration<double>(end - start).count());
      if (the_case.after) the_case.after();
    }
    state.SetLabel(the_case.cached);
    failed = state.error_occurred();
  };
  benchmark::RegisterBenchmark(name.c_str(), body)
      ->Iterations(1)
      ->Repetitions(repetitions)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

// A contender that cannot run here, and why: "rsync is not installed".
inline void Missing(const std::string& name, const std::string& why) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [why](benchmark::State& state) {
                                 state.SkipWithError(("missing: " + why).c_str());
                                 for (auto _ : state) {
                                 }
                               })
      ->Iterations(1)
      ->UseManualTime();
}

// Is it in $PATH?
inline bool Installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    if (::access(fmt::format("{}/{}", rest.substr(0, colon), program).c_str(), X_OK) == 0)
      return true;
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return false;
}

// A whole process, from spawn to its end; its exit status, 127 where it could not be started.
inline int Spawn(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid;
  if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return 127;
  int status;
  while (::waitpid(pid, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline void RunCommand(benchmark::State& state, const std::vector<std::string>& words) {
  const int status = Spawn(words);
  if (status != 0) state.SkipWithError(fmt::format("{} exited with {}", words[0], status).c_str());
}

// The work of a case that is one command.
inline std::function<void(benchmark::State&)> Command(const std::vector<std::string>& words) {
  return [words](benchmark::State& state) { RunCommand(state, words); };
}

// main() of every suite, after it has registered its cases.
inline int Run(int argc, char** argv) {
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> words{argv[0], interleave.data()};
  words.insert(words.end(), argv + 1, argv + argc);
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace strata::bench
