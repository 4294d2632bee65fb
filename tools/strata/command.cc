// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/command.h"

namespace strata {
namespace {

// In the order of `strata help`.
constexpr const CommandSpec* kCommands[] = {
    &kImportCommand,   &kRunCommand,    &kShellCommand, &kComposeCommand, &kStageCommand,
    &kUnstageCommand,  &kListCommand,   &kShowCommand,  &kFilesCommand,   &kDiffCommand,
    &kOverlapsCommand, &kTagCommand,    &kUntagCommand, &kRmCommand,      &kPinCommand,
    &kUnpinCommand,    &kExportCommand, &kGcCommand,    &kDuCommand,      &kFsckCommand,
    &kDoctorCommand,
};

}  // namespace

std::span<const CommandSpec* const> Commands() {
  return kCommands;
}

const CommandSpec* FindCommand(std::string_view name) {
  for (const CommandSpec* command : kCommands) {
    if (name == command->name) return command;
  }
  return nullptr;
}

Result<const Store*> Context::OpenStore() {
  if (!store_) {
    STRATA_ASSIGN(std::string path, Store::DefaultPath());
    STRATA_ASSIGN(Store store, Store::Open(path));
    store_ = std::move(store);
  }
  return &*store_;
}

}  // namespace strata
