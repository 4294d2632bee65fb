// SPDX-License-Identifier: Apache-2.0
//
// strata_stage: a Stage (stager/stage.h), and what has become of it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "stager/stage.h"
#include "tools/libstrata/fork_mark.h"
#include "tools/libstrata/handles.h"

struct strata_stage {
  // Of a child of fork: the descriptors go, and what they stand for stays the parent's.
  ~strata_stage();

  strata::RootPtr root;
  std::optional<strata::Stage> stage;  // none: captured
  // Root shows and captures files with the owners that they have; who has one id, as its own.
  std::optional<strata::IdMapping> ids;
  strata::ForkMark owner;
  std::string attach_at;
  bool mounted = false;  // it was, at some time
  int watch = -1;        // of the mount (MountWatches), where it can be written to
  uint64_t device = 0;   // of the mount, as mountinfo has it
};
