// SPDX-License-Identifier: Apache-2.0
//
// The first staging of a set that was never seen, of layers that are there, imported:
//
//   first_stage         a base of 10,000 files and an artifact of `files`
//   first_stage_layers  `layers` of 50 files each, which share most of their directories
//
// Needs root.
//
//     bench/on_fresh_fs ext4 build/release/bench/bench_stage
#include "bench/staging.h"

int main(int argc, char** argv) {
  strata::bench::BenchStore bench;
  strata::bench::AddStagings(bench, "first_stage", strata::bench::Root::kNew);
  return strata::bench::Run(argc, argv);
}
