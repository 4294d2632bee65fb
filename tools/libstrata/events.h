// SPDX-License-Identifier: Apache-2.0
//
// A client's callbacks (strata_events) for the time of one call. They are never called two at a
// time, whoever calls, and not after the Events are gone.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "sandbox/observer.h"
#include "tools/libstrata/strata.h"

namespace strata {

class Events {
 public:
  Events() = default;
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  // `given` may be NULL. Tells of nothing yet.
  Result<void> Read(const strata_events* given);
  // What tells the client, for as long as the Events live.
  const Observer& observer() const { return observer_; }

 private:
  void Begin(const Progress* progress);
  void End();
  void Tick();
  void Tell();  // with the lock held
  void Message(strata_message_kind kind, std::string_view text);

  strata_events events_{};
  Observer observer_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  bool told_ = false;
  strata_progress last_told_{};  // if `told_`
  const Progress* progress_ = nullptr;
  std::thread ticker_;
};

}  // namespace strata
