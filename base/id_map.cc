// SPDX-License-Identifier: Apache-2.0
#include "base/id_map.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/helper_program.h"
#include "base/io.h"
#include "base/own_thread.h"
#include "base/process.h"
#include "base/subordinate_ids.h"
#include "base/sys.h"

namespace strata {
namespace {

bool Has(const std::vector<IdRange>& ranges, uint32_t id) {
  return std::any_of(ranges.begin(), ranges.end(), [id](const IdRange& range) {
    return id >= range.inside && id - range.inside < range.count;
  });
}

std::string ReadIfThere(const char* path) {
  auto text = ReadFile(AT_FDCWD, path);
  return text ? std::move(*text) : std::string();
}

Result<std::string> FindHelper(const char* name) {
  std::string program = FindProgram(name);
  if (program.empty()) return Fail(Errc::kUnsupported, "{}: not found in PATH", name);
  return program;
}

struct IdKind {
  const char* map;     // in /proc/PID
  const char* ranges;  // who may have which
  const char* helper;
};
constexpr IdKind kUids = {"uid_map", "/etc/subuid", "newuidmap"};
constexpr IdKind kGids = {"gid_map", "/etc/subgid", "newgidmap"};

std::vector<IdRange> CurrentMap(const IdKind& kind) {
  return ParseIdMap(ReadIfThere(fmt::format("/proc/self/{}", kind.map).c_str()));
}

// For root, who needs nobody's leave: the ids as they are, as podman run by root has them. Lines
// for root in /etc/subuid do not count: with one, the same trees would have other owners on another
// machine.
Result<std::vector<IdRange>> RootRanges(const IdKind& kind) {
  std::vector<IdRange> map = IdentityRanges(CurrentMap(kind));
  if (map.size() > 1 || (map.size() == 1 && map[0].count > 1)) return map;
  return Unexpected(
      Error(Errc::kNotFound, "this user namespace has one id only")
          .Hint("start the container, or what made the namespace, with a range of ids"));
}

// Both files name the owner by the user's name or uid.
Result<std::vector<IdRange>> UserRanges(const IdKind& kind, const std::string& name, uint32_t own) {
  std::vector<IdRange> ranges = ParseSubordinateRanges(ReadIfThere(kind.ranges), name, ::getuid());
  std::vector<IdRange> map = JoinSubordinateRanges(own, ranges, CurrentMap(kind));
  if (map.size() > 1) return map;
  return Fail(Errc::kNotFound, "{} has no range for {}", kind.ranges,
              name.empty() ? std::to_string(::getuid()) : name);
}

// By newuidmap, and from what /etc/subuid and /etc/subgid say.
Result<IdMapping> UserIds(const std::string& name) {
  IdMapping mapping;
  STRATA_ASSIGN(mapping.uids, UserRanges(kUids, name, ::geteuid()));
  STRATA_ASSIGN(mapping.gids, UserRanges(kGids, name, ::getegid()));
  for (const IdKind& kind : {kUids, kGids}) STRATA_TRY(FindHelper(kind.helper));
  return mapping;
}

// Whether the kernel let us. EPERM means that newuidmap must do it.
Result<bool> WriteMap(pid_t pid, const IdKind& kind, const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges) {
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  }
  const std::string path = fmt::format("/proc/{}/{}", pid, kind.map);
  STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
  const int64_t rc = sys::Write(fd.get(), text.data(), text.size());
  if (rc == -EPERM && (ranges.size() > 1 || ranges[0].count > 1)) return false;
  if (rc < 0) return FailSys(static_cast<int>(-rc), "write", path);
  return true;
}

Result<void> DenySetgroups(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/setgroups", pid);
  STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
  return WriteAll(fd.get(), "deny", path);
}

Result<HelperProgram> StartHelper(pid_t pid, const IdKind& kind,
                                  const std::vector<IdRange>& ranges) {
  STRATA_ASSIGN(std::string program, FindHelper(kind.helper));
  std::vector<std::string> words = {std::move(program), std::to_string(pid)};
  for (const IdRange& range : ranges) {
    for (uint32_t number : {range.inside, range.outside, range.count}) {
      words.push_back(std::to_string(number));
    }
  }
  return HelperProgram::Start(std::move(words), {});
}

Result<void> Finish(HelperProgram& helper, const IdKind& kind) {
  if (!helper.running()) return {};
  STRATA_ASSIGN(HelperProgram::End end, helper.Wait());
  if (end.status == 0) return {};
  const std::string prefix = std::string(kind.helper) + ": ";
  if (end.words.starts_with(prefix)) end.words.erase(0, prefix.size());
  if (end.words.empty()) end.words = fmt::format("failed with status {}", end.status);
  return Unexpected(
      Error(Errc::kUnsupported, prefix + end.words)
          .Hint(fmt::format("{} must be setuid root or have file capabilities, and {} must have a "
                            "line for you; `strata doctor` says more",
                            kind.helper, kind.ranges)));
}

// What the child has to say in the end: a mark, so that silence means that it was killed, and for a
// failure its code, errno, message and hint, each ended by NUL.
constexpr char kDone = '.';

std::string Describe(const Result<void>& done) {
  std::string text(1, kDone);
  if (done) return text;
  const Error& error = done.error();
  text += fmt::format("{}", static_cast<int>(error.code()));
  text += '\0';
  text += fmt::format("{}", error.sys_errno());
  text += '\0';
  text += error.message();
  text += '\0';
  text += error.hint();
  text += '\0';
  return text;
}

Result<void> Understand(const std::string& text) {
  if (text.empty()) return Fail(Errc::kSystem, "a child process was killed");
  if (text.size() == 1) return {};
  std::string fields[4];
  size_t at = 1;
  for (std::string& field : fields) {
    size_t end = text.find('\0', at);
    if (end == std::string::npos) return Fail(Errc::kSystem, "a child process ended early");
    field = text.substr(at, end - at);
    at = end + 1;
  }
  const int sys_errno = std::atoi(fields[1].c_str());
  Error error(static_cast<Errc>(std::atoi(fields[0].c_str())), fields[2]);
  const size_t reason = Error::Sys(sys_errno, "").message().size();
  if (sys_errno != 0 && fields[2].size() > reason) {  // its text ends with the reason
    error = Error::Sys(sys_errno, fields[2].substr(0, fields[2].size() - reason));
  }
  return Unexpected(fields[3].empty() ? error : std::move(error).Hint(std::move(fields[3])));
}

// In the child: `ready` tells that the namespace is there, `go` that it has its ids.
Result<void> EnterNamespace(int ready, int go) {
  STRATA_TRY(sys::Check(sys::Unshare(CLONE_NEWUSER), "unshare", "user namespace"));
  sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte = 0;
  STRATA_TRY(WriteAll(ready, std::string_view(&byte, 1), "pipe"));
  if (sys::Read(go, &byte, 1) != 1)
    sys::ExitNow(0);  // nobody is left, or it failed: the parent knows
  return {};
}

}  // namespace

