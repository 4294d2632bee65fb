// SPDX-License-Identifier: Apache-2.0
//
// A main() for benchmarks that are accepted by their ratio to a baseline of the same run: runs them
// interleaved, and prints each ratio of medians with its bound.
#pragma once

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace strata::bench {

struct Ratio {
  std::string_view what;
  std::string_view subject;  // names as reported, arguments included, without "/iterations:..."
  std::string_view baseline;
  double accepted;  // 0: told, not judged
  double aim;
};

class RatioReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      if (run.error_occurred || run.aggregate_name == "median" || run.aggregate_name == "cv") {
        shown.push_back(run);
      }
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      std::string name = run.run_name.function_name;
      if (!run.run_name.args.empty()) name += "/" + run.run_name.args;
      times_[name].push_back(run.GetAdjustedRealTime() /
                             benchmark::GetTimeUnitMultiplier(run.time_unit));
    }
    ConsoleReporter::ReportRuns(shown);
  }

  // False where one is worse than accepted.
  bool PrintRatios(const std::vector<Ratio>& ratios) {
    bool good = true;
    fmt::print("\n{:60} {:>11} {:>11} {:>9} {:>9} {:>9}\n", "medians", "time", "baseline", "ratio",
               "accepted", "aim");
    for (const Ratio& ratio : ratios) {
      const double subject = Median(ratio.subject);
      const double baseline = Median(ratio.baseline);
      if (subject <= 0 || baseline <= 0) continue;  // filtered out
      const double value = subject / baseline;
      const bool judged = ratio.accepted > 0;
      const bool fails = judged && value > ratio.accepted;
      good = good && !fails;
      fmt::print("{:60} {:>8.3f} ms {:>8.3f} ms {:>9} {:>9} {:>9} {}\n", ratio.what, subject * 1e3,
                 baseline * 1e3, Show(value), judged ? Show(ratio.accepted) : "",
                 ratio.aim > 0 ? Show(ratio.aim) : "",
                 fails    ? "FAILS"
                 : judged ? "passes"
                          : "");
    }
    return good;
  }

 private:
  static std::string Show(double ratio) {
    return ratio < 0.2 ? fmt::format("1/{:.0f}", 1 / ratio) : fmt::format("{:.2f} x", ratio);
  }
  double Median(std::string_view name) {
    std::vector<double>& times = times_[std::string(name)];
    if (times.empty()) return 0;
    std::sort(times.begin(), times.end());
    const size_t middle = times.size() / 2;
    return times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  }

  std::map<std::string, std::vector<double>> times_;
};

// The exit status: 1 where a ratio is worse than accepted.
inline int RunWithRatios(int argc, char** argv, const std::vector<Ratio>& ratios) {
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> words{argv[0], interleave.data()};
  words.insert(words.end(), argv + 1, argv + argc);
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) return 2;
  RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return reporter.PrintRatios(ratios) ? 0 : 1;
}

}  // namespace strata::bench
