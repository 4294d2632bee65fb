// SPDX-License-Identifier: Apache-2.0
//
// Option tables: one constant table for each command, which parses the command line and writes the
// help text, the manual pages and the completions (tools/docs).
//
// The rules are getopt_long's, with three differences: an option's name is never abbreviated (a
// script must not break when an option is added), no option has an optional value, and for a
// command that runs a program the first "--" ends the operands and starts that program's command
// line. Options may stand between operands. `-qo FILE`, `-oFILE`, `--out FILE` and `--out=FILE` all
// work.
//
// Parsing is on the path of every `strata run`: no heap beyond the vectors of ParsedArgs.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

struct OptionSpec {
  int id = 0;                     // what the command switches on; unique in its table
  const char* name = nullptr;     // long, without the "--"
  char short_name = 0;            // 0: none
  const char* metavar = nullptr;  // of the value; null: a flag. "a|b|c" lists the choices
  const char* help = nullptr;     // one sentence, without a full stop
  bool repeatable = false;        // else the last one given counts
  const char* group = nullptr;    // a heading of the help text that starts with this option

  constexpr OptionSpec Repeatable() const {
    OptionSpec copy = *this;
    copy.repeatable = true;
    return copy;
  }
  constexpr OptionSpec Group(const char* heading) const {
    OptionSpec copy = *this;
    copy.group = heading;
    return copy;
  }
};

constexpr OptionSpec Flag(int id, const char* name, char short_name, const char* help) {
  return {.id = id, .name = name, .short_name = short_name, .help = help};
}
constexpr OptionSpec Value(int id, const char* name, char short_name, const char* metavar,
                           const char* help) {
  return {.id = id, .name = name, .short_name = short_name, .metavar = metavar, .help = help};
}

// Options that several commands have. A command's own ids count from 0.
enum CommonOption { kOptionJson = -1, kOptionQuiet = -2, kOptionHelp = -3 };
inline constexpr OptionSpec kJsonOption =
    Flag(kOptionJson, "json", 0, "print JSON, with layer ids in full");
inline constexpr OptionSpec kQuietOption =
    Flag(kOptionQuiet, "quiet", 'q', "show no progress and no warnings");
// Every command has it; it stands in no table.
inline constexpr OptionSpec kHelpOption = Flag(kOptionHelp, "help", 'h', "show this help");

struct ParsedOption {
  const OptionSpec* spec = nullptr;
  const char* value = "";  // NUL-terminated, part of argv; "" for a flag
};

struct ParsedArgs {
  std::vector<ParsedOption> options;  // in the order given
  std::vector<const char*> operands;
  // What followed "--", NULL-terminated as argv is; null where there was no "--". Only for a
  // command whose `takes_command` is set; elsewhere what follows "--" are operands.
  char** command = nullptr;

  bool Has(int id) const { return Get(id) != nullptr; }
  const char* Get(int id) const;  // the value given last; null where the option was not given
};

class Context;

struct CommandSpec {
  const char* name = nullptr;
  const char* summary = nullptr;  // one line for `strata help`, without a full stop
  const char* usage = nullptr;    // what follows the name: "[OPTIONS] LAYER... -- COMMAND [ARG...]"
  const char* description = nullptr;  // paragraphs for --help; may be null
  std::span<const OptionSpec> options;
  size_t min_operands = 0;
  size_t max_operands = 0;
  bool takes_command = false;
  // What strata exits with for an error, and for one of code kInvalid: a command line that makes no
  // sense. Both are 125 where the program that is run has exit statuses of its own.
  int failure_status = 1;
  int usage_status = 2;
  // Returns the exit status.
  Result<int> (*run)(Context& context, const ParsedArgs& args) = nullptr;
};

inline constexpr size_t kAnyNumber = static_cast<size_t>(-1);

// `argv` is what follows the command's name, NULL-terminated. Errors are of code kInvalid.
Result<ParsedArgs> ParseArgs(const CommandSpec& command, char** argv);

// What `strata COMMAND --help` prints.
std::string HelpText(const CommandSpec& command);

// Looks up one of the "a|b|c" of an option: its place, from 0. The error leaves naming the option
// to the caller.
Result<size_t> ParseChoice(const OptionSpec& option, std::string_view value);

}  // namespace strata
