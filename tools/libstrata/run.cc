// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "sandbox/child_plan.h"
#include "sandbox/run_session.h"
#include "sandbox/run_stats.h"
#include "tools/libstrata/events.h"
#include "tools/libstrata/handles.h"
#include "tools/libstrata/run_options.h"

struct strata_result {
  strata_outcome outcome = STRATA_ENDED;
  int status = 0;
  int signal = 0;
  std::string reason;
  std::unique_ptr<strata_layer> layer;
  std::string workspace;  // "": none
  std::string json;
};

namespace strata {
namespace {

strata_outcome OutcomeOf(SandboxResult::Outcome outcome) {
  switch (outcome) {
    case SandboxResult::Outcome::kTimedOut:
      return STRATA_TIMED_OUT;
    case SandboxResult::Outcome::kCancelled:
      return STRATA_CANCELLED;
    case SandboxResult::Outcome::kNotExecutable:
      return STRATA_NOT_EXECUTABLE;
    case SandboxResult::Outcome::kNotFound:
      return STRATA_NO_COMMAND;
    case SandboxResult::Outcome::kEnded:
      break;
  }
  return STRATA_ENDED;
}

std::unique_ptr<strata_layer> LayerOf(StorePtr store, CaptureResult captured) {
  return std::unique_ptr<strata_layer>(new strata_layer{std::move(store), std::move(captured.lease),
                                                        captured.id.Hex(), captured.existed,
                                                        captured.entries, captured.content_bytes});
}

Result<std::unique_ptr<strata_result>> RunInRoot(const RootData& root,
                                                 const strata_run_options& given) {
  STRATA_ASSIGN(TranslatedRun run, TranslateRun(given));
  Events events;
  STRATA_TRY(events.Read(given.events));
  auto result = std::make_unique<strata_result>();
  // Why the command ended as it did is for the result; the rest is for the events.
  Observer observer = events.observer();
  observer.message = [&](Observer::Kind kind, const Error& error) {
    if (kind == Observer::Kind::kProblem) {
      result->reason = error.message();
    } else {
      events.observer().Tell(kind, error);
    }
  };
  RunSession session(*root.store, run.request, observer);
  STRATA_TRY(session.Prepare(root.root));
  STRATA_TRY(session.Run(std::move(run.argv), nullptr, -1, run.control_fd));
  STRATA_ASSIGN(result->status, session.Finish());
  const SandboxResult& ended = session.report().sandbox;
  result->outcome = OutcomeOf(ended.outcome);
  if (ended.status.signaled) result->signal = ended.status.value;
  result->json = StatsText(StatsOf(session, run.request, result->status, MonotonicNs()));
  result->workspace = session.report().kept_workspace;
  if (std::optional<CaptureResult> captured = session.TakeReport().captured) {
    result->layer = LayerOf(root.store, std::move(*captured));
  }
  return result;
}

}  // namespace
}  // namespace strata

using strata::Need;
using strata::Result;

int strata_run(const strata_root* root, const strata_run_options* options, strata_result** result,
               strata_error** error) {
  if (result != nullptr) *result = nullptr;
  return strata::Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(result, "result"));
    STRATA_TRY(Need(root, "root"));
    STRATA_ASSIGN(strata_run_options given, strata::ReadOptions(options, "strata_run_options"));
    STRATA_ASSIGN(std::unique_ptr<strata_result> made, strata::RunInRoot(*root->data, given));
    *result = made.release();
    return {};
  });
}

strata_outcome strata_result_outcome(const strata_result* result) {
  return result != nullptr ? result->outcome : static_cast<strata_outcome>(0);
}

int strata_result_status(const strata_result* result) {
  return result != nullptr ? result->status : -1;
}

int strata_result_signal(const strata_result* result) {
  return result != nullptr ? result->signal : 0;
}

const char* strata_result_reason(const strata_result* result) {
  return result != nullptr ? result->reason.c_str() : "";
}

const strata_layer* strata_result_layer(const strata_result* result) {
  return result != nullptr ? result->layer.get() : nullptr;
}

const char* strata_result_workspace(const strata_result* result) {
  return result != nullptr && !result->workspace.empty() ? result->workspace.c_str() : nullptr;
}

const char* strata_result_json(const strata_result* result) {
  return result != nullptr ? result->json.c_str() : "";
}

void strata_result_free(strata_result* result) {
  delete result;
}
