// SPDX-License-Identifier: Apache-2.0
//
// Which program is executed, and what it starts with.
#include <elf.h>

#include <csignal>
#include <cstring>

#include "tests/support/sandbox_fixture.h"

namespace strata {
namespace {

using testing::Must;
using Outcome = SandboxResult::Outcome;

class ExecTest : public testing::SandboxFixture {
 protected:
  SandboxResult Run(SandboxSpec spec) { return Must(RunSandbox(spec)); }
  SandboxResult RunCommand(const std::string& name) { return Run(Spec({name})); }
  void Tool(const std::string& path) {
    WriteProgram(path, "#!/bin/sh\necho " + path + " > /host/out\n");
  }
};

TEST_F(ExecTest, LooksTheCommandUpInThePathOfItsEnvironment) {
  NewDir("root/base/one");
  NewDir("root/base/two");
  Tool("one/tool");
  Tool("two/tool");
  SandboxSpec spec = Spec({"tool"});
  spec.env = {"A=1", "PATH=/nowhere:/two:/one", "Z=1"};
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "two/tool\n");
}

TEST_F(ExecTest, LooksInTheUsualDirectoriesWhereThereIsNoPath) {
  Tool("bin/tool");
  SandboxSpec spec = Spec({"tool"});
  spec.env.clear();
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "bin/tool\n");
}

TEST_F(ExecTest, AnEmptyPartOfPathIsTheWorkingDirectory) {
  Tool("etc/tool");
  SandboxSpec spec = Spec({"tool"});
  spec.env = {"PATH=:/bin"};
  spec.directory = "/etc";
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "etc/tool\n");
}

TEST_F(ExecTest, ANameWithASlashIsNotLookedUp) {
  Tool("etc/tool");
  SandboxSpec spec = Spec({"./tool"});
  spec.directory = "/etc";
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(RunCommand("./tool").outcome, Outcome::kNotFound);
}

TEST_F(ExecTest, AFileThatCannotBeExecutedDoesNotHideALaterOne) {
  NewDir("root/base/one");
  NewDir("root/base/two/tool");  // nor does a directory
  WriteProgram("one/tool", "", 0644);
  Tool("bin/tool");
  SandboxSpec spec = Spec({"tool"});
  spec.env = {"PATH=/one:/two:/bin"};
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "bin/tool\n");
}

TEST_F(ExecTest, AnUnknownCommandIsNotFound) {
  SandboxResult result = RunCommand("frobnicate");
  EXPECT_EQ(result.outcome, Outcome::kNotFound);
  EXPECT_NE(result.reason.find("frobnicate"), std::string::npos) << result.reason;
  EXPECT_FALSE(result.hint.empty());
}

TEST_F(ExecTest, AFileWithoutTheExecuteBitIsNotExecutable) {
  WriteProgram("bin/tool", "#!/bin/sh\n", 0644);
  SandboxResult result = RunCommand("tool");
  EXPECT_EQ(result.outcome, Outcome::kNotExecutable);
  EXPECT_NE(result.reason.find("/bin/tool"), std::string::npos) << result.reason;
}

TEST_F(ExecTest, WhatIsNoProgramIsNotExecutable) {
  WriteProgram("bin/tool", "hello");
  SandboxResult result = RunCommand("tool");
  EXPECT_EQ(result.outcome, Outcome::kNotExecutable);
  EXPECT_NE(result.reason.find("Exec format error"), std::string::npos) << result.reason;
}

// The start of an ELF program for this machine that names `loader`.
std::string ElfThatWants(const std::string& loader) {
  Elf64_Ehdr header;
  {
    auto self = Must(OpenAt(AT_FDCWD, "/proc/self/exe", O_RDONLY));
    EXPECT_EQ(::read(self.get(), &header, sizeof header), ssize_t{sizeof header});
  }
  header.e_type = ET_EXEC;
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  header.e_shnum = 0;
  Elf64_Phdr program{};
  program.p_type = PT_INTERP;
  program.p_flags = PF_R;
  program.p_offset = sizeof header + sizeof program;
  program.p_filesz = program.p_memsz = loader.size() + 1;
  program.p_align = 1;
  std::string text(sizeof header + sizeof program, '\0');
  std::memcpy(text.data(), &header, sizeof header);
  std::memcpy(text.data() + sizeof header, &program, sizeof program);
  return text + loader + '\0';
}

TEST_F(ExecTest, AMissingLoaderIsNamed) {
  WriteProgram("bin/tool", ElfThatWants("/lib/ld-nowhere.so.1"));
  SandboxResult result = RunCommand("tool");
  EXPECT_EQ(result.outcome, Outcome::kNotFound);
  EXPECT_NE(result.reason.find("/bin/tool"), std::string::npos) << result.reason;
  EXPECT_NE(result.reason.find("/lib/ld-nowhere.so.1 is missing"), std::string::npos)
      << result.reason;
  EXPECT_FALSE(result.hint.empty());
}

TEST_F(ExecTest, AMissingScriptInterpreterIsNamed) {
  WriteProgram("bin/tool", "#!\t/usr/bin/python9 -E\nprint()\n");
  SandboxResult result = RunCommand("tool");
  EXPECT_EQ(result.outcome, Outcome::kNotFound);
  EXPECT_NE(result.reason.find("/usr/bin/python9 is missing"), std::string::npos) << result.reason;
}

TEST_F(ExecTest, AProgramOfAnEmptyFileIsNotExecutable) {
  WriteProgram("bin/tool", "");
  EXPECT_EQ(RunCommand("tool").outcome, Outcome::kNotExecutable);
}

TEST_F(ExecTest, PassesArgumentsAndEnvironmentAsTheyAre) {
  WriteProgram("bin/tool",
               "#!/bin/sh\nfor a; do echo \"<$a>\"; done > /host/out; echo \"$V\" >> /host/out\n");
  SandboxSpec spec = Spec({"tool", "a b", "", "*", "--x"});
  spec.env.push_back("V=1 = 2");
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "<a b>\n<>\n<*>\n<--x>\n1 = 2\n");
}

TEST_F(ExecTest, AnIgnoredSigpipeIsNotHandedDown) {
  auto before = ::signal(SIGPIPE, SIG_IGN);
  Run(Script("grep SigIgn /proc/self/status > /host/out"));
  ::signal(SIGPIPE, before);
  const uint64_t ignored = std::stoull(Written().substr(std::strlen("SigIgn:")), nullptr, 16);
  EXPECT_EQ(ignored & uint64_t{1} << (SIGPIPE - 1), 0U);
}

TEST_F(ExecTest, NoSignalIsBlocked) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  Run(Script("grep SigBlk /proc/self/status > /host/out"));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(Written(), "SigBlk:\t0000000000000000\n");
}

TEST_F(ExecTest, TheOpenFileLimitIsWhatWasAskedFor) {
  SandboxSpec spec = Script("ulimit -n > /host/out");
  spec.open_files = rlimit{123, 123};
  EXPECT_EQ(Run(spec).ShellCode(), 0);
  EXPECT_EQ(Written(), "123\n");
}

TEST_F(ExecTest, AFilterThatTheKernelRefusesIsAnError) {
  const sock_filter nonsense[] = {{0xffff, 0, 0, 0}};
  SandboxSpec spec = Script("true");
  spec.seccomp = SeccompFilter{nonsense, 1};
  auto result = RunSandbox(spec);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("seccomp"), std::string::npos)
      << result.error().message();
}

}  // namespace
}  // namespace strata
