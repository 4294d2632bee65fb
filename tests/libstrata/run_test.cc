// SPDX-License-Identifier: Apache-2.0
//
// strata_run: what the command gets, and what becomes of what it does.
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cstddef>

#include "tests/libstrata/run_fixture.h"

namespace libstrata {
namespace {

class LibRun : public RunFixture {};

// --- how it ends

TEST_F(LibRun, AStatusIsTheCommandsOwn) {
  RunResult result = Run(Script("exit 42"));
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_ENDED);
  EXPECT_EQ(strata_result_status(result.get()), 42);
  EXPECT_EQ(strata_result_signal(result.get()), 0);
  EXPECT_STREQ(strata_result_reason(result.get()), "");
  EXPECT_EQ(strata_result_layer(result.get()), nullptr);
}

TEST_F(LibRun, ASignalThatKilledItIsTold) {
  RunResult result = Run(Script("kill -SEGV $$"));
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_ENDED);
  EXPECT_EQ(strata_result_signal(result.get()), SIGSEGV);
  EXPECT_EQ(strata_result_status(result.get()), 128 + SIGSEGV);
}

TEST_F(LibRun, ACommandThatIsNotThereIsNoFailureOfTheCall) {
  RunResult result = Run(Options({"no-such-command"}));
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_NO_COMMAND);
  EXPECT_EQ(strata_result_status(result.get()), 127);
  EXPECT_STREQ(strata_result_reason(result.get()),
               "no-such-command: command not found in the root");
}

TEST_F(LibRun, NorIsOneThatCannotBeExecuted) {
  Import("opt/data", "text");
  Write("host/data", "text");
  RunResult result = Run(Options({"/host/data"}));
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_NOT_EXECUTABLE);
  EXPECT_EQ(strata_result_status(result.get()), 126);
  EXPECT_NE(std::string(strata_result_reason(result.get())).find("/host/data"), std::string::npos);
}

TEST_F(LibRun, ATimeoutEndsIt) {
  strata_run_options options = Script("trap '' TERM; while :; do sleep 1; done");
  options.timeout_ms = 200;
  options.grace_ms = 100;
  RunResult result = Run(options);
  EXPECT_EQ(strata_result_outcome(result.get()), STRATA_TIMED_OUT);
  EXPECT_EQ(strata_result_status(result.get()), 124);
  EXPECT_STREQ(strata_result_reason(result.get()), "sh: timed out after 0.2 s");
}

TEST_F(LibRun, TheReportIsThatOfStats) {
  RunResult result = Run(Script("exit 3"));
  const std::string json = strata_result_json(result.get());
  for (const char* part : {"\"outcome\": \"exit\"", "\"status\": 3", "\"cache\": \"miss\"",
                           "\"rusage\": {", "\"steps_us\": {", "\"overlay\":"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << json;
  }
  EXPECT_NE(json.find(strata_root_key(root_.get())), std::string::npos);
}

// --- what it gets

TEST_F(LibRun, StandardStreamsAreTheGivenOnes) {
  Write("in", "given\n");
  const int in = ::open(Path("in").c_str(), O_RDONLY | O_CLOEXEC);
  const int out = ::open(Path("said").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  strata_run_options options = Script("cat; echo error >&2; ls /proc/self/fd");
  options.stdin_fd = in;
  options.stdout_fd = options.stderr_fd = out;
  EXPECT_EQ(strata_result_status(Run(options).get()), 0);
  // They stay the caller's; the last one is that of the directory which ls reads.
  EXPECT_EQ(::close(in), 0);
  EXPECT_EQ(::close(out), 0);
  EXPECT_EQ(Read(Path("said")), "given\nerror\n0\n1\n2\n3\n");
}

TEST_F(LibRun, WithoutAnyTheyAreDevNull) {
  EXPECT_EQ(
      Status(Script("cat; for fd in 0 1 2; do [ /proc/self/fd/$fd -ef /dev/null ] || exit 7; done; "
                    "echo x; echo x >&2")),
      0);
}

TEST_F(LibRun, ADescriptorThatIsNotOpenIsRefused) {
  strata_run_options options = Script("true");
  options.stdout_fd = 999;
  strata_result* result = nullptr;
  Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_SYSTEM);
  EXPECT_NE(message().find("stdout_fd"), std::string::npos) << message();
  EXPECT_EQ(result, nullptr);
}

TEST_F(LibRun, ADirectoryAsAStreamIsRefused) {
  strata_run_options options = Script("true");
  options.stdin_fd = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  strata_result* result = nullptr;
  Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_INVALID);
  ::close(options.stdin_fd);
}

