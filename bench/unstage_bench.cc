// SPDX-License-Identifier: Apache-2.0
//
// Taking away what was staged: a base of 10,000 files and an artifact of `files`, once just staged
// (unstage), and once after something has looked at every file of it, as a build does with some
// (unstage_used). What a tool made is written back to the disk before the clock starts.
//
// CONTENDER is who staged it, see stagers.h; trees of links, of copies and mounts are there once
// each. A program of its own, as ext4 is slow to create files soon after many were deleted. Needs
// root.
//
//     bench/on_fresh_fs ext4 build/release/bench/bench_unstage
#include "bench/stagers.h"

namespace strata::bench {
namespace {

enum class Used { kNo, kYes };

void AddUnstaging(const BenchStore& bench, const std::string& suite, const Contender& contender,
                  int64_t files, Used used) {
  const std::string name = fmt::format("{}/{}/files:{}", suite, contender.name, files);
  if (!contender.missing.empty()) return Missing(name, contender.missing);
  struct Staged {
    std::string at;
    Work unstage;
    std::string failure;
    benchmark::State* state = nullptr;
  };
  auto staged = std::make_shared<Staged>();
  Case added;
  added.name = name;
  added.cached = used == Used::kYes ? "all warm; staged, every file looked at, written back"
                                    : "all warm; staged, written back";
  added.repetitions = used == Used::kYes || files > 20000 ? 3 : 7;
  if (contender.kind == Contender::kMount) added.repetitions = used == Used::kYes ? 5 : 9;
  added.prepare = [=, &bench] {
    const Inputs& inputs = Once(MakeFiles, bench, files);
    staged->at = bench.FreshDirectory();
    staged->failure = contender.stage(inputs, staged->at)();
    if (staged->failure.empty() && used == Used::kYes) {
      staged->failure = CheckStaged(inputs, staged->at);
    }
    staged->unstage = Unstage(contender, staged->at);
    Settle(bench);
  };
  added.work = [=](benchmark::State& state) {
    staged->state = &state;
    if (staged->failure.empty()) staged->failure = staged->unstage();
    if (!staged->failure.empty()) state.SkipWithError(staged->failure.c_str());
  };
  added.after = [=, &bench] {
    const bool there = ::access(staged->at.c_str(), F_OK) == 0;
    if (staged->failure.empty() && there && Walk(AT_FDCWD, staged->at.c_str()) > 0) {
      staged->state->SkipWithError("there is something left");
    }
    TakeAway(bench, staged->at);
  };
  Add(std::move(added));
}

void Register(const BenchStore& bench) {
  AdoptOrphans();
  // The others leave what one of these leaves.
  static const std::set<std::string_view> kContenders{
      "strata", "strata_fuse", "strata_hardlink", "strata_reflink", "strata_copy", "cp_al",
      "cp_as",  "cp_a",        "cp_reflink",      "fuse_overlayfs", "bare_overlay"};
  static const std::set<std::string_view> kUsed{"strata", "strata_hardlink", "cp_al",
                                                "cp_a",   "fuse_overlayfs",  "bare_overlay"};
  for (const Contender& contender : Contenders(bench)) {
    if (kContenders.count(contender.name) == 0) continue;
    for (int64_t files : BySize({10000}, {100000}, {})) {
      AddUnstaging(bench, "unstage", contender, files, Used::kNo);
      // What is removed entry by entry takes as long either way.
      if (kUsed.count(contender.name) == 0) continue;
      AddUnstaging(bench, "unstage_used", contender, files, Used::kYes);
    }
  }
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  strata::bench::BenchStore bench;
  strata::bench::Register(bench);
  return strata::bench::Run(argc, argv);
}
