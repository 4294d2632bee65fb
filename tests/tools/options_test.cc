// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/options.h"

#include <gtest/gtest.h>

#include <set>

#include "tools/strata/command.h"

namespace strata {
namespace {

enum { kName, kForce, kBind };
constexpr OptionSpec kOptions[] = {
    Value(kName, "name", 'n', "REF", "a name"),
    Flag(kForce, "force", 'f', "do it"),
    Value(kBind, "bind", 0, "SRC", "a bind").Repeatable(),
};
constexpr CommandSpec kCommand = {.name = "frob",
                                  .summary = "Frob things",
                                  .usage = "[OPTIONS] THING...",
                                  .options = kOptions,
                                  .min_operands = 1,
                                  .max_operands = 3};
constexpr CommandSpec kRunner = {.name = "go",
                                 .usage = "LAYER... -- COMMAND",
                                 .options = kOptions,
                                 .max_operands = kAnyNumber,
                                 .takes_command = true};

// The words of a command line, as argv has them.
class Argv {
 public:
  Argv(std::initializer_list<const char*> words) : words_(words.begin(), words.end()) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char** get() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

ParsedArgs Good(Argv argv, const CommandSpec& command = kCommand) {
  static Argv kept{};
  kept = std::move(argv);
  auto args = ParseArgs(command, kept.get());
  EXPECT_TRUE(args) << args.error().message();
  return args ? *args : ParsedArgs();
}

Error Bad(Argv argv) {
  auto args = ParseArgs(kCommand, argv.get());
  EXPECT_FALSE(args);
  return args ? Error(Errc::kSystem, "") : args.error();
}

std::vector<std::string> Operands(const ParsedArgs& args) {
  return {args.operands.begin(), args.operands.end()};
}

TEST(OptionsTest, TakesAValueInFourSpellings) {
  for (const Argv& argv :
       {Argv{"--name", "x", "t"}, Argv{"--name=x", "t"}, Argv{"-n", "x", "t"}, Argv{"-nx", "t"}}) {
    ParsedArgs args = Good(argv);
    ASSERT_NE(args.Get(kName), nullptr);
    EXPECT_STREQ(args.Get(kName), "x");
    EXPECT_EQ(Operands(args), std::vector<std::string>{"t"});
  }
}

TEST(OptionsTest, ReadsFlagsAndAValueFromOneWordOfLetters) {
  ParsedArgs args = Good({"-fnx", "t"});
  EXPECT_TRUE(args.Has(kForce));
  EXPECT_STREQ(args.Get(kName), "x");
}

TEST(OptionsTest, FindsOptionsBetweenOperands) {
  ParsedArgs args = Good({"a", "--force", "b", "-n", "x", "c"});
  EXPECT_EQ(Operands(args), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(args.Has(kForce));
}

TEST(OptionsTest, KeepsTheOrderOfRepeatedOptionsAndCountsTheLastOfOthers) {
  ParsedArgs args = Good({"--bind", "1", "--name=a", "--bind=2", "--name=b", "t"});
  std::vector<std::string> values;
  for (const ParsedOption& option : args.options) values.emplace_back(option.value);
  EXPECT_EQ(values, (std::vector<std::string>{"1", "a", "2", "b"}));
  EXPECT_STREQ(args.Get(kName), "b");
}

TEST(OptionsTest, AllowsAnEmptyValueAndOneThatStartsWithADash) {
  EXPECT_STREQ(Good({"--name=", "t"}).Get(kName), "");
  EXPECT_STREQ(Good({"--name", "--force", "t"}).Get(kName), "--force");
}

TEST(OptionsTest, TakesASingleDashAsAnOperand) {
  EXPECT_EQ(Operands(Good({"-"})), std::vector<std::string>{"-"});
}

TEST(OptionsTest, TakesWhatFollowsADoubleDashAsOperands) {
  EXPECT_EQ(Operands(Good({"a", "--", "--force", "--"})),
            (std::vector<std::string>{"a", "--force", "--"}));
}

TEST(OptionsTest, LeavesTheCommandAloneAfterTheFirstDoubleDash) {
  ParsedArgs args = Good({"base", "-f", "art", "--", "sh", "-c", "x", "--"}, kRunner);
  EXPECT_EQ(Operands(args), (std::vector<std::string>{"base", "art"}));
  ASSERT_NE(args.command, nullptr);
  EXPECT_STREQ(args.command[0], "sh");
  EXPECT_STREQ(args.command[3], "--");
  EXPECT_EQ(args.command[4], nullptr);
}

TEST(OptionsTest, TellsNoCommandFromAnEmptyOne) {
  EXPECT_EQ(Good({"base"}, kRunner).command, nullptr);
  ParsedArgs empty = Good({"base", "--"}, kRunner);
  ASSERT_NE(empty.command, nullptr);
  EXPECT_EQ(empty.command[0], nullptr);
}

TEST(OptionsTest, SuggestsTheOptionThatWasMeant) {
  Error error = Bad({"--nmae=x", "t"});
  EXPECT_EQ(error.code(), Errc::kInvalid);
  EXPECT_EQ(error.message(), "frob has no option --nmae");
  EXPECT_EQ(error.hint(), "did you mean --name?");
  EXPECT_EQ(Bad({"-x", "t"}).hint(), "`strata frob --help` lists them");
}

TEST(OptionsTest, DoesNotTakeAnAbbreviation) {
  EXPECT_EQ(Bad({"--forc", "t"}).message(), "frob has no option --forc");
}

TEST(OptionsTest, RefusesAMissingValueAndOneTooMany) {
  EXPECT_EQ(Bad({"t", "--name"}).message(), "--name needs a value: REF");
  EXPECT_EQ(Bad({"t", "-n"}).message(), "-n needs a value: REF");
  EXPECT_EQ(Bad({"t", "--force=1"}).message(), "--force takes no value");
}

TEST(OptionsTest, RefusesTooFewAndTooManyOperandsWithTheUsage) {
  EXPECT_EQ(Bad({}).message(), "frob: an argument is missing");
  EXPECT_EQ(Bad({}).hint(), "usage: strata frob [OPTIONS] THING...");
  EXPECT_EQ(Bad({"1", "2", "3", "4"}).message(), "frob: unexpected argument '4'");
}

TEST(OptionsTest, AsksForHelpWhateverElseIsWrong) {
  EXPECT_TRUE(Good({"--help"}).Has(kOptionHelp));
  EXPECT_TRUE(Good({"-h", "1", "2", "3", "4"}).Has(kOptionHelp));
}

TEST(OptionsTest, NamesEveryOptionInTheHelp) {
  std::string help = HelpText(kCommand);
  for (const char* text : {"usage: strata frob [OPTIONS] THING...", "-n, --name REF", "-f, --force",
                           "--bind SRC", "(may be repeated)", "-h, --help"}) {
    EXPECT_NE(help.find(text), std::string::npos) << text;
  }
}

TEST(OptionsTest, FindsAChoiceAndListsThemAll) {
  constexpr OptionSpec kChoice = Value(0, "format", 0, "auto|dir|tar", "");
  EXPECT_EQ(*ParseChoice(kChoice, "auto"), 0U);
  EXPECT_EQ(*ParseChoice(kChoice, "tar"), 2U);
  auto bad = ParseChoice(kChoice, "ta");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "'ta' is none of the choices");
  EXPECT_EQ(bad.error().hint(), "--format auto|dir|tar");
  EXPECT_FALSE(ParseChoice(kChoice, ""));
}

TEST(CommandTest, TablesHaveNoOptionTwiceAndLinesThatFit) {
  for (const CommandSpec* command : Commands()) {
    std::set<std::string> names;
    std::set<int> ids;
    std::set<char> letters;
    for (const OptionSpec& option : command->options) {
      EXPECT_TRUE(names.insert(option.name).second) << command->name << " --" << option.name;
      EXPECT_TRUE(ids.insert(option.id).second) << command->name << " --" << option.name;
      if (option.short_name != 0) {
        EXPECT_TRUE(letters.insert(option.short_name).second)
            << command->name << " --" << option.name;
      }
    }
    std::string help = HelpText(*command);
    for (size_t at = 0; at < help.size();) {
      size_t end = help.find('\n', at);
      EXPECT_LE(end - at, 100U) << help.substr(at, end - at);
      at = end + 1;
    }
    EXPECT_EQ(FindCommand(command->name), command);
  }
}

}  // namespace
}  // namespace strata
