// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/options.h"

#include <algorithm>
#include <cstring>

#include "base/suggest.h"

namespace strata {
namespace {

const OptionSpec* FindLong(const CommandSpec& command, std::string_view name) {
  for (const OptionSpec& option : command.options) {
    if (name == option.name) return &option;
  }
  return name == kHelpOption.name ? &kHelpOption : nullptr;
}

const OptionSpec* FindShort(const CommandSpec& command, char name) {
  for (const OptionSpec& option : command.options) {
    if (option.short_name == name) return &option;
  }
  return name == kHelpOption.short_name ? &kHelpOption : nullptr;
}

Error Usage(const CommandSpec& command, std::string message) {
  return Error(Errc::kInvalid, std::move(message))
      .Hint(fmt::format("usage: strata {} {}", command.name, command.usage));
}

Error UnknownOption(const CommandSpec& command, std::string_view given) {
  Error error(Errc::kInvalid, fmt::format("{} has no option {}", command.name, given));
  std::vector<std::string_view> names;
  for (const OptionSpec& option : command.options) names.emplace_back(option.name);
  std::string_view near =
      given.substr(0, 2) == "--" ? Nearest(given.substr(2), names) : std::string_view();
  if (!near.empty()) return std::move(error).Hint(fmt::format("did you mean --{}?", near));
  return std::move(error).Hint(fmt::format("`strata {} --help` lists them", command.name));
}

// One word that starts with "--"; `next` is moved past the words that it uses.
Result<ParsedOption> ParseLong(const CommandSpec& command, char**& next) {
  const char* word = *next++;
  const char* equals = std::strchr(word, '=');
  std::string_view name(word + 2);
  if (equals != nullptr) name = name.substr(0, static_cast<size_t>(equals - word) - 2);
  const OptionSpec* option = FindLong(command, name);
  if (option == nullptr) {
    return Unexpected(UnknownOption(command, fmt::format("--{}", name)));
  }
  if (option->metavar == nullptr) {
    if (equals != nullptr) return Fail(Errc::kInvalid, "--{} takes no value", name);
    return ParsedOption{option, ""};
  }
  if (equals != nullptr) return ParsedOption{option, equals + 1};
  if (*next == nullptr)
    return Fail(Errc::kInvalid, "--{} needs a value: {}", name, option->metavar);
  return ParsedOption{option, *next++};
}

// One word of single-letter options: "-q", "-ql", "-oFILE" or "-o FILE".
Result<void> ParseShort(const CommandSpec& command, char**& next,
                        std::vector<ParsedOption>& options) {
  for (const char* letter = *next++ + 1; *letter != '\0'; ++letter) {
    const OptionSpec* option = FindShort(command, *letter);
    if (option == nullptr) {
      return Unexpected(UnknownOption(command, std::string{'-', *letter}));
    }
    if (option->metavar == nullptr) {
      options.push_back({option, ""});
      continue;
    }
    if (letter[1] != '\0') {
      options.push_back({option, letter + 1});
    } else if (*next != nullptr) {
      options.push_back({option, *next++});
    } else {
      return Fail(Errc::kInvalid, "-{} needs a value: {}", *letter, option->metavar);
    }
    break;
  }
  return {};
}

// Appends `text` broken into lines of at most 96 columns; the first starts at column `at`, the
// others at `indent`.
void AppendWrapped(std::string& out, std::string_view text, size_t at, size_t indent) {
  constexpr size_t kWidth = 96;
  while (!text.empty()) {
    size_t space = std::min(text.find(' '), text.size());
    if (at + space > kWidth) {
      while (out.back() == ' ') out.pop_back();
      out += '\n';
      out.append(indent, ' ');
      at = indent;
    }
    size_t used = std::min(space + 1, text.size());
    out += text.substr(0, used);
    at += used;
    text.remove_prefix(used);
  }
  out += '\n';
}

void AppendOption(std::string& help, const OptionSpec& option) {
  constexpr size_t kColumn = 30;
  if (option.group != nullptr) help += fmt::format("\n{}:\n", option.group);
  std::string left = option.short_name != 0
                         ? fmt::format("  -{}, --{}", option.short_name, option.name)
                         : fmt::format("      --{}", option.name);
  if (option.metavar != nullptr) left += fmt::format(" {}", option.metavar);
  help += left;
  if (left.size() + 2 > kColumn) {
    help += '\n';
    help.append(kColumn, ' ');
  } else {
    help.append(kColumn - left.size(), ' ');
  }
  std::string text = option.help;
  if (option.repeatable) text += " (may be repeated)";
  AppendWrapped(help, text, kColumn, kColumn);
}

}  // namespace

const char* ParsedArgs::Get(int id) const {
  for (size_t i = options.size(); i-- > 0;) {
    if (options[i].spec->id == id) return options[i].value;
  }
  return nullptr;
}

Result<ParsedArgs> ParseArgs(const CommandSpec& command, char** argv) {
  ParsedArgs args;
  char** next = argv;
  while (*next != nullptr) {
    std::string_view word(*next);
    if (word == "--") {
      ++next;
      if (command.takes_command) {
        args.command = next;
      } else {
        while (*next != nullptr) args.operands.push_back(*next++);
      }
      break;
    }
    if (word.size() < 2 || word[0] != '-') {  // "-" alone is an operand: standard input
      args.operands.push_back(*next++);
    } else if (word[1] == '-') {
      STRATA_ASSIGN(ParsedOption option, ParseLong(command, next));
      args.options.push_back(option);
    } else {
      STRATA_TRY(ParseShort(command, next, args.options));
    }
  }
  if (args.Has(kOptionHelp)) return args;
  if (args.operands.size() < command.min_operands) {
    return Unexpected(Usage(command, fmt::format("{}: an argument is missing", command.name)));
  }
  if (args.operands.size() > command.max_operands) {
    return Unexpected(Usage(command, fmt::format("{}: unexpected argument '{}'", command.name,
                                                 args.operands[command.max_operands])));
  }
  return args;
}

std::string HelpText(const CommandSpec& command) {
  std::string help =
      fmt::format("usage: strata {} {}\n\n{}.\n", command.name, command.usage, command.summary);
  if (command.description != nullptr) help += fmt::format("\n{}\n", command.description);
  if (command.options.empty() || command.options[0].group == nullptr) help += "\nOptions:\n";
  for (const OptionSpec& option : command.options) AppendOption(help, option);
  AppendOption(help, kHelpOption);
  return help;
}

Result<size_t> ParseChoice(const OptionSpec& option, std::string_view value) {
  std::string_view choices(option.metavar);
  for (size_t place = 0; !choices.empty(); ++place) {
    size_t bar = std::min(choices.find('|'), choices.size());
    if (value == choices.substr(0, bar)) return place;
    choices.remove_prefix(std::min(bar + 1, choices.size()));
  }
  return Unexpected(
      Error(Errc::kInvalid, fmt::format("'{}' is none of the choices", value))
          .Hint(fmt::format("--{} {}", option.name, option.metavar)));
}

}  // namespace strata
