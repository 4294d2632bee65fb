// SPDX-License-Identifier: Apache-2.0
//
// The sets of stage_bench.cc again, as each rebuild does: restage and restage_layers. strata has
// the root in its cache. The others do their whole job again, as the tools that use them do: a
// build makes dirty what was staged for it.
//
// Needs root.
//
//     bench/on_fresh_fs ext4 build/release/bench/bench_restage
#include "bench/staging.h"

int main(int argc, char** argv) {
  strata::bench::BenchStore bench;
  strata::bench::AddStagings(bench, "restage", strata::bench::Root::kCached);
  return strata::bench::Run(argc, argv);
}
