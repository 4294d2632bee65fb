// SPDX-License-Identifier: Apache-2.0
#include "base/helper_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

extern char** environ;

namespace strata {
namespace {

class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void SetSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::posix_spawnattr_setsigmask(&attributes_, &set);
    ::sigfillset(&set);
    ::posix_spawnattr_setsigdefault(&attributes_, &set);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  void SetDescriptors(int words, const HelperProgram::Setup& setup) {
    if (setup.directory >= 0) {
      ::posix_spawn_file_actions_addfchdir_np(&actions_, setup.directory);
    }
    ::posix_spawn_file_actions_adddup2(&actions_, words, 2);
    if (setup.kept >= 0) ::posix_spawn_file_actions_adddup2(&actions_, setup.kept, 3);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, setup.kept >= 0 ? 4 : 3);
    ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDWR, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, 0, 1);
  }
  int Spawn(pid_t* pid, char* const* argv, char* const* env) const {
    return ::posix_spawnp(pid, argv[0], &actions_, &attributes_, argv, env);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// The last of it, should it be much.
std::string ReadWords(int fd) {
  constexpr off_t kMost = 4096;
  std::string text(kMost, '\0');
  const off_t length = ::lseek(fd, 0, SEEK_END);
  const ssize_t size = ::pread(fd, text.data(), text.size(), std::max<off_t>(length - kMost, 0));
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

std::string WithoutNewline(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// The kernel reaps the children of this process as they end, and nobody learns how they did.
bool ChildrenEndUnseen() {
  struct sigaction action;
  if (::sigaction(SIGCHLD, nullptr, &action) != 0) return false;
  return action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT) != 0;
}

// What a shell wrote as the last line, below the words of the program that it ran: its status.
HelperProgram::End TakeStatus(std::string words) {
  HelperProgram::End end;
  const size_t line = words.rfind('\n') + 1;  // npos + 1 is 0
  const char* last = words.data() + words.size();
  const auto parsed = std::from_chars(words.data() + line, last, end.status);
  if (line == words.size() || parsed.ec != std::errc() || parsed.ptr != last) {
    end.status = 128 + SIGKILL;  // not even the shell came to its end
  } else {
    words.resize(line > 0 ? line - 1 : 0);
  }
  end.words = WithoutNewline(std::move(words));
  return end;
}

}  // namespace

Result<HelperProgram> HelperProgram::Start(std::vector<std::string> argv, const Setup& given) {
  Setup setup = given;
  UniqueFd kept;  // out of the way of the standard streams, should they be closed here
  if (setup.kept >= 0) {
    kept.reset(::fcntl(setup.kept, F_DUPFD_CLOEXEC, 3));
    if (!kept.valid()) return FailSys(errno, "fcntl", "F_DUPFD_CLOEXEC");
    setup.kept = kept.get();
  }
  // A file: nobody has to read it meanwhile.
  UniqueFd words(::memfd_create("stderr", MFD_CLOEXEC));
  if (!words.valid()) return FailSys(errno, "memfd_create");
  const bool unseen = ChildrenEndUnseen();
  if (unseen) argv.insert(argv.begin(), {"sh", "-c", "\"$@\"; printf '\\n%s' $? >&2", "sh"});
  std::vector<char*> pointers;
  for (std::string& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  SpawnPlan plan;
  plan.SetSignals();
  plan.SetDescriptors(words.get(), setup);
  char* const* env = setup.env != nullptr ? const_cast<char* const*>(setup.env) : environ;
  pid_t pid = -1;
  const int error = plan.Spawn(&pid, pointers.data(), env);
  if (error != 0) return Fail(Errc::kUnsupported, "{}: {}", argv[0], ::strerrordesc_np(error));
  HelperProgram helper;
  helper.process_ = Process(pid, UniqueFd());
  helper.words_ = std::move(words);
  helper.in_shell_ = unseen;
  return helper;
}

Result<HelperProgram::End> HelperProgram::Wait() {
  Result<ExitStatus> status = process_.Wait();
  std::string words = ReadWords(words_.get());
  if (in_shell_) return TakeStatus(std::move(words));
  if (!status) return Unexpected(std::move(status).error());
  return End{status->ShellCode(), WithoutNewline(std::move(words))};
}

std::string FindProgram(const char* name) {
  const char* variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/usr/bin:/bin";
  while (!path.empty()) {
    const size_t end = std::min(path.find(':'), path.size());
    std::string program = fmt::format("{}/{}", path.substr(0, end), name);
    if (end > 0 && program[0] == '/' && ::access(program.c_str(), X_OK) == 0) return program;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

Result<void> RunHelperProgram(std::vector<std::string> argv, const HelperProgram::Setup& setup) {
  const std::string name = argv[0];
  STRATA_ASSIGN(HelperProgram helper, HelperProgram::Start(std::move(argv), setup));
  STRATA_ASSIGN(HelperProgram::End end, helper.Wait());
  if (end.status == 0) return {};
  const size_t line = end.words.rfind('\n');
  std::string words = line == std::string::npos ? end.words : end.words.substr(line + 1);
  if (words.empty()) words = fmt::format("status {}", end.status);
  return Fail(Errc::kUnsupported, "{}: {}", name, words);
}

}  // namespace strata