bool IdMapping::IsSingle() const {
  return uids.size() == 1 && uids[0].count == 1 && gids.size() == 1 && gids[0].count == 1;
}
bool IdMapping::HasUid(uint32_t inside) const {
  return Has(uids, inside);
}
bool IdMapping::HasGid(uint32_t inside) const {
  return Has(gids, inside);
}

IdMapping SingleId(uint32_t uid, uint32_t gid) {
  return {{{uid, ::geteuid(), 1}}, {{gid, ::getegid(), 1}}};
}

Result<IdMapping> SubordinateIds() {
  if (::geteuid() == 0) {
    IdMapping mapping;
    STRATA_ASSIGN(mapping.uids, RootRanges(kUids));
    STRATA_ASSIGN(mapping.gids, RootRanges(kGids));
    return mapping;
  }
  std::string name = FindUserName(ReadIfThere("/etc/passwd"), ::getuid());
  // Of a user who is known elsewhere (LDAP). It may be a lie: newuidmap looks for itself.
  const char* login = std::getenv("LOGNAME");
  if (name.empty() && login != nullptr) name = login;
  Result<IdMapping> found = UserIds(name);
  if (!found) {
    return Unexpected(std::move(found).error().Hint(
        fmt::format("it takes newuidmap and newgidmap (apt install uidmap), and a line such as "
                    "{}:100000:65536, of ids that nobody else has, in /etc/subuid and /etc/subgid",
                    name.empty() ? std::to_string(::getuid()) : name)));
  }
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
    return Unexpected(
        Error(Errc::kUnsupported, "newuidmap cannot get its privileges: no_new_privs is set")
            .Hint("what started strata forbids setuid programs: a container, a sandbox, or "
                  "NoNewPrivileges= of a service"));
  }
  return found;
}

