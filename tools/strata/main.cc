// SPDX-License-Identifier: Apache-2.0
//
// strata: finds the command and runs it. Nothing here may cost time: it is part of every `strata
// run`.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <new>
#include <string_view>
#include <vector>

#include "base/suggest.h"
#include "tools/strata/command.h"

namespace strata {
namespace {

constexpr char kVersion[] = STRATA_VERSION;

// A store's file opened as descriptor 2 would get the error messages.
void OpenMissingStdio() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY));
  }
}

// A layer of a chain costs a descriptor or two, and the soft limit is 1024 for the sake of
// select().
void RaiseDescriptorLimit(Context& context) {
  if (::getrlimit(RLIMIT_NOFILE, &context.original_nofile) != 0) return;
  struct rlimit raised = context.original_nofile;
  raised.rlim_cur = raised.rlim_max;
  if (raised.rlim_cur != context.original_nofile.rlim_cur) ::setrlimit(RLIMIT_NOFILE, &raised);
}

// The kernel makes each page of memory anew that was given back, which takes longer than what a hit
// of a root of 2,000 layers does with it. These are the values that glibc comes to by itself.
void KeepFreedMemory() {
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

void PrintOverview(Output& out) {
  out.Write(
      "usage: strata COMMAND [OPTIONS] [ARGUMENTS]\n\n"
      "Stages build dependencies as immutable layers, without copying or linking a file.\n\n"
      "Commands:\n");
  for (const CommandSpec* command : Commands()) {
    out.Print("  {:<10}{}\n", command->name, command->summary);
  }
  out.Write(
      "  help      Show this, or what `strata COMMAND --help` shows\n"
      "\n`strata help COMMAND` and the manual page strata-COMMAND(1) tell more about one of them.\n"
      "To begin: `strata import --name base rootfs.tar`, then `strata shell base`.\n\n"
      "The store is $STRATA_STORE, else $XDG_DATA_HOME/strata, else ~/.local/share/strata.\n");
}

Error UnknownCommand(std::string_view name) {
  std::vector<std::string_view> names;
  for (const CommandSpec* command : Commands()) names.emplace_back(command->name);
  Error error(Errc::kInvalid, fmt::format("there is no command '{}'", name));
  std::string_view near = Nearest(name, names);
  if (near.empty()) return std::move(error).Hint("`strata help` lists them");
  return std::move(error).Hint(fmt::format("did you mean {}?", near));
}

int Finish(Context& context, int status) {
  auto flushed = context.out.Flush();
  if (flushed) return status;
  PrintError(flushed.error());
  return status == 0 ? 1 : status;
}

int Complain(const Error& error, int status) {
  PrintError(error);
  return status;
}

bool IsHelp(std::string_view word) {
  return word == "help" || word == "--help" || word == "-h";
}

int Help(Context& context, const char* name) {
  if (name == nullptr || IsHelp(name)) {
    PrintOverview(context.out);
    return 0;
  }
  const CommandSpec* command = FindCommand(name);
  if (command == nullptr) return Complain(UnknownCommand(name), 2);
  context.out.Write(HelpText(*command));
  return 0;
}

int RunCommand(Context& context, const CommandSpec& command, char** argv) {
  auto args = ParseArgs(command, argv);
  if (!args) return Complain(args.error(), command.usage_status);
  if (args->Has(kOptionHelp)) return Help(context, command.name);
  context.json = args->Has(kOptionJson);
  context.quiet = args->Has(kOptionQuiet);
  auto status = command.run(context, *args);
  if (status) return *status;
  // What was printed before the error belongs before it.
  static_cast<void>(context.out.Flush());
  bool usage = status.error().code() == Errc::kInvalid;
  return Complain(status.error(), usage ? command.usage_status : command.failure_status);
}

int Main(char** argv) {
  OpenMissingStdio();
  KeepFreedMemory();
  // A file over `ulimit -f` is an error to report (EFBIG), not a reason to die without cleaning up.
  ::signal(SIGXFSZ, SIG_IGN);
  if (::getuid() != ::geteuid() || ::getgid() != ::getegid()) {
    return Complain(
        Error(Errc::kInvalid, "strata must not be setuid: it would do everything for everybody")
            .Hint("it needs no privileges: chmod ug-s its file"),
        125);
  }
  Context context;
  RaiseDescriptorLimit(context);
  const char* first = argv[0] == nullptr ? nullptr : argv[1];
  std::string_view name(first == nullptr ? "" : first);
  if (first == nullptr) {
    Output err(STDERR_FILENO);
    PrintOverview(err);
    static_cast<void>(err.Flush());
    return 2;
  }
  if (name == "--version" || name == "-V") {
    context.out.Print("strata {}\n", kVersion);
    return Finish(context, 0);
  }
  if (IsHelp(name)) {
    return Finish(context, Help(context, name == "help" ? argv[2] : nullptr));
  }
  const CommandSpec* command = FindCommand(name);
  if (command == nullptr) return Complain(UnknownCommand(name), 2);
  return Finish(context, RunCommand(context, *command, argv + 2));
}

}  // namespace
}  // namespace strata

int main(int, char** argv) {
  try {
    return strata::Main(argv);
  } catch (const std::bad_alloc&) {
    strata::PrintError(strata::Error(strata::Errc::kSystem, "out of memory"));
    // 125 for every command: no program that is run inside can be meant.
    return 125;
  }
}
