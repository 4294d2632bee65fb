// SPDX-License-Identifier: Apache-2.0
//
// Prints the tables of commands and options as JSON: what the manual pages and the completions are
// generated from, and what the parsers and --help use. Runs when strata is built; not installed.
#include <sys/capability.h>

#include <cctype>
#include <cstdio>

#include "tools/strata-bwrap/option_texts.h"
#include "tools/strata-mount/options.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"

namespace strata {
namespace {

Json TextOrNull(const char* text) {
  return text == nullptr ? Json(nullptr) : Json(text);
}

Json Describe(const OptionSpec& option) {
  return {{"name", option.name},
          {"short", option.short_name == 0 ? "" : std::string(1, option.short_name)},
          {"metavar", TextOrNull(option.metavar)},
          {"help", option.help},
          {"repeatable", option.repeatable},
          {"group", TextOrNull(option.group)}};
}

Json Describe(const CommandSpec& command) {
  Json options = Json::array();
  for (const OptionSpec& option : command.options) options.push_back(Describe(option));
  options.push_back(Describe(kHelpOption));
  return {{"name", command.name},
          {"summary", command.summary},
          {"usage", command.usage},
          {"description", TextOrNull(command.description)},
          {"takes_command", command.takes_command},
          {"failure_status", command.failure_status},
          {"usage_status", command.usage_status},
          {"options", std::move(options)}};
}

Json Describe(const bwrap::OptionText& option) {
  return {{"form", option.form}, {"help", option.help}, {"group", TextOrNull(option.group)}};
}

Json Describe(const mount::MountOption& option) {
  return {{"name", option.name}, {"metavar", TextOrNull(option.metavar)}, {"help", option.help}};
}

Json CapabilityNames() {
  Json names = {"ALL"};
  for (int value = 0; value <= CAP_LAST_CAP; ++value) {
    char* name = ::cap_to_name(value);
    std::string text = name;
    ::cap_free(name);
    for (char& letter : text) letter = static_cast<char>(std::toupper(letter));
    names.push_back(std::move(text));
  }
  return names;
}

Json DescribeAll() {
  Json commands = Json::array();
  for (const CommandSpec* command : Commands()) commands.push_back(Describe(*command));
  Json bwrap = Json::array();
  for (const bwrap::OptionText& option : bwrap::kOptionTexts) bwrap.push_back(Describe(option));
  Json mount = Json::array();
  for (const mount::MountOption& option : mount::MountOptions()) mount.push_back(Describe(option));
  return {{"strata", std::move(commands)},
          {"capabilities", CapabilityNames()},
          {"strata-bwrap", {{"description", bwrap::kDescription}, {"options", std::move(bwrap)}}},
          {"strata-mount", {{"help", mount::HelpText()}, {"options", std::move(mount)}}}};
}

}  // namespace
}  // namespace strata

int main() {
  std::puts(strata::DescribeAll().dump(1).c_str());
  return std::fflush(stdout) == 0 ? 0 : 1;
}
