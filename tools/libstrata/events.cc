// SPDX-License-Identifier: Apache-2.0
#include "tools/libstrata/events.h"

#include <chrono>
#include <cstring>

#include "base/own_thread.h"
#include "tools/libstrata/boundary.h"

namespace strata {

Result<void> Events::Read(const strata_events* given) {
  STRATA_ASSIGN(events_, ReadOptions(given, "strata_events"));
  if (events_.progress != nullptr) {
    observer_.progress = [this](std::string_view, const Progress* progress) {
      progress != nullptr ? Begin(progress) : End();
    };
  }
  if (events_.message == nullptr) return {};
  observer_.message = [this](Observer::Kind, const Error& error) {
    Message(STRATA_MESSAGE_WARNING, error.message());
  };
  observer_.command = [this](std::string_view text) { Message(STRATA_MESSAGE_COMMAND, text); };
  observer_.output = [this](std::string_view line) { Message(STRATA_MESSAGE_OUTPUT, line); };
  return {};
}

Events::~Events() {
  End();
}

void Events::Begin(const Progress* progress) {
  End();
  progress_ = progress;
  end_ = told_ = false;
  ticker_ = StartThread([this] { Tick(); });
}

void Events::End() {
  if (!ticker_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    end_ = true;
    ended_.notify_all();
  }
  ticker_.join();
  if (told_) Tell();
}

void Events::Tick() {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, std::chrono::milliseconds(100), [this] { return end_; })) Tell();
}

void Events::Tell() {
  strata_progress now{};
  now.size = sizeof now;
  now.bytes = progress_->bytes;
  now.total_bytes = progress_->total_bytes;
  now.entries = progress_->entries;
  now.total_entries = progress_->total_entries;
  if (told_ && std::memcmp(&now, &last_told_, sizeof now) == 0) return;
  told_ = true;
  last_told_ = now;
  events_.progress(events_.user, &now);
}

void Events::Message(strata_message_kind kind, std::string_view text) {
  const std::string line(text);  // NUL-terminated
  std::lock_guard lock(mutex_);
  events_.message(events_.user, kind, line.c_str());
}

}  // namespace strata
