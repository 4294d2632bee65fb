// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/options.h"

#include <strings.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/sys.h"
#include "tools/strata-bwrap/input.h"
#include "tools/strata-bwrap/message.h"
#include "tools/strata-bwrap/store_layers.h"

namespace strata::bwrap {
namespace {

constexpr int kMaxArguments = 9000;  // as many as bubblewrap takes, files included
constexpr size_t kMaxTmpfsSize = SIZE_MAX >> 1;

struct Parser {
  Options& options;
  const char* argv0;
  int total = 0;
  bool in_file = false;
  // Modifiers, which wait for the option that they modify.
  int perms = -1;
  size_t size = 0;
  std::vector<const char*> sources = {};  // --overlay-src and --layer
  const char* name = nullptr;             // of the option in hand

  Operation& Add(Operation::Kind kind, const char* target) {
    Operation& operation = options.operations.emplace_back();
    operation.kind = kind;
    operation.target = target;
    return operation;
  }
  int TakePerms(int standard) {
    int taken = perms >= 0 ? perms : standard;
    perms = -1;
    return taken;
  }
};

using Words = const char* const*;

long Number(const char* text, const char* what) {
  char* end;
  const long value = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 0 || value > INT32_MAX)
    Die("Invalid %s: %s", what, text);
  return value;
}

int Fd(const char* text) {
  return static_cast<int>(Number(text, "fd"));
}

void WarnOnlyLast(const Parser& parser) {
  Warn("Only the last %s option will take effect", parser.name);
}

void SetFd(Parser& parser, int* fd, const char* text) {
  if (*fd >= 0) WarnOnlyLast(parser);
  *fd = Fd(text);
}

void SetText(Parser& parser, const char** to, const char* text) {
  if (*to != nullptr) WarnOnlyLast(parser);
  *to = text;
}

int Octal(const Parser& parser, const char* text) {
  char* end;
  const unsigned long value = std::strtoul(text, &end, 8);
  if (*text == '\0' || *end != '\0' || value > 07777) {
    Die("%s takes an octal argument <= 07777", parser.name);
  }
  return static_cast<int>(value);
}

void AddBind(Parser& parser, Words words, bool read_only, bool devices, bool optional) {
  Operation& operation = parser.Add(Operation::Kind::kBind, words[1]);
  operation.source = words[0];
  operation.read_only = read_only;
  operation.devices = devices;
  operation.optional = optional;
}

void AddBindFd(Parser& parser, Words words, bool read_only) {
  const int fd = Fd(words[0]);
  Operation& operation = parser.Add(Operation::Kind::kBind, words[1]);
  operation.fd = fd;
  operation.read_only = read_only;
}

void AddData(Parser& parser, Operation::Kind kind, Words words, bool read_only, int perms) {
  const int fd = Fd(words[0]);
  Operation& operation = parser.Add(kind, words[1]);
  operation.fd = fd;
  operation.read_only = read_only;
  operation.mode = parser.TakePerms(perms);
}

Operation& AddOverlay(Parser& parser, const char* target, size_t least, const char* least_text) {
  if (parser.sources.size() < least) {
    Die("%s requires at least %s --overlay-src", parser.name, least_text);
  }
  Options& options = parser.options;
  Operation& operation = parser.Add(Operation::Kind::kOverlay, target);
  operation.first_layer = options.layers.size();
  operation.layer_count = parser.sources.size();
  options.layers.insert(options.layers.end(), parser.sources.begin(), parser.sources.end());
  parser.sources.clear();
  return operation;
}

void SetSize(Parser& parser, const char* text) {
  if (parser.size != 0) Die("--size given twice for the same action");
  char* end;
  errno = 0;
  const unsigned long long size = std::strtoull(text, &end, 0);
  // The first character: strtoull takes a sign and spaces.
  if (errno != 0 || std::isdigit(static_cast<unsigned char>(*text)) == 0 || *end != '\0' ||
      size == 0) {
    Die("--size takes a non-zero number of bytes");
  }
  if (size > kMaxTmpfsSize) Die("--size (for tmpfs) is limited to %zu", kMaxTmpfsSize);
  parser.size = size;
}

void ChangeCapability(Options& options, const char* name, bool add) {
  options.capabilities_given = true;
  uint64_t mask = ~uint64_t{0};
  if (::strcasecmp(name, "ALL") != 0) {
    cap_value_t value;
    if (::cap_from_name(name, &value) < 0 || value < 0 || value > 63) Die("unknown cap: %s", name);
    mask = uint64_t{1} << value;
  }
  options.capabilities = add ? options.capabilities | mask : options.capabilities & ~mask;
}

void AddFilter(Options& options, const char* text) {
  const int fd = Fd(text);
  auto* data = new FilterData;
  sock_fprog filter = ReadFilter(fd, data);
  ::close(fd);
  auto* code = new sock_filter[filter.len];
  std::memcpy(code, data->code, filter.len * sizeof *code);
  delete data;
  filter.filter = code;
  options.filters.push_back(filter);
}

// setenv and its relatives fail for names with '=' only.
void ChangeEnvironment(int failed, const char* call) {
  if (failed != 0) DieWith(errno, "%s failed", call);
}

// Labels need SELinux, whose library strata-bwrap does without.
[[noreturn]] void RefuseLabel(Parser&, Words) {
  Die("labeling not supported on this system");
}

void ParseFile(Parser& parser, const char* fd);

struct Spec {
  const char* name;
  int words;
  void (*apply)(Parser&, Words);
  const char* lacking = nullptr;  // in place of "an argument"
};

using Kind = Operation::Kind;

constexpr Spec kSpecs[] = {
    {"--ro-bind", 2, [](Parser& p, Words w) { AddBind(p, w, true, false, false); }},
    {"--bind", 2, [](Parser& p, Words w) { AddBind(p, w, false, false, false); }},
    {"--dev-bind", 2, [](Parser& p, Words w) { AddBind(p, w, false, true, false); }},
    {"--ro-bind-try", 2, [](Parser& p, Words w) { AddBind(p, w, true, false, true); }},
    {"--bind-try", 2, [](Parser& p, Words w) { AddBind(p, w, false, false, true); }},
    {"--dev-bind-try", 2, [](Parser& p, Words w) { AddBind(p, w, false, true, true); }},
    {"--bind-fd", 2, [](Parser& p, Words w) { AddBindFd(p, w, false); }},
    {"--ro-bind-fd", 2, [](Parser& p, Words w) { AddBindFd(p, w, true); }},
    {"--overlay-src", 1, [](Parser& p, Words w) { p.sources.push_back(w[0]); }},
    {"--layer", 1,
     [](Parser& p, Words w) { p.sources.push_back(OpenStoreLayer(w[0], &p.options.leases)); }},
    {"--setenv", 2, [](Parser&, Words w) { ChangeEnvironment(::setenv(w[0], w[1], 1), "setenv"); }},
    {"--unsetenv", 1, [](Parser&, Words w) { ChangeEnvironment(::unsetenv(w[0]), "unsetenv"); }},
    {"--clearenv", 0, [](Parser&, Words) { ChangeEnvironment(::clearenv(), "clearenv"); }},
    {"--symlink", 2, [](Parser& p, Words w) { p.Add(Kind::kSymlink, w[1]).source = w[0]; }},
    {"--dir", 1,
     [](Parser& p, Words w) { p.Add(Kind::kDirectory, w[0]).mode = p.TakePerms(0755); }},
    {"--file", 2, [](Parser& p, Words w) { AddData(p, Kind::kFile, w, false, 0666); }},
    {"--bind-data", 2, [](Parser& p, Words w) { AddData(p, Kind::kBindData, w, false, 0600); }},
    {"--ro-bind-data", 2, [](Parser& p, Words w) { AddData(p, Kind::kBindData, w, true, 0600); }},
    {"--tmpfs", 1,
     [](Parser& p, Words w) {
       Operation& operation = p.Add(Kind::kTmpfs, w[0]);
       operation.mode = p.TakePerms(0755);
       operation.size = p.size;
       p.size = 0;
     }},
    {"--proc", 1, [](Parser& p, Words w) { p.Add(Kind::kProc, w[0]); }},
    {"--dev", 1,
     [](Parser& p, Words w) {
       p.Add(Kind::kDev, w[0]);
       p.options.needs_devpts = true;
     }},
    {"--mqueue", 1, [](Parser& p, Words w) { p.Add(Kind::kMqueue, w[0]); }},
    {"--remount-ro", 1, [](Parser& p, Words w) { p.Add(Kind::kRemountReadOnly, w[0]); },
     "one argument"},
    {"--chmod", 2,
     [](Parser& p, Words w) {
       const int mode = Octal(p, w[0]);
       p.Add(Kind::kChmod, w[1]).mode = mode;
     }},
    {"--overlay", 3,
     [](Parser& p, Words w) {
       Operation& operation = AddOverlay(p, w[2], 1, "one");
       operation.upper = w[0];
       operation.work = w[1];
     }},
    {"--tmp-overlay", 1, [](Parser& p, Words w) { AddOverlay(p, w[0], 1, "one").scratch = true; }},
    {"--ro-overlay", 1, [](Parser& p, Words w) { AddOverlay(p, w[0], 2, "two"); }},
    {"--perms", 1,
     [](Parser& p, Words w) {
       if (p.perms >= 0) Die("--perms given twice for the same action");
       p.perms = Octal(p, w[0]);
     }},
    {"--size", 1, [](Parser& p, Words w) { SetSize(p, w[0]); }},
    {"--hostname", 1,
     [](Parser& p, Words w) {
       SetText(p, &p.options.hostname, w[0]);
       p.Add(Kind::kHostname, w[0]);
     }},
    {"--chdir", 1, [](Parser& p, Words w) { SetText(p, &p.options.chdir, w[0]); }, "one argument"},
    {"--argv0", 1,
     [](Parser& p, Words w) {
       if (p.options.argv0 != nullptr) Die("--argv0 used multiple times");
       p.options.argv0 = w[0];
     },
     "one argument"},
    {"--args", 1, [](Parser& p, Words w) { ParseFile(p, w[0]); }},
    {"--unshare-all", 0,
     [](Parser& p, Words) {
       Options& o = p.options;
       o.unshare_user_try = o.unshare_ipc = o.unshare_pid = o.unshare_uts = true;
       o.unshare_cgroup_try = o.unshare_net = true;
     }},
    {"--unshare-user", 0, [](Parser& p, Words) { p.options.unshare_user = true; }},
    {"--unshare-user-try", 0, [](Parser& p, Words) { p.options.unshare_user_try = true; }},
    {"--unshare-ipc", 0, [](Parser& p, Words) { p.options.unshare_ipc = true; }},
    {"--unshare-pid", 0, [](Parser& p, Words) { p.options.unshare_pid = true; }},
    {"--unshare-net", 0, [](Parser& p, Words) { p.options.unshare_net = true; }},
    {"--unshare-uts", 0, [](Parser& p, Words) { p.options.unshare_uts = true; }},
    {"--unshare-cgroup", 0, [](Parser& p, Words) { p.options.unshare_cgroup = true; }},
    {"--unshare-cgroup-try", 0, [](Parser& p, Words) { p.options.unshare_cgroup_try = true; }},
    {"--share-net", 0, [](Parser& p, Words) { p.options.unshare_net = false; }},
    {"--userns", 1, [](Parser& p, Words w) { SetFd(p, &p.options.userns_fd, w[0]); }},
    {"--userns2", 1, [](Parser& p, Words w) { SetFd(p, &p.options.userns2_fd, w[0]); }},
    {"--pidns", 1, [](Parser& p, Words w) { SetFd(p, &p.options.pidns_fd, w[0]); }},
    {"--disable-userns", 0, [](Parser& p, Words) { p.options.disable_userns = true; }},
    {"--assert-userns-disabled", 0,
     [](Parser& p, Words) { p.options.assert_userns_disabled = true; }},
    {"--uid", 1,
     [](Parser& p, Words w) {
       if (p.options.uid >= 0) WarnOnlyLast(p);
       p.options.uid = Number(w[0], "uid");
     }},
    {"--gid", 1,
     [](Parser& p, Words w) {
       if (p.options.gid >= 0) WarnOnlyLast(p);
       p.options.gid = Number(w[0], "gid");
     }},
    {"--lock-file", 1, [](Parser& p, Words w) { p.options.lock_files.push_back(w[0]); }},
    {"--sync-fd", 1, [](Parser& p, Words w) { SetFd(p, &p.options.sync_fd, w[0]); }},
    {"--block-fd", 1, [](Parser& p, Words w) { SetFd(p, &p.options.block_fd, w[0]); }},
    {"--userns-block-fd", 1,
     [](Parser& p, Words w) { SetFd(p, &p.options.userns_block_fd, w[0]); }},
    {"--info-fd", 1, [](Parser& p, Words w) { SetFd(p, &p.options.info_fd, w[0]); }},
    {"--json-status-fd", 1, [](Parser& p, Words w) { SetFd(p, &p.options.json_status_fd, w[0]); }},
    {"--seccomp", 1,
     [](Parser& p, Words w) {
       if (!p.options.filters.empty()) Die("--seccomp cannot be combined with --add-seccomp-fd");
       SetFd(p, &p.options.seccomp_fd, w[0]);
     }},
    {"--add-seccomp-fd", 1,
     [](Parser& p, Words w) {
       if (p.options.seccomp_fd >= 0) Die("--add-seccomp-fd cannot be combined with --seccomp");
       AddFilter(p.options, w[0]);
     }},
    {"--cap-add", 1, [](Parser& p, Words w) { ChangeCapability(p.options, w[0], true); }},
    {"--cap-drop", 1, [](Parser& p, Words w) { ChangeCapability(p.options, w[0], false); }},
    {"--new-session", 0, [](Parser& p, Words) { p.options.new_session = true; }},
    {"--die-with-parent", 0, [](Parser& p, Words) { p.options.die_with_parent = true; }},
    {"--as-pid-1", 0, [](Parser& p, Words) { p.options.as_pid_1 = true; }},
    {"--not-a-security-boundary", 0,
     [](Parser& p, Words) { p.options.not_a_security_boundary = true; }},
    {"--exec-label", 1, RefuseLabel},
    {"--file-label", 1, RefuseLabel},
    {"--level-prefix", 0, [](Parser&, Words) { level_prefix = true; }},
    {"--version", 0, [](Parser&, Words) { PrintVersion(); }},
    {"--help", 0, [](Parser& p, Words) { PrintHelp(p.argv0); }},
};

const Spec* Find(const char* name) {
  for (const Spec& spec : kSpecs) {
    if (std::strcmp(spec.name, name) == 0) return &spec;
  }
  return nullptr;
}

[[noreturn]] void DieOfLooseSources() {
  Die("--overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, "
      "or --ro-overlay");
}

// What waits for the next option got one that has no use for it.
void CheckModifiers(const Parser& parser) {
  const char* name = parser.name;
  const bool modifier = std::strcmp(name, "--perms") == 0 || std::strcmp(name, "--size") == 0;
  if (!modifier && parser.perms >= 0) {
    Die("--perms must be followed by an option that creates a file");
  }
  if (!modifier && parser.size != 0) Die("--size must be followed by --tmpfs");
  if (!parser.sources.empty() && std::strcmp(name, "--overlay-src") != 0 &&
      std::strcmp(name, "--layer") != 0) {
    DieOfLooseSources();
  }
}

// Returns how many words were options.
size_t ParseWords(Parser& parser, Words words, size_t count) {
  size_t at = 0;
  while (at < count) {
    const char* name = words[at];
    if (std::strcmp(name, "--") == 0) return at + 1;
    if (*name != '-') return at;
    const Spec* spec = Find(name);
    if (spec == nullptr) Die("Unknown option %s", name);
    if (count - at - 1 < static_cast<size_t>(spec->words)) {
      static constexpr const char* kLacking[] = {"", "an argument", "two arguments",
                                                 "three arguments"};
      Die("%s takes %s", name, spec->lacking != nullptr ? spec->lacking : kLacking[spec->words]);
    }
    parser.name = spec->name;
    spec->apply(parser, words + at + 1);
    parser.name = spec->name;
    CheckModifiers(parser);
    at += 1 + static_cast<size_t>(spec->words);
  }
  return at;
}

void ParseFile(Parser& parser, const char* fd_text) {
  if (parser.in_file) Die("--args not supported in arguments file");
  const int fd = Fd(fd_text);
  const DataText data = ReadData(fd, "Can't read --args data");
  ::close(fd);
  std::vector<const char*> words;
  for (const char* at = data.text; at < data.text + data.size; at += std::strlen(at) + 1) {
    if (++parser.total > kMaxArguments) {
      Die("Exceeded maximum number of arguments %d", kMaxArguments);
    }
    words.push_back(at);
  }
  parser.in_file = true;
  ParseWords(parser, words.data(), words.size());
  parser.in_file = false;
}

// By trying would be dearer: where user namespaces are off, the caller wants to go on without one.
bool UserNamespacesAreOn() {
  if (::access("/proc/self/ns/user", F_OK) != 0) return false;
  const int fd = sys::OpenAt(AT_FDCWD, "/proc/sys/user/max_user_namespaces", O_RDONLY);
  if (fd < 0) return true;
  char text[3] = {};
  sys::Read(fd, text, 2);
  ::close(fd);
  return std::strcmp(text, "0\n") != 0;
}

void CheckTogether(Options& o) {
  const int64_t uid = ::getuid();
  const int64_t gid = ::getgid();
  if (o.userns_block_fd >= 0 && !o.unshare_user) Die("--userns-block-fd requires --unshare-user");
  if (o.userns_block_fd >= 0 && o.info_fd < 0) Die("--userns-block-fd requires --info-fd");
  if (o.userns_fd >= 0 && o.unshare_user) Die("--userns not compatible --unshare-user");
  if (o.userns_fd >= 0 && o.unshare_user_try) Die("--userns not compatible --unshare-user-try");
  if (o.disable_userns && !o.unshare_user) Die("--disable-userns requires --unshare-user");
  if (o.disable_userns && o.userns_block_fd >= 0) {
    Die("--disable-userns is not compatible with  --userns-block-fd");
  }
  // An ordinary user can do nothing without one.
  if (uid != 0 && o.userns_fd < 0) o.unshare_user = true;
  if (o.unshare_user_try && !o.unshare_user) o.unshare_user = UserNamespacesAreOn();

  const bool own_ids = o.unshare_user || o.userns_fd >= 0;
  if (o.uid < 0) o.uid = uid;
  if (o.gid < 0) o.gid = gid;
  if (!own_ids && o.uid != uid) Die("Specifying --uid requires --unshare-user or --userns");
  if (!own_ids && o.gid != gid) Die("Specifying --gid requires --unshare-user or --userns");
  if (!o.unshare_uts && o.hostname != nullptr) Die("Specifying --hostname requires --unshare-uts");
  if (o.as_pid_1 && !o.unshare_pid) Die("Specifying --as-pid-1 requires --unshare-pid");
  if (o.as_pid_1 && !o.lock_files.empty()) {
    Die("Specifying --as-pid-1 and --lock-file is not permitted");
  }
  if (o.as_pid_1 && !o.leases.empty()) Die("Specifying --as-pid-1 and --layer is not permitted");
}

void CheckCgroupNamespace(Options& o) {
  if (!o.unshare_cgroup && !o.unshare_cgroup_try) return;
  const bool there = ::access("/proc/self/ns/cgroup", F_OK) == 0;
  if (o.unshare_cgroup && !there) {
    if (errno != ENOENT) DieWith(errno, "stat on /proc/self/ns/cgroup failed");
    Die("Cannot create new cgroup namespace because the kernel does not support it");
  }
  o.unshare_cgroup = there;
}

}  // namespace

void ParseOptions(int argc, char** argv, uint64_t capabilities, Options* options) {
  options->capabilities = capabilities;
  const char* argv0 = argc > 0 ? argv[0] : "bwrap";
  Parser parser{.options = *options, .argv0 = argv0};
  if (argc <= 1) PrintUsageError(argv0);
  parser.total = argc - 1;
  if (parser.total > kMaxArguments) Die("Exceeded maximum number of arguments %d", kMaxArguments);
  const size_t used = ParseWords(parser, argv + 1, static_cast<size_t>(argc) - 1);
  if (!parser.sources.empty()) DieOfLooseSources();
  CloseStore();
  options->command = argv + 1 + used;
  CheckTogether(*options);
  if (*options->command == nullptr) PrintUsageError(argv0);
  CheckCgroupNamespace(*options);
}

}  // namespace strata::bwrap