Result<void> WriteIdMaps(pid_t pid, const IdMapping& mapping) {
  HelperProgram uids;
  HelperProgram gids;
  STRATA_ASSIGN(bool uids_written, WriteMap(pid, kUids, mapping.uids));
  if (!uids_written) {
    STRATA_ASSIGN(uids, StartHelper(pid, kUids, mapping.uids));
  }
  // Without it the kernel lets nobody but root map a gid. With a range, newgidmap decides.
  if (mapping.gids.size() == 1 && mapping.gids[0].count == 1) STRATA_TRY(DenySetgroups(pid));
  STRATA_ASSIGN(bool gids_written, WriteMap(pid, kGids, mapping.gids));
  if (!gids_written) {
    STRATA_ASSIGN(gids, StartHelper(pid, kGids, mapping.gids));
  }
  STRATA_TRY(Finish(uids, kUids));
  return Finish(gids, kGids);
}

namespace {

// The child's part. Never returns: what is below on the stack is the caller's, and may be
// anybody's.
[[noreturn]] void WorkAndReport(const std::function<Result<void>()>& work, int ready, int go,
                                int report) noexcept {
  sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Result<void> done = EnterNamespace(ready, go);
    if (done) done = work();
    static_cast<void>(WriteAll(report, Describe(done), "report"));
  } catch (const std::exception&) {
    static_cast<void>(WriteAll(report, Describe(Fail(Errc::kSystem, "out of memory")), "report"));
  }
  sys::ExitNow(0);
}

}  // namespace

Result<void> RunInMapping(const IdMapping& mapping, const std::function<Result<void>()>& work) {
  STRATA_ASSIGN(Pipe report, MakePipe());
  STRATA_ASSIGN(Pipe ready, MakePipe());
  STRATA_ASSIGN(Pipe go, MakePipe());
  pid_t pid;
  {
    SignalsBlocked blocked;  // and so they stay in the child: the handlers there are the caller's
    pid = ::fork();          // glibc's, so that the child has a heap that works
    if (pid == 0) {
      ::close(go.write.get());
      ::close(report.read.get());
      WorkAndReport(work, ready.write.release(), go.read.get(), report.write.get());
    }
  }
  if (pid < 0) return FailSys(errno, "fork");
  Process child(pid, UniqueFd());
  report.write.reset();
  ready.write.reset();
  char byte = 0;
  if (sys::Read(ready.read.get(), &byte, 1) == 1) {
    STRATA_TRY_WITH(WriteIdMaps(pid, mapping), "set up user namespace");
    STRATA_TRY(WriteAll(go.write.get(), std::string_view(&byte, 1), "pipe"));
  }
  STRATA_ASSIGN(std::string text, ReadAll(report.read.get(), "report"));
  // Its report says more than its status, which is lost where the process ignores SIGCHLD.
  static_cast<void>(child.Wait());
  return Understand(text);
}

bool IsInFirstUserNamespace() {
  constexpr ino_t kFirst = 0xeffffffd;  // PROC_USER_INIT_INO, part of the kernel's interface
  struct stat st;
  return sys::FstatAt(AT_FDCWD, "/proc/self/ns/user", &st, 0) == 0 && st.st_ino == kFirst;
}

}  // namespace strata