TEST_F(LibRun, TheEnvironmentIsTheDefaultOneAndWhatIsGiven) {
  const char* env[] = {"A=1", "HOME=/here", "EMPTY=", nullptr};
  strata_run_options options = Script("echo $A $HOME [$EMPTY] $LANG $USER > /host/out");
  options.env = env;
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "1 /here [] C.UTF-8 root\n");
  options = Options({"/bin/sh", "-c", "/bin/env > /host/out"});
  options.env = env;
  options.flags = STRATA_RUN_CLEAR_ENV;
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written().find("LANG"), std::string::npos);
  EXPECT_NE(Written().find("HOME=/here\n"), std::string::npos);
  env[0] = "novalue";
  strata_result* result = nullptr;
  Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "env: 'novalue' is not K=V");
}

TEST_F(LibRun, DirectoryHostNameAndIdsAreAsAsked) {
  strata_run_options options = Script("echo $(pwd) $(hostname) $(id -u) $(id -g) > /host/out");
  options.directory = "/host";
  options.hostname = "builder";
  options.uid = 7;
  options.gid = 8;
  options.userns = STRATA_USERNS_SINGLE;
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "/host builder 7 8\n");
}

TEST_F(LibRun, MountsOfEveryKindAreThere) {
  Write("read-only/file", "ro");
  Write("cow/file", "before");
  const std::string read_only = Path("read-only");
  const std::string cow = Path("cow");
  const strata_mount mounts[] = {
      host_,
      {STRATA_MOUNT_BIND_RO, read_only.c_str(), "/ro", 0, {}},
      {STRATA_MOUNT_COW, cow.c_str(), "/cow", 0, {}},
      {STRATA_MOUNT_TMPFS, nullptr, "/memory", 1 << 20, {}},
      {STRATA_MOUNT_BIND_RO, read_only.c_str(), "/memory/below", 0, {}},
      {STRATA_MOUNT_CACHE, "kept", "/cache", 0, {}},
  };
  strata_run_options options = Script(
      "cat /ro/file /memory/below/file > /host/out; touch /ro/x 2> /dev/null && exit 1\n"
      "echo after > /cow/file; cat /cow/file >> /host/out; touch /memory/x || exit 2\n"
      "cat /cache/x >> /host/out; echo cached > /cache/x");
  options.mounts = mounts;
  options.mount_count = std::size(mounts);
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "roroafter\n");
  EXPECT_EQ(Read(Path("cow/file")), "before");
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "roroafter\ncached\n");
}

TEST_F(LibRun, NothingOfTheStoreCanBeBound) {
  const std::string inside = Path("store");
  const strata_mount mount = {STRATA_MOUNT_BIND, inside.c_str(), "/store", 0, {}};
  strata_run_options options = Script("true");
  options.mounts = &mount;
  strata_result* result = nullptr;
  Bad(strata_run(root_.get(), &options, &result, error()), STRATA_E_INVALID);
  EXPECT_NE(message().find("no sandbox may see"), std::string::npos) << message();
  EXPECT_EQ(message().rfind("bind ", 0), 0U) << message();
}

TEST_F(LibRun, LimitsAreHeldAndReported) {
  strata_run_options options =
      Script("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; exit 0");
  options.pids = 20;
  options.memory = 256 << 20;
  options.cpu_millis = 1500;
  RunResult result = Run(options);
  EXPECT_NE(strata_result_status(result.get()), 0);
  const std::string json = strata_result_json(result.get());
  EXPECT_NE(json.find("\"asked\": 20"), std::string::npos) << json;
  EXPECT_NE(json.find("\"asked\": 1.5"), std::string::npos) << json;
}

TEST_F(LibRun, CapabilitiesAndFilterCanBeChanged) {
  strata_run_options options = Script("grep -E 'CapEff|Seccomp:' /proc/self/status > /host/out");
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "CapEff:\t00000000800401fb\nSeccomp:\t2\n");
  options.cap_add = uint64_t{1} << CAP_NET_RAW;
  options.cap_drop = uint64_t{1} << CAP_CHOWN;
  options.flags = STRATA_RUN_NO_SECCOMP;
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "CapEff:\t00000000800421fa\nSeccomp:\t0\n");
}

TEST_F(LibRun, ChownSucceedsWhereItIsToBeIgnored) {
  strata_run_options options = Script("touch /f && chown 5:6 /f 2> /dev/null");
  options.userns = STRATA_USERNS_SINGLE;
  EXPECT_EQ(Status(options), 1);
  options.flags = STRATA_RUN_IGNORE_CHOWN;
  EXPECT_EQ(Status(options), 0);
}

