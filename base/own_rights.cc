// SPDX-License-Identifier: Apache-2.0
#include "base/own_rights.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "base/io.h"
#include "base/process.h"
#include "base/sys.h"

namespace strata {
namespace {

Result<void> WriteMap(const char* path, const std::string& text) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
  return WriteAll(fd.get(), text, path);
}

Result<void> EnterNamespace(uid_t uid, gid_t gid) {
  STRATA_TRY(sys::Check(sys::Unshare(CLONE_NEWUSER), "unshare", "user namespace"));
  STRATA_TRY(WriteMap("/proc/self/setgroups", "deny"));
  STRATA_TRY(WriteMap("/proc/self/uid_map", fmt::format("{0} {0} 1\n", uid)));
  return WriteMap("/proc/self/gid_map", fmt::format("{0} {0} 1\n", gid));
}

// code, errno, message and hint, each ended by NUL; nothing for success.
std::string Describe(const Error& error) {
  std::string text = fmt::format("{}", static_cast<int>(error.code()));
  text += '\0';
  text += fmt::format("{}", error.sys_errno());
  text += '\0';
  text += error.message();
  text += '\0';
  text += error.hint();
  text += '\0';
  return text;
}

Error Understand(const std::string& text) {
  std::string fields[4];
  size_t at = 0;
  for (std::string& field : fields) {
    size_t end = text.find('\0', at);
    if (end == std::string::npos) return {Errc::kSystem, "a child process ended early"};
    field = text.substr(at, end - at);
    at = end + 1;
  }
  const int sys_errno = std::atoi(fields[1].c_str());
  Error error(static_cast<Errc>(std::atoi(fields[0].c_str())), fields[2]);
  const size_t reason = Error::Sys(sys_errno, "").message().size();
  if (sys_errno != 0 && fields[2].size() > reason) {  // its text ends with the reason
    error = Error::Sys(sys_errno, fields[2].substr(0, fields[2].size() - reason));
  }
  return fields[3].empty() ? error : std::move(error).Hint(std::move(fields[3]));
}

}  // namespace

Result<void> RunWithOwnRights(const std::function<Result<void>()>& work) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  STRATA_ASSIGN(Pipe report, MakePipe());
  pid_t pid = ::fork();  // glibc's, so that the child has a heap that works
  if (pid < 0) return FailSys(errno, "fork");
  if (pid == 0) {
    sys::Prctl(PR_SET_PDEATHSIG, SIGKILL);
    Result<void> done = EnterNamespace(uid, gid);
    if (done) done = work();
    if (!done) static_cast<void>(WriteAll(report.write.get(), Describe(done.error()), "report"));
    sys::ExitNow(0);
  }
  Process child(pid, UniqueFd());
  report.write.reset();
  STRATA_ASSIGN(std::string text, ReadAll(report.read.get(), "report"));
  STRATA_ASSIGN(ExitStatus status, child.Wait());
  if (status.ShellCode() != 0) return Fail(Errc::kSystem, "a child process was killed");
  if (text.empty()) return {};
  return Unexpected(Understand(text));
}

}  // namespace strata
