// SPDX-License-Identifier: Apache-2.0
//
// One `strata run` or `strata shell`: from a RunRequest to an exit status. The steps are in the
// order in which they are called.
#pragma once

#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "sandbox/sandbox.h"
#include "stager/capture.h"
#include "stager/stage.h"
#include "tools/strata/command.h"
#include "tools/strata/composition.h"
#include "tools/strata/host_place.h"
#include "tools/strata/json.h"
#include "tools/strata/run_options.h"

namespace strata {

class RunSession {
 public:
  RunSession(Context& context, const RunRequest& request) : context_(context), request_(request) {}

  // Layers looked up, their root found or composed, mounts planned, scratch made.
  Result<void> Prepare();
  // For a shell: the best one that the layers have.
  Result<std::string> FindShell();
  // Runs `argv` until everything in the sandbox has ended. `terminal` may be null.
  Result<void> Run(std::vector<std::string> argv, Terminal* terminal, int signal_fd);
  // After a failure of the two above: --stats says that nothing has run, and why.
  Result<void> WriteFailure(const Error& error) const;
  // What the command wrote goes where it was asked to go. Returns strata's exit status.
  Result<int> Finish();

 private:
  Result<void> FindHostPlaces();
  Result<void> PlanMounts(std::vector<MountPoint>* points);
  void AddMount(SandboxMount mount, bool directory, std::vector<MountPoint>* points);
  Result<void> PlanBind(const RunRequest::Mount& mount, std::vector<MountPoint>* points);
  Result<void> PlanHostNetworkFiles(std::vector<MountPoint>* points);
  Result<void> MakeStage();
  Result<void> TryMakeStage();
  Result<bool> ReplaceLostRoot();
  Result<void> FillMountSources();
  SandboxSpec MakeSpec(int signal_fd, Terminal* terminal);
  // Which ids the sandbox has; after that, where it turns out that a range cannot be had.
  Result<void> FindIds();
  Result<bool> DoWithOneId();
  // The next place for the scratch, when the file system of this one cannot carry an upper.
  bool NextScratch();
  Result<void> LockCaches();
  Result<void> LockCache(const std::string& name);
  Result<void> Capture();
  Result<void> DeliverOutput();
  Result<void> KeepFailed();
  Result<void> WriteStats(int status) const;
  Result<void> WriteStatsFile(const Json& stats) const;

  Context& context_;
  const RunRequest& request_;
  const Store* store_ = nullptr;
  DependencySet set_;
  std::optional<Composition> composition_;
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
  HostPlace stats_place_;
  UniqueFd stats_fd_;  // of what is no regular file
  std::optional<Stage> stage_;
  std::vector<std::string> argv_;
  SandboxResult result_;
  std::optional<CaptureResult> captured_;
  int64_t start_ns_ = 0;
  int64_t staged_ns_ = 0;
  int64_t ran_ns_ = 0;
  int64_t captured_ns_ = 0;
};

}  // namespace strata
