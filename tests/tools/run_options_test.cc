// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/run_options.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <unistd.h>

#include <cstdlib>

#include "tools/strata/command.h"

namespace strata {
namespace {

using Kind = RunRequest::Mount::Kind;

class RunOptionsTest : public ::testing::Test {
 protected:
  RunOptionsTest() { ::unsetenv("SOURCE_DATE_EPOCH"); }

  // Of `strata run WORDS... base -- true`.
  Result<RunCommandLine> Parse(std::vector<std::string> words) {
    words.insert(words.end(), {"base", "--", "true"});
    words_ = std::move(words);
    std::vector<char*> argv;
    for (std::string& word : words_) argv.push_back(word.data());
    argv.push_back(nullptr);
    STRATA_ASSIGN(ParsedArgs args, ParseArgs(kRunCommand, argv.data()));
    return ParseRunOptions(args);
  }
  RunCommandLine Good(std::vector<std::string> words) {
    auto request = Parse(std::move(words));
    EXPECT_TRUE(request) << request.error().message();
    return request ? *request : RunCommandLine();
  }
  std::string Bad(std::vector<std::string> words) {
    auto request = Parse(std::move(words));
    EXPECT_FALSE(request);
    return request ? "" : request.error().message();
  }
  RunRequest::Mount OneMount(std::vector<std::string> words) {
    RunCommandLine request = Good(std::move(words));
    EXPECT_EQ(request.mounts.size(), 1U);
    return request.mounts.empty() ? RunRequest::Mount() : request.mounts[0];
  }
  static std::string Variable(const RunCommandLine& request, const std::string& name) {
    for (const std::string& entry : request.env) {
      if (entry.compare(0, name.size() + 1, name + "=") == 0) return entry.substr(name.size() + 1);
    }
    return "(unset)";
  }

