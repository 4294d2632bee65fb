// SPDX-License-Identifier: Apache-2.0
//
// The cases of stage_bench.cc and restage_bench.cc: every contender of stagers.h stages the same
// layers, each time at a fresh directory, and nothing is deleted before the end. Whether the tree
// is complete is looked at once for each case.
#pragma once

#include "bench/stagers.h"

namespace strata::bench {

// What strata's cache has of the set. (The others have no such thing.)
enum class Root { kNew, kCached };

struct StagingCase {
  std::string suite;
  std::string parameters;
  Root root;
  int64_t files;  // about, without the base
  MakesInputs* make;
  int64_t size;  // for it
};

// What takes a second and more, for 24,000 files and up. A copy makes as many inodes, too.
inline bool IsSlow(const Contender& contender, const StagingCase& staging) {
  return staging.files > 20000 &&
         (contender.kind == Contender::kInodes || contender.name == "rsync_link_dest");
}

// Why a case is left out; mostly nothing.
inline std::string WhyNot(const Contender& contender, const StagingCase& staging) {
  if (!contender.missing.empty()) return contender.missing;
  const bool again = staging.root == Root::kCached;
  if (again && IsSlow(contender, staging) && TheSize() != Size::kFull) {
    return "the same work as first_stage, and slow: timed twice in the full size only";
  }
  if (contender.name == "fuse_overlayfs" && staging.suite.ends_with("_layers") &&
      staging.files >= 100000) {
    return "whether all is there cannot be looked at: each name goes through 2,000 layers, for "
           "minutes";
  }
  if (staging.files < 1000000) return "";
  if (contender.name == "ostree_checkout") return "a million files take minutes to commit";
  if (contender.kind != Contender::kInodes || (contender.name == "cp_a" && !again)) return "";
  return "of a million files there is one copy, first_stage/cp_a";
}

// Few where it takes long, and where it is the first stage's work again.
inline int RepetitionsOf(const Contender& contender, const StagingCase& staging) {
  if (contender.kind == Contender::kMount) return contender.of_strata ? 15 : 9;
  if (staging.files >= 1000000) return 1;
  const bool rsync = contender.name == "rsync_link_dest";
  if (staging.files > (rsync ? 2000 : 20000) || staging.root == Root::kCached) return 3;
  return 5;
}

inline void AddStaging(const BenchStore& bench, const Contender& contender,
                       const StagingCase& staging) {
  const std::string name =
      fmt::format("{}/{}/{}", staging.suite, contender.name, staging.parameters);
  if (const std::string why = WhyNot(contender, staging); !why.empty()) return Missing(name, why);
  struct Now {
    std::string to;
    Work work;
    benchmark::State* state = nullptr;
    bool checked = false;
  };
  auto now = std::make_shared<Now>();
  const auto inputs = [&bench, staging] { return &Once(staging.make, bench, staging.size); };
  Case added;
  added.name = name;
  added.cached = staging.root == Root::kNew ? "inputs imported and warm; this set was never staged"
                 : contender.of_strata      ? "inputs warm; the root is in strata's cache"
                                       : "inputs warm; nothing staged before can be used again";
  added.repetitions = RepetitionsOf(contender, staging);
  added.prepare = [=, &bench] {
    if (contender.of_strata && staging.root == Root::kNew) {
      bench.Forget();
    } else if (contender.of_strata) {
      const DependencySet set = SetOf(inputs()->layers);
      if (!Must(FindRoot(bench.store(), set.Encode()))) Compose(bench.store(), set);
    }
    now->to = bench.FreshDirectory();
    now->work = contender.stage(*inputs(), now->to);
    Settle(bench);
  };
  added.work = [now](benchmark::State& state) {
    now->state = &state;
    const std::string failure = now->work();
    if (!failure.empty()) state.SkipWithError(failure.c_str());
  };
  added.after = [=, &bench] {
    if (!now->checked && !now->state->error_occurred()) {
      const std::string wrong = CheckStaged(*inputs(), now->to);
      if (!wrong.empty()) now->state->SkipWithError(wrong.c_str());
      now->checked = true;
    }
    TakeAway(bench, now->to);
  };
  Add(std::move(added));
}

// `suite`: by files, a base of 10,000 and an artifact. `suite`_layers: layers of 50 files.
inline void AddStagings(const BenchStore& bench, const std::string& suite, Root root) {
  AdoptOrphans();
  for (const Contender& contender : Contenders(bench)) {
    for (int64_t files : BySize({1000}, {10000, 100000}, {1000000})) {
      AddStaging(bench, contender,
                 {suite, fmt::format("files:{}/layers:2", files), root, files, MakeFiles, files});
    }
    for (int64_t layers : BySize({1, 2, 16}, {100, 480}, {2000})) {
      AddStaging(bench, contender,
                 {suite + "_layers", fmt::format("layers:{}", layers), root, layers * 50,
                  MakePackages, layers});
    }
  }
}

}  // namespace strata::bench
