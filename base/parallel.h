// SPDX-License-Identifier: Apache-2.0
//
// Work that several threads do, the caller's among them. What one of them throws (bad_alloc) is thrown
// to the caller, when all have stopped; that there can be fewer threads than asked for is no failure.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/own_thread.h"

namespace strata {

inline unsigned DefaultJobs(unsigned jobs) {
  if (jobs == 0) jobs = std::thread::hardware_concurrency();
  return jobs == 0 ? 1 : jobs;
}

// Runs `work()` once on each of up to `threads` threads.
template <typename Work>
void RunOnEach(size_t threads, const Work& work) {
  std::mutex mutex;
  std::exception_ptr thrown;
  auto guarded = [&] {
    try {
      work();
    } catch (...) {
      std::lock_guard lock(mutex);
      thrown = std::current_exception();
    }
  };
  std::vector<std::thread> team;
  try {
    for (size_t i = 1; i < threads; ++i) team.push_back(StartThread(guarded));
  } catch (const std::exception&) {
    // Those that there are do it.
  }
  guarded();
  for (std::thread& thread : team) thread.join();
  if (thrown) std::rethrow_exception(thrown);
}

// Runs `body(index)` for every index below `count`, each of up to `jobs` threads (0: one for each
// processor) taking `chunk` indexes at a time.
template <typename Body>
void ParallelFor(size_t count, unsigned jobs, const Body& body,
                 size_t chunk = 16) {  // balances, and does not fight over `next`
  std::atomic<size_t> next{0};
  RunOnEach(std::min<size_t>(DefaultJobs(jobs), (count + chunk - 1) / chunk), [&] {
    for (size_t start; (start = next.fetch_add(chunk)) < count;) {
      for (size_t i = start; i < start + chunk && i < count; ++i) body(i);
    }
  });
}

}  // namespace strata
