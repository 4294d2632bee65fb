// SPDX-License-Identifier: Apache-2.0
//
// What every command gets: the Context of one invocation of strata; and the table of all commands.
#pragma once

#include <sys/resource.h>

#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "cache/store.h"
#include "tools/strata/options.h"
#include "tools/strata/print.h"

namespace strata {

class Context {
 public:
  // Opened at the first call, at $STRATA_STORE or its default place.
  Result<const Store*> OpenStore();

  bool json = false;   // --json
  bool quiet = false;  // --quiet
  Output out{1};       // standard output; main() flushes it and reports what went wrong
  // RLIMIT_NOFILE as strata found it: main() raises the soft limit, and the command of a sandbox
  // gets the old one back.
  struct rlimit original_nofile = {};

 private:
  std::optional<Store> store_;
};

std::span<const CommandSpec* const> Commands();
const CommandSpec* FindCommand(std::string_view name);  // null where there is none

extern const CommandSpec kImportCommand;
extern const CommandSpec kComposeCommand;
extern const CommandSpec kRunCommand;
extern const CommandSpec kShellCommand;
extern const CommandSpec kStageCommand;
extern const CommandSpec kUnstageCommand;
extern const CommandSpec kListCommand;
extern const CommandSpec kShowCommand;
extern const CommandSpec kFilesCommand;
extern const CommandSpec kDiffCommand;
extern const CommandSpec kOverlapsCommand;
extern const CommandSpec kTagCommand;
extern const CommandSpec kUntagCommand;
extern const CommandSpec kRmCommand;
extern const CommandSpec kPinCommand;
extern const CommandSpec kUnpinCommand;
extern const CommandSpec kExportCommand;
extern const CommandSpec kFsckCommand;
extern const CommandSpec kGcCommand;
extern const CommandSpec kDuCommand;
extern const CommandSpec kDoctorCommand;

}  // namespace strata
