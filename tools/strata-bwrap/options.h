// SPDX-License-Identifier: Apache-2.0
//
// bubblewrap's command line as plain data: an ordered list of operations, and all that is said
// once.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace strata::bwrap {

// One thing to do to the new root. Strings are the caller's.
struct Operation {
  enum class Kind {
    kBind,
    kOverlay,
    kProc,
    kDev,
    kTmpfs,
    kMqueue,
    kDirectory,
    kFile,
    kBindData,
    kSymlink,
    kRemountReadOnly,
    kChmod,
    kHostname,  // target: the name
  };
  Kind kind;
  const char* target = nullptr;
  const char* source = nullptr;  // kBind: null for a bind by `fd`; kSymlink: what it says
  int fd = -1;
  int mode = -1;
  size_t size = 0;  // kTmpfs; 0: the kernel's default
  bool read_only = false;
  bool devices = false;   // kBind: device files work
  bool optional = false;  // kBind: no source, no bind
  // kOverlay: its layers in Options::layers, bottom first. Writes go to `upper`, else, with
  // `scratch`, to a tmpfs, else nowhere.
  size_t first_layer = 0;
  size_t layer_count = 0;
  const char* upper = nullptr;
  const char* work = nullptr;
  bool scratch = false;
};

struct Options {
  std::vector<Operation> operations;
  std::vector<const char*> layers;
  std::vector<const char*> lock_files;
  std::vector<int> leases;          // descriptors that keep layers of the store in place
  std::vector<sock_fprog> filters;  // --add-seccomp-fd
  char** command = nullptr;         // NULL-terminated
  const char* argv0 = nullptr;
  const char* chdir = nullptr;
  const char* hostname = nullptr;
  bool unshare_user = false;
  bool unshare_user_try = false;
  bool unshare_pid = false;
  bool unshare_ipc = false;
  bool unshare_net = false;
  bool unshare_uts = false;
  bool unshare_cgroup = false;
  bool unshare_cgroup_try = false;
  bool disable_userns = false;
  bool assert_userns_disabled = false;
  bool needs_devpts = false;
  bool new_session = false;
  bool die_with_parent = false;
  bool as_pid_1 = false;
  bool not_a_security_boundary = false;  // rather a bind that lacks something than none
  int64_t uid = -1;
  int64_t gid = -1;
  int userns_fd = -1;
  int userns2_fd = -1;
  int pidns_fd = -1;
  int sync_fd = -1;
  int block_fd = -1;
  int userns_block_fd = -1;
  int info_fd = -1;
  int json_status_fd = -1;
  int seccomp_fd = -1;  // --seccomp, read at the end of the set-up
  uint64_t capabilities = 0;
  bool capabilities_given = false;  // --cap-add or --cap-drop

  // A process stays between the monitor and the command: pid 1, or the owner of locks.
  bool has_init() const {
    return !as_pid_1 && (unshare_pid || !lock_files.empty() || !leases.empty() || sync_fd >= 0);
  }
};

// Reads the command line and checks what excludes what. `capabilities`: the caller's, which root
// keeps. Changes the environment as it is told (--setenv). Ends the process on --help, --version
// and on errors.
void ParseOptions(int argc, char** argv, uint64_t capabilities, Options* options);

[[noreturn]] void PrintHelp(const char* argv0);
[[noreturn]] void PrintUsageError(const char* argv0);
[[noreturn]] void PrintVersion();

}  // namespace strata::bwrap