TEST_F(LibRun, AFilterOfTheCallersTakesThePlaceOfTheDefaultOne) {
  const auto number = static_cast<uint32_t>(offsetof(seccomp_data, nr));
  const sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chdir, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  Write("filter", std::string(reinterpret_cast<const char*>(filter), sizeof filter));
  const std::string path = Path("filter");
  strata_run_options options =
      Script("grep Seccomp: /proc/self/status > /host/out; cd /tmp 2> /dev/null || exit 5");
  EXPECT_EQ(Status(options), 0) << Failure();
  options.seccomp_file = path.c_str();
  EXPECT_EQ(Status(options), 5) << Failure();
  EXPECT_EQ(Written(), "Seccomp:\t2\n");

  const auto refused = [&](strata_code code) {
    strata_result* result = nullptr;
    Bad(strata_run(root_.get(), &options, &result, error()), code);
    return message();
  };
  options.flags = STRATA_RUN_NO_SECCOMP;
  EXPECT_EQ(refused(STRATA_E_INVALID), "seccomp_file and STRATA_RUN_NO_SECCOMP exclude each other");
  options.flags = 0;
  Write("filter", "seven b");  // no whole number of instructions
  EXPECT_EQ(refused(STRATA_E_INVALID).find("seccomp: "), 0U);
  Write("filter", "");
  EXPECT_EQ(refused(STRATA_E_INVALID).find("seccomp: "), 0U);
  options.seccomp_file = "/nowhere";
  EXPECT_EQ(refused(STRATA_E_SYSTEM), "seccomp: open /nowhere: No such file or directory");
}

// --- what becomes of what it writes

TEST_F(LibRun, NothingIsKeptUnlessAsked) {
  EXPECT_EQ(Status(Script("echo x > /made")), 0);
  EXPECT_EQ(Status(Script("[ -e /made ]")), 1);
}

TEST_F(LibRun, AReadOnlyRootCannotBeWrittenTo) {
  strata_run_options options = Script("touch /made 2> /dev/null");
  options.flags = STRATA_RUN_READ_ONLY;
  EXPECT_NE(Status(options), 0);
}

TEST_F(LibRun, WhatItChangedIsCaptured) {
  strata_run_options options = Script("mkdir /opt; echo made > /opt/file");
  options.flags = STRATA_RUN_CAPTURE;
  options.capture_ref = "made";
  options.set_mtime = 1;
  options.mtime = 1000;
  RunResult result = Run(options);
  const strata_layer* layer = strata_result_layer(result.get());
  ASSERT_NE(layer, nullptr);
  EXPECT_EQ(strata_layer_entries(layer), 2U);
  EXPECT_EQ(strata_layer_existed(layer), 0);
  root_ = Compose({"busybox", "made"});
  EXPECT_EQ(Status(Script("cat /opt/file > /host/out; ls -l --full-time /opt/file | grep -q 1970")),
            0);
  EXPECT_EQ(Written(), "made\n");
  // Without a name it is leased by the result; the same changes are the same layer.
  root_ = Compose({"busybox"});
  options.capture_ref = nullptr;
  RunResult again = Run(options);
  ASSERT_NE(strata_result_layer(again.get()), nullptr);
  EXPECT_STREQ(strata_layer_id(strata_result_layer(again.get())), strata_layer_id(layer));
  EXPECT_EQ(strata_layer_existed(strata_result_layer(again.get())), 1);
}

TEST_F(LibRun, AFailureCapturesNothingUnlessAsked) {
  strata_run_options options = Script("echo x > /made; exit 3");
  options.flags = STRATA_RUN_CAPTURE;
  RunResult result = Run(options);
  EXPECT_EQ(strata_result_status(result.get()), 3);
  EXPECT_EQ(strata_result_layer(result.get()), nullptr);
  options.flags |= STRATA_RUN_CAPTURE_FAILED;
  EXPECT_NE(strata_result_layer(Run(options).get()), nullptr);
}

TEST_F(LibRun, WhatAFailureWroteIsKeptWhereAsked) {
  strata_run_options options = Script("echo x > /made; exit 3");
  options.flags = STRATA_RUN_KEEP_FAILED;
  RunResult failed = Run(options);
  const char* workspace = strata_result_workspace(failed.get());
  ASSERT_NE(workspace, nullptr);
  strata_run_options look = Script("cat /made > /host/out");
  look.workspace = workspace;
  EXPECT_EQ(Status(look), 0);
  EXPECT_EQ(Written(), "x\n");
  look = Script("true");
  look.flags = STRATA_RUN_KEEP_FAILED;
  EXPECT_EQ(strata_result_workspace(Run(look).get()), nullptr) << "it has not failed";
  options.flags |= STRATA_RUN_SCRATCH_TMPFS;
  EXPECT_EQ(strata_result_workspace(Run(options).get()), nullptr) << "it is gone";
  EXPECT_EQ(strata_result_workspace(nullptr), nullptr);
}