 private:
  std::vector<std::string> words_;
};

TEST_F(RunOptionsTest, DefaultsAreThoseOfTheDesign) {
  RunCommandLine request = Good({});
  EXPECT_EQ(request.layers.layers, std::vector<std::string>{"base"});
  EXPECT_EQ(request.argv, std::vector<std::string>{"true"});
  EXPECT_TRUE(request.mounts.empty());
  EXPECT_EQ(request.directory, "/");
  EXPECT_EQ(request.hostname, "strata");
  EXPECT_EQ(request.ids.uid, 0U);
  EXPECT_EQ(request.network, Network::kNone);
  EXPECT_EQ(request.capabilities, DefaultCapabilities());
  EXPECT_EQ(request.seccomp, RunRequest::Seccomp::kBuild);
  EXPECT_EQ(request.timeout_ms, 0);
  EXPECT_FALSE(request.mtime);
}

TEST_F(RunOptionsTest, ABindNamesSourceTargetAndMode) {
  RunRequest::Mount mount = OneMount({"--bind", "/a:/b"});
  EXPECT_EQ(mount.kind, Kind::kBind);
  EXPECT_EQ(mount.source, "/a");
  EXPECT_EQ(mount.target, "/b");
  EXPECT_FALSE(mount.read_only || mount.copy_on_write);
  EXPECT_TRUE(OneMount({"--bind", "/a:/b:ro"}).read_only);
  EXPECT_TRUE(OneMount({"--bind", "/a:/b:cow"}).copy_on_write);
  EXPECT_FALSE(OneMount({"--bind", "/a:/b:rw"}).read_only);
}

TEST_F(RunOptionsTest, ABindWithoutATargetIsAtTheSourcesPath) {
  EXPECT_EQ(OneMount({"--bind", "/a/b"}).target, "/a/b");
}

TEST_F(RunOptionsTest, ARelativeSourceIsMadeAbsolute) {
  char* current = ::getcwd(nullptr, 0);
  EXPECT_EQ(OneMount({"--bind", "src:/b"}).source, std::string(current) + "/src");
  EXPECT_EQ(OneMount({"--bind", ".:/b"}).source, current);
  std::free(current);
}

TEST_F(RunOptionsTest, TargetsAreCleanAbsoluteAndNotTheRoot) {
  EXPECT_EQ(OneMount({"--bind", "/a:/b//./c/"}).target, "/b/c");
  for (const char* value : {"/a:b", "/a:", "/a:/", "/a:/.", "/a:/b/../c", ":/b", ""}) {
    EXPECT_NE(Bad({"--bind", value}).find("--bind"), std::string::npos) << value;
  }
}

TEST_F(RunOptionsTest, MountsKeepTheOrderTheyWereGivenIn) {
  RunCommandLine request =
      Good({"--tmpfs", "/a", "--cache", "c:/b", "--bind", "/x:/c", "--output", "/d=/e"});
  ASSERT_EQ(request.mounts.size(), 4U);
  EXPECT_EQ(request.mounts[0].kind, Kind::kTmpfs);
  EXPECT_EQ(request.mounts[1].kind, Kind::kCache);
  EXPECT_EQ(request.mounts[2].kind, Kind::kBind);
  EXPECT_EQ(request.mounts[3].kind, Kind::kOutput);
}

TEST_F(RunOptionsTest, ATmpfsMayHaveASize) {
  EXPECT_EQ(OneMount({"--tmpfs", "/a"}).size, 0U);
  EXPECT_EQ(OneMount({"--tmpfs", "/a:2M"}).size, 2U << 20);
  for (const char* value : {"a", "/a:", "/a:0", "/a:x"}) {
    EXPECT_NE(Bad({"--tmpfs", value}).find("--tmpfs"), std::string::npos) << value;
  }
}

TEST_F(RunOptionsTest, AnOutputNeedsOneReceiver) {
  EXPECT_EQ(Good({"--output", "/out=/host"}).output_host, "/host");
  EXPECT_EQ(Good({"--output", "/out", "--capture", "x"}).output_target, "/out");
  Bad({"--output", "/out"});
  Bad({"--output", "/out="});
  Bad({"--output", "/out=/host", "--capture", "x"});
  EXPECT_NE(Bad({"--output", "/a=/x", "--output", "/b=/y"}).find("twice"), std::string::npos);
}

TEST_F(RunOptionsTest, WhatDoesNotGoTogetherIsRefused) {
  const std::vector<std::vector<std::string>> pairs = {
      {"--read-only", "--capture", "x"},         {"--read-only", "--workspace", "w"},
      {"--read-only", "--scratch", "tmpfs"},     {"--scratch", "tmpfs", "--capture", "x"},
      {"--workspace", "w", "--scratch", "/tmp"}, {"--chown", "ignore", "--seccomp", "none"},
  };
  for (const auto& words : pairs) {
    EXPECT_NE(Bad(words).find("do not go together"), std::string::npos) << words[0] << words[1];
  }
}

TEST_F(RunOptionsTest, AReadOnlyRootMayHaveACapturedOutput) {
  Good({"--read-only", "--output", "/out", "--capture", "x"});
  Good({"--scratch", "tmpfs", "--output", "/out", "--capture", "x"});
}

TEST_F(RunOptionsTest, TheLastScratchWins) {
  EXPECT_TRUE(Good({"--scratch", "/a", "--scratch", "tmpfs:1G"}).scratch_tmpfs);
  RunCommandLine request = Good({"--scratch", "tmpfs:1G", "--scratch", "/a"});
  EXPECT_FALSE(request.scratch_tmpfs);
  EXPECT_EQ(request.scratch_directory, "/a");
}

TEST_F(RunOptionsTest, EnvironmentDefaultsAreReplacedAndAddedTo) {
  RunCommandLine request = Good({"--env", "HOME=/x", "-e", "A=b=c"});
  EXPECT_EQ(Variable(request, "HOME"), "/x");
  EXPECT_EQ(Variable(request, "A"), "b=c");
  EXPECT_EQ(Variable(request, "LANG"), "C.UTF-8");
  EXPECT_EQ(request.env.size(), 8U);
}

TEST_F(RunOptionsTest, ClearEnvCountsWhereverItStands) {
  EXPECT_EQ(Good({"--env", "A=1", "--clear-env"}).env, std::vector<std::string>{"A=1"});
  EXPECT_TRUE(Good({"--clear-env"}).env.empty());
}

TEST_F(RunOptionsTest, AVariableWithoutAValueIsTheCallers) {
  ::setenv("STRATA_TEST_TOKEN", "secret", 1);
  EXPECT_EQ(Variable(Good({"--env", "STRATA_TEST_TOKEN"}), "STRATA_TEST_TOKEN"), "secret");
  ::unsetenv("STRATA_TEST_TOKEN");
  EXPECT_EQ(Variable(Good({"--env", "STRATA_TEST_TOKEN"}), "STRATA_TEST_TOKEN"), "(unset)");
}

TEST_F(RunOptionsTest, MtimeIsTheOptionElseSourceDateEpochElseKept) {
  EXPECT_EQ(Good({"--mtime", "5"}).mtime, 5);
  ::setenv("SOURCE_DATE_EPOCH", "9", 1);
  EXPECT_EQ(Good({}).mtime, 9);
  EXPECT_EQ(Good({"--mtime", "5"}).mtime, 5);
  EXPECT_FALSE(Good({"--mtime", "keep"}).mtime);
  ::setenv("SOURCE_DATE_EPOCH", "today", 1);
  EXPECT_NE(Bad({}).find("SOURCE_DATE_EPOCH"), std::string::npos);
  ::setenv("SOURCE_DATE_EPOCH", "", 1);
  EXPECT_FALSE(Good({}).mtime);
  ::unsetenv("SOURCE_DATE_EPOCH");
}

TEST_F(RunOptionsTest, CapabilitiesAreAddedAndDroppedInOrder) {
  const uint64_t raw = uint64_t{1} << CAP_NET_RAW;
  EXPECT_EQ(Good({"--cap-add", "net_raw"}).capabilities, DefaultCapabilities() | raw);
  EXPECT_EQ(Good({"--cap-add", "CAP_NET_RAW"}).capabilities, DefaultCapabilities() | raw);
  EXPECT_EQ(Good({"--cap-drop", "all", "--cap-add", "NET_RAW"}).capabilities, raw);
  EXPECT_EQ(Good({"--cap-add", "NET_RAW", "--cap-drop", "ALL"}).capabilities, 0U);
  EXPECT_NE(Bad({"--cap-add", "fly"}).find("fly"), std::string::npos);
}

TEST_F(RunOptionsTest, TimesAreSecondsMinutesOrHours) {
  EXPECT_EQ(Good({"--timeout", "2"}).timeout_ms, 2000);
  EXPECT_EQ(Good({"--timeout", "0.5s"}).timeout_ms, 500);
  EXPECT_EQ(Good({"--timeout", "3m"}).timeout_ms, 180000);
  EXPECT_EQ(Good({"--timeout", "1h"}).timeout_ms, 3600000);
  for (const char* value : {"0", "-1", "1d", ""}) Bad({"--timeout", value});
}

TEST_F(RunOptionsTest, NamesThatBecomePathsAreChecked) {
  for (const char* value : {"..", "a//b", "", "-x"}) {
    Bad({std::string("--capture=") + value});
    Bad({std::string("--workspace=") + value});
  }
  for (const char* value : {"..:/x", "a/b:/x", ":/x", "a", "a:x"}) Bad({"--cache", value});
}

TEST_F(RunOptionsTest, SeccompIsTheBuildFilterNoneOrAFile) {
  EXPECT_EQ(Good({"--seccomp", "none"}).seccomp, RunRequest::Seccomp::kNone);
  RunCommandLine request = Good({"--seccomp", "./none"});
  EXPECT_EQ(request.seccomp, RunRequest::Seccomp::kFile);
  EXPECT_EQ(request.seccomp_file, "./none");
}

}  // namespace
}  // namespace strata
