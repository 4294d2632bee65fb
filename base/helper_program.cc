// SPDX-License-Identifier: Apache-2.0
#include "base/helper_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

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

std::string ReadWords(int fd) {
  std::string text(4096, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
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
  return helper;
}

Result<HelperProgram::End> HelperProgram::Wait() {
  Result<ExitStatus> status = process_.Wait();
  End end;
  end.words = ReadWords(words_.get());
  if (status) {
    end.status = status->ShellCode();
  } else if (status.error().sys_errno() == ECHILD) {
    // This process ignores SIGCHLD, or reaps what is not its own. Who fails says so.
    end.status = end.words.empty() ? 0 : 1;
  } else {
    return Unexpected(std::move(status).error());
  }
  return end;
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