TEST_F(LibRun, AnOutputDirectoryIsCapturedOrDelivered) {
  strata_run_options options = Script("echo out > /out/file; echo lost > /lost");
  options.output = "/out";
  options.flags = STRATA_RUN_CAPTURE;
  RunResult result = Run(options);
  ASSERT_NE(strata_result_layer(result.get()), nullptr);
  EXPECT_EQ(strata_layer_entries(strata_result_layer(result.get())), 1U);
  const std::string directory = Path("delivered");
  options.flags = 0;
  options.output_directory = directory.c_str();
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Read(directory + "/file"), "out\n");
  strata_result* none = nullptr;
  Bad(strata_run(root_.get(), &options, &none, error()), STRATA_E_EXISTS);  // not empty
}

TEST_F(LibRun, AWorkspaceKeepsTheChanges) {
  strata_run_options options = Script("cat /made > /host/out 2> /dev/null; echo x >> /made");
  options.workspace = "work";
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "x\n");
}

TEST_F(LibRun, TheScratchCanBeElsewhere) {
  strata_run_options options = Script("echo x > /made && cat /made > /host/out");
  options.flags = STRATA_RUN_SCRATCH_TMPFS;
  options.scratch_bytes = 1 << 20;
  EXPECT_EQ(Status(options), 0);
  EXPECT_EQ(Written(), "x\n");
  std::filesystem::create_directory(Path("scratch"));
  const std::string scratch = Path("scratch");
  options.flags = 0;
  options.scratch_directory = scratch.c_str();
  EXPECT_EQ(Status(options), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch));
}

TEST_F(LibRun, WarningsGoToTheEvents) {
  std::vector<std::string> said;
  strata_events events{};
  events.size = sizeof events;
  events.user = &said;
  events.message = [](void* user, strata_message_kind kind, const char* text) {
    EXPECT_EQ(kind, STRATA_MESSAGE_WARNING);
    static_cast<std::vector<std::string>*>(user)->push_back(text);
  };
  strata_run_options options = Script("echo x > /made; exit 3");
  options.flags = STRATA_RUN_CAPTURE;
  options.events = &events;
  Run(options);
  EXPECT_EQ(said, std::vector<std::string>{"nothing is kept: the command failed with status 3"});
}

// --- what is refused

TEST_F(LibRun, WhatMakesNoSenseIsRefused) {
  const auto refused = [&](const strata_run_options& options) {
    strata_result* result = nullptr;
    EXPECT_LT(strata_run(root_.get(), &options, &result, error()), 0);
    EXPECT_EQ(result, nullptr);
    return message();
  };
  strata_run_options none{};
  none.size = sizeof none;
  EXPECT_EQ(refused(none), "argv: no command given");
  strata_run_options options = Script("true");
  options.flags = 1U << 20;
  EXPECT_EQ(refused(options), "flags: 0x100000 is not known");
  options.flags = STRATA_RUN_READ_ONLY | STRATA_RUN_CAPTURE;
  EXPECT_EQ(refused(options),
            "read-only and capture do not go together: there is nothing to capture");
  options.flags = 0;
  options.capture_ref = "x";
  EXPECT_EQ(refused(options), "capture_ref: without STRATA_RUN_CAPTURE there is no layer");
  options = Script("true");
  options.directory = "relative";
  EXPECT_EQ(refused(options), "directory: 'relative' must be an absolute path");
  options = Script("true");
  const strata_mount mount = {STRATA_MOUNT_BIND, "/", "relative", 0, {}};
  options.mounts = &mount;
  EXPECT_EQ(refused(options), "mounts[0]: 'relative' must be an absolute path in the sandbox");
  options = Script("true");
  options.memory = 1000;
  EXPECT_NE(refused(options).find("1000 bytes"), std::string::npos);
  options = Script("true");
  options.userns = static_cast<strata_userns>(9);
  EXPECT_NE(refused(options).find("userns"), std::string::npos);
  strata_result* result = nullptr;
  options = Script("true");
  Bad(strata_run(nullptr, &options, &result, error()), STRATA_E_INVALID);
  Bad(strata_run(root_.get(), &options, nullptr, error()), STRATA_E_INVALID);
}

}  // namespace
}  // namespace libstrata
