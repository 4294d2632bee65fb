// SPDX-License-Identifier: Apache-2.0
//
// Runs `body(index)` for every index below `count` on up to `jobs` threads (0: one for each
// processor), the caller's included, each taking `chunk` indexes at a time. Returns when all are
// done. `body` must not throw; how it reports failures is its own business.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace strata {

inline unsigned DefaultJobs(unsigned jobs) {
  if (jobs == 0) jobs = std::thread::hardware_concurrency();
  return jobs == 0 ? 1 : jobs;
}

template <typename Body>
void ParallelFor(size_t count, unsigned jobs, const Body& body,
                 size_t chunk = 16) {  // balances, and does not fight over `next`
  jobs = DefaultJobs(jobs);
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t start; (start = next.fetch_add(chunk)) < count;) {
      for (size_t i = start; i < start + chunk && i < count; ++i) body(i);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < jobs && i * chunk < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace strata
