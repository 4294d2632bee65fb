// SPDX-License-Identifier: Apache-2.0
#include "sandbox/explain.h"

#include <elf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "base/io.h"

namespace strata {
namespace {

std::string ReadSysctl(const char* path) {
  auto text = ReadFile(AT_FDCWD, path, 64);
  if (!text) return {};
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

// The interpreter that a script or ELF file names; empty where it names none.
std::string InterpreterOf(const char* head, size_t size) {
  std::string_view text(head, size);
  if (text.substr(0, 2) == "#!") {
    text.remove_prefix(2);
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    return std::string(text.substr(0, text.find_first_of(std::string_view(" \t\n\0", 4))));
  }
  Elf64_Ehdr elf;
  if (size < sizeof elf || std::memcmp(head, ELFMAG, SELFMAG) != 0) return {};
  std::memcpy(&elf, head, sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64) return "its 32-bit dynamic loader";
  for (unsigned i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr program;
    uint64_t at = elf.e_phoff + uint64_t{i} * sizeof program;
    if (at > size || size - at < sizeof program) break;
    std::memcpy(&program, head + at, sizeof program);
    if (program.p_type != PT_INTERP || program.p_offset >= size) continue;
    std::string_view name = text.substr(program.p_offset, program.p_filesz);
    return std::string(name.substr(0, name.find('\0')));
  }
  return {};
}

// What overlayfs answers for an upper on overlayfs, NFS, FUSE and their like.
bool IsAboutUpper(int sys_errno) {
  return sys_errno == EINVAL || sys_errno == EOPNOTSUPP || sys_errno == EPERM;
}

}  // namespace

std::string UserNamespaceHint() {
  if (ReadSysctl("/proc/sys/user/max_user_namespaces") == "0") {
    return "user namespaces are off: sysctl user.max_user_namespaces=15000";
  }
  if (ReadSysctl("/proc/sys/kernel/unprivileged_userns_clone") == "0") {
    return "user namespaces are off for ordinary users: sysctl kernel.unprivileged_userns_clone=1";
  }
  if (ReadSysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1") {
    return "AppArmor restricts user namespaces to programs with a profile: "
           "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give strata a profile";
  }
  return {};
}

Error ExplainClone(int sys_errno) {
  Error error = Error::Sys(sys_errno, "clone", "with new namespaces")
                    .Wrap("start sandbox");
  std::string hint = UserNamespaceHint();
  if (hint.empty() && sys_errno == ENOSPC) {
    hint = "too many namespaces are in use, or nested too deeply: see /proc/sys/user";
  } else if (hint.empty() && sys_errno == EPERM) {
    hint = "this looks like a container that forbids user namespaces; `strata doctor` says more";
  }
  return hint.empty() ? error : Error(std::move(error).Hint(hint));
}

Error ExplainIds(Error error) {
  std::string hint = error.hint().empty() ? UserNamespaceHint() : std::string();
  error = std::move(error).Wrap("set up sandbox: map ids");
  return hint.empty() ? error : std::move(error).Hint(std::move(hint));
}

Error ExplainSetup(const ChildRecord& record, const SandboxSpec& spec) {
  Error error = record.failure.ToError().Wrap("set up sandbox");
  const int sys_errno = record.failure.sys_errno;
  const std::string_view call = record.failure.call;
  const std::string_view argument = record.failure.argument;
  if (argument.substr(0, 11) == "/proc/self/" && (sys_errno == EACCES || sys_errno == EPERM)) {
    std::string hint = UserNamespaceHint();
    return std::move(error).Hint(hint.empty() ? "user namespaces are restricted here; "
                                                "`strata doctor` says more"
                                              : hint);
  }
  if (call == "open mount point" && (sys_errno == ELOOP || sys_errno == ENOTDIR)) {
    return std::move(error).Hint(
        fmt::format("/{} is not a plain directory in this root", argument));
  }
  if (call == "open mount point" && sys_errno == ENOENT) {
    return std::move(error).Hint("a mount below another one needs its directory in that one's source");
  }
  if (call == "open_tree" && sys_errno == ENOENT) {
    return std::move(error).Hint("the source of a --bind must exist");
  }
  if (call == "chdir" && argument == spec.directory) {
    return std::move(error).Hint("--chdir names a directory of the sandbox");
  }
  if (call.substr(0, 13) == "mount overlay" && IsAboutUpper(sys_errno) &&
      !spec.root.upper.empty()) {
    return Error(Errc::kUnsupported, error.message())
        .Hint("can the file system of the scratch directory carry an overlay's upper? "
              "Try --scratch tmpfs; `strata doctor` says more");
  }
  if (call == "mount proc on" && sys_errno == EPERM) {
    return std::move(error).Hint(
        "in a container whose /proc is masked no new one may be mounted; run the container with "
        "an unmasked /proc");
  }
  return error;
}

void ExplainOutcome(const ChildRecord& record, const SandboxSpec& spec, SandboxResult* result) {
  const std::string& command = spec.argv[0];
  switch (record.kind) {
    case ChildRecord::kNotFound:
      result->outcome = SandboxResult::Outcome::kNotFound;
      result->reason = fmt::format("{}: command not found in the root", command);
      if (command.find('/') == std::string::npos) {
        result->hint = "PATH in the sandbox is what --env PATH=... says, else the usual directories";
      }
      break;
    case ChildRecord::kNoInterpreter: {
      result->outcome = SandboxResult::Outcome::kNotFound;
      std::string interpreter = InterpreterOf(record.head, sizeof record.head);
      if (interpreter.empty()) interpreter = "its interpreter";
      result->reason = fmt::format("{}: it is there, but {} is missing in the root",
                                   record.failure.argument, interpreter);
      result->hint = "add the layer that has it (for a dynamically linked program: the C library's)";
      break;
    }
    case ChildRecord::kNotExecutable:
      result->outcome = SandboxResult::Outcome::kNotExecutable;
      result->reason = record.failure.ToError().message();
      if (record.failure.sys_errno == ENOEXEC) {
        result->hint = "not a program of this machine's kind, or a script without a #! line";
      } else if (record.failure.sys_errno == EACCES) {
        result->hint = "a directory, or no execute permission";
      }
      break;
    default:
      break;
  }
}

}  // namespace strata
