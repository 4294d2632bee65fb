// SPDX-License-Identifier: Apache-2.0
//
// One run of a command in a root, from a RunRequest to a RunReport: what is common to `strata run`,
// `strata shell` and strata_run(). The steps are in the order in which they are called.
//
// A session is for one thread. Store, request and observer must outlive it, as must a root that was
// given to it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "sandbox/composition.h"
#include "sandbox/host_place.h"
#include "sandbox/observer.h"
#include "sandbox/run_request.h"
#include "sandbox/sandbox.h"
#include "stager/capture.h"
#include "stager/stage.h"

namespace strata {

// How it went. CLOCK_MONOTONIC where there is a time.
struct RunReport {
  SandboxResult sandbox;
  std::vector<std::string> argv;
  int64_t start_ns = 0;
  int64_t compose_ns = 0;  // a duration
  int64_t staged_ns = 0;
  int64_t ran_ns = 0;
  std::optional<CaptureResult> captured;
  std::string kept_workspace;  // with keep_failed: the workspace that has the changes; "" for none
};

class RunSession {
 public:
  RunSession(const Store& store, const RunRequest& request, const Observer& observer)
      : store_(store), request_(request), observer_(observer) {}

  // The root of `set` found or composed, mounts planned, scratch made.
  Result<void> Prepare(DependencySet set);
  // The same of a root that the caller has; it must stay leased.
  Result<void> Prepare(const CachedRoot& root);
  // For a shell: the best one that the layers have.
  Result<std::string> FindShell();
  // Runs `argv` until everything in the sandbox has ended. `terminal` may be null; the descriptors: see
  // SandboxSpec.
  Result<void> Run(std::vector<std::string> argv, Terminal* terminal, int signal_fd, int control_fd = -1);
  // What the command wrote goes where it was asked to go. Tells how the command ended, where that
  // is worth a word, and returns the exit status that it amounts to.
  Result<int> Finish();

  const DependencySet& set() const { return set_; }
  // After Prepare().
  const CachedRoot& root() const { return *root_; }
  size_t mounted_depth() const { return stage_->lowers().size(); }
  StageOptions::Upper upper() const { return stage_options_.upper; }
  const RunReport& report() const { return report_; }
  RunReport TakeReport() { return std::move(report_); }

 private:
  Result<void> Begin();
  Result<void> Compose();
  Result<void> PrepareStage();
  // run_mounts.cc
  Result<void> PlanMounts(std::vector<MountPoint>* points);
  void AddMount(SandboxMount mount, bool directory, std::vector<MountPoint>* points);
  Result<void> PlanBind(const RunRequest::Mount& mount, std::vector<MountPoint>* points);
  Result<void> PlanHostNetworkFiles(std::vector<MountPoint>* points);
  Result<void> LockCaches();
  Result<void> LockCache(const std::string& name);

  Result<void> MakeStage();
  Result<void> TryMakeStage();
  Result<bool> ReplaceLostRoot();
  Result<void> FillMountSources();
  SandboxSpec MakeSpec(int signal_fd, int control_fd, Terminal* terminal);
  // Which ids the sandbox has; after that, where it turns out that a range cannot be had.
  Result<void> FindIds();
  Result<bool> DoWithOneId();
  // The next place for the scratch, when the file system of this one cannot carry an upper.
  bool NextScratch();
  // run_finish.cc
  void TellHowItEnded(int status) const;
  Result<void> Capture();
  Result<void> DeliverOutput();
  Result<void> KeepFailed();

  const Store& store_;
  const RunRequest& request_;
  const Observer& observer_;
  DependencySet set_;
  std::optional<CachedRoot> own_root_;
  const CachedRoot* root_ = nullptr;  // own_root_, or the caller's
  IdChoice ids_;
  bool replaced_root_ = false;
  StageOptions stage_options_;
  std::vector<std::string> other_scratches_;  // to try, the last one first
  std::vector<SandboxMount> mounts_;
  std::vector<std::string> in_memory_ = {"/tmp", "/dev"};  // where mount points can be made
  std::vector<FileLock> cache_locks_;
  std::vector<sock_filter> filter_;
  std::optional<size_t> output_mount_;  // in mounts_
  std::string output_;                  // its source, relative to the store
  HostPlace output_place_;
  std::optional<Stage> stage_;
  RunReport report_;
};

}  // namespace strata
