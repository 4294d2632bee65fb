// SPDX-License-Identifier: Apache-2.0
//
// The options of `strata run` and `strata shell`, and what they ask for, before anything is looked
// up or touched.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/roots.h"
#include "sandbox/run_request.h"
#include "tools/strata/layer_args.h"
#include "tools/strata/options.h"

namespace strata {

enum RunOption {
  kBind,
  kTmpfs,
  kReadOnly,
  kOutput,
  kCapture,
  kCaptureFailed,
  kMtime,
  kWorkspace,
  kCache,
  kScratch,
  kKeepFailed,
  kChdir,
  kEnv,
  kClearEnv,
  kHostname,
  kUid,
  kGid,
  kUserns,
  kNet,
  kNestedUserns,
  kChown,
  kSeccomp,
  kCapAdd,
  kCapDrop,
  kLayersFrom,
  kOnConflict,
  kIntegrate,
  kMemory,
  kPids,
  kCpus,
  kTty,
  kDieWithParent,
  kTimeout,
  kGrace,
  kStats,
};

// Shared by all commands that compose a root.
inline constexpr OptionSpec OnConflictOption(int id) {
  return Value(id, "on-conflict", 0, "error|replace|skip",
               "what to do with a file of a layer where a directory of others is: stop, let it "
               "take that place, or leave it out (default: error)");
}
inline constexpr OptionSpec IntegrateOption(int id) {
  return Value(id, "integrate", 0, "CMD",
               "a shell command to run once, before such a root is used for the first time (ldconfig, "
               "for instance); what it changes is kept with the root")
      .Repeatable();
}

inline constexpr OptionSpec UsernsOption(int id) {
  return Value(id, "userns", 0, "auto|single|subuid",
               "single: one id, your own; subuid: also those of /etc/subuid, so that chown and "
               "dpkg work; auto: what the layers' owners need (default: auto)");
}

// Shared by run and shell.
inline constexpr OptionSpec kRunOptions[] = {
    Value(kBind, "bind", 0, "SRC[:DST[:ro|cow]]",
          "show a host file or directory; ro: read-only, cow: writes go to the scratch")
        .Repeatable()
        .Group("What the command sees"),
    Value(kTmpfs, "tmpfs", 0, "DST[:SIZE]", "an empty directory in memory").Repeatable(),
    Value(kCache, "cache", 0, "NAME:DST",
          "a directory that is kept between runs, for one run at a time: ccache, pip ...")
        .Repeatable(),
    Flag(kReadOnly, "read-only", 0, "a root that cannot be written to"),
    Value(kChdir, "chdir", 0, "DIR", "where the command starts (default: /)"),
    Value(kEnv, "env", 'e', "K[=V]", "set a variable, or pass on the caller's").Repeatable(),
    Flag(kClearEnv, "clear-env", 0, "leave out the default variables too"),
    LayersFromOption(kLayersFrom),
    IntegrateOption(kIntegrate),
    OnConflictOption(kOnConflict),
    Value(kHostname, "hostname", 0, "NAME", "the name of the host inside (default: strata)"),
    Value(kNet, "net", 0, "none|host",
          "host: the host's network, resolv.conf and hosts (default: loopback only)"),

    Value(kOutput, "output", 'o', "PATH[=HOSTDIR]",
          "an empty directory at PATH that HOSTDIR, or with --capture the new layer, receives")
        .Group("What becomes of what it writes"),
    Value(kCapture, "capture", 'c', "REF",
          "make a layer of --output's content, else of all that the command changed"),
    Flag(kCaptureFailed, "capture-failed", 0, "capture also when the command fails"),
    Value(kMtime, "mtime", 0, "keep|EPOCH",
          "modification time of what is captured (default: $SOURCE_DATE_EPOCH, else keep)"),
    Value(kWorkspace, "workspace", 'w', "NAME", "keep the changes for the next run with this name"),
    Value(kScratch, "scratch", 0, "DIR|tmpfs[:SIZE]",
          "where changes are kept meanwhile; tmpfs: in memory (default: in the store)"),
    Flag(kKeepFailed, "keep-failed", 0,
         "when the command fails, keep its changes and say how to look at them"),
    Flag(kTty, "tty", 't',
         "give the command a terminal of its own, as `strata shell` does where standard input is "
         "one"),
    Flag(kDieWithParent, "die-with-parent", 0,
         "be killed when the process that started strata dies, and the sandbox with it"),
    Value(kStats, "stats", 0, "FILE", "write what happened and how long it took, as JSON"),

    Value(
        kMemory, "memory", 0, "SIZE",
        "memory and swap for all of it, by a cgroup; where none can be had (see `strata doctor`), "
        "data for each process by itself")
        .Group("What it may do"),
    Value(kPids, "pids", 0, "N", "processes and threads at a time (default: 32768)"),
    Value(kCpus, "cpus", 0, "X",
          "processor time, as 1.5; without a cgroup, a whole number of processors, rounded up"),
    Value(kTimeout, "timeout", 0, "TIME",
          "end everything after TIME: SIGTERM, then SIGKILL; exit status 124"),
    Value(kGrace, "grace", 0, "TIME", "how long after that SIGTERM the SIGKILL comes (default: 10s)"),
    Value(kUid, "uid", 0, "ID", "the user to be in the sandbox (default: 0)"),
    Value(kGid, "gid", 0, "ID", "the group to be in the sandbox (default: 0)"),
    UsernsOption(kUserns),
    Value(kChown, "chown", 0, "fail|ignore",
          "ignore: changing an owner to one that cannot be had succeeds and does nothing"),
    Value(kSeccomp, "seccomp", 0, "build|none|FILE",
          "the filter of system calls; FILE: a compiled BPF program (default: build)"),
    Value(kCapAdd, "cap-add", 0, "CAP", "allow one more capability, or ALL").Repeatable(),
    Value(kCapDrop, "cap-drop", 0, "CAP", "deny a capability, or ALL").Repeatable(),
    Flag(kNestedUserns, "nested-userns", 0, "allow namespaces and mounts inside"),
    kQuietOption,
};

// What `run` and `shell` have besides.
struct RunCommandLine : RunRequest {
  LayerArgs layers;
  std::vector<std::string> argv;  // empty for a shell
  std::vector<std::string> integration;
  std::optional<ConflictPolicy> on_conflict;
  std::string stats_file;
  bool tty = false;
  bool die_with_parent = false;
};

// The value of an OnConflictOption, of an IntegrateOption, of a UsernsOption.
Result<ConflictPolicy> ParseConflictPolicy(const ParsedOption& option);
Result<std::string> ParseIntegration(const ParsedOption& option);
Result<Userns> ParseUserns(const ParsedOption& option);

// Checks what can be checked from the command line alone.
Result<RunCommandLine> ParseRunOptions(const ParsedArgs& args);

}  // namespace strata
