// SPDX-License-Identifier: Apache-2.0
#include "sandbox/explain.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

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

// Certain where it is true: the root of a mount namespace is the root of a mount. That of a chroot seldom is.
bool IsChroot() {
  struct statx root {};
  if (::statx(AT_FDCWD, "/", AT_STATX_DONT_SYNC, 0, &root) != 0) return false;
  return (root.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
         (root.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0;
}

// What overlayfs answers for an upper on overlayfs, NFS, FUSE and their like.
bool IsAboutUpper(int sys_errno) {
  return sys_errno == EINVAL || sys_errno == EOPNOTSUPP || sys_errno == EPERM;
}

}  // namespace

std::string UserNamespaceHint() {
  if (IsChroot()) {
    return "this is a chroot, in which the kernel makes no user namespace: enter that root by pivot_root, as "
           "systemd-nspawn and containers do";
  }
  if (ReadSysctl("/proc/sys/user/max_user_namespaces") == "0") {
    return "user namespaces are off: sysctl user.max_user_namespaces=15000";
  }
  if (ReadSysctl("/proc/sys/kernel/unprivileged_userns_clone") == "0") {
    return "user namespaces are off for ordinary users: sysctl kernel.unprivileged_userns_clone=1";
  }
  if (ReadSysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1") {
    return "AppArmor restricts user namespaces to programs with a profile: install the one that comes "
           "with strata, share/strata/apparmor.d/strata, to /etc/apparmor.d and load it (apparmor_parser "
           "-r); or sysctl kernel.apparmor_restrict_unprivileged_userns=0";
  }
  return {};
}

std::string NamespaceLimitHint() {
  for (const char* kind : {"mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
    const std::string path = fmt::format("/proc/sys/user/max_{}_namespaces", kind);
    if (ReadSysctl(path.c_str()) == "0") {
      return fmt::format("{} namespaces are off: sysctl user.max_{}_namespaces=15000", kind, kind);
    }
  }
  return {};
}

Error ExplainClone(int sys_errno) {
  Error error = Error::Sys(sys_errno, "clone", "with new namespaces")
                    .Wrap("start sandbox");
  std::string hint = UserNamespaceHint();
  if (hint.empty()) hint = NamespaceLimitHint();
  if (hint.empty() && sys_errno == ENOSPC) {
    hint = "too many namespaces are in use, or nested too deeply: see /proc/sys/user";
  } else if (hint.empty() && sys_errno == EAGAIN) {
    hint = "too many processes: see ulimit -u, and pids.max of the control group";
  } else if (hint.empty() && (sys_errno == EPERM || sys_errno == EACCES)) {
    hint = "this looks like a container that forbids user namespaces, or a chroot; `strata doctor` says more";
  } else if (hint.empty() && (sys_errno == EINVAL || sys_errno == ENOSYS)) {
    hint = "this kernel lacks some kind of namespace; `strata doctor` says more";
  }
  return hint.empty() ? error : Error(std::move(error).Hint(hint));
}

Error ExplainIds(Error error) {
  std::string hint = error.hint().empty() ? UserNamespaceHint() : std::string();
  error = std::move(error).Wrap("set up sandbox: ids");
  return hint.empty() ? error : std::move(error).Hint(std::move(hint));
}

namespace {

// Whether a container's filter may be behind it: what root could do, and what an older kernel lacks.
bool IsDenial(int sys_errno) {
  return sys_errno == EPERM || sys_errno == EACCES || sys_errno == ENOSYS;
}

std::string HintAboutProc(const ChildFailure& failure) {
  const std::string_view call = failure.call;
  const std::string_view argument = failure.argument;
  if (argument.substr(0, 11) == "/proc/self/" && IsDenial(failure.sys_errno)) {
    std::string hint = UserNamespaceHint();
    return hint.empty() ? "user namespaces are restricted here; `strata doctor` says more" : hint;
  }
  if (call == "mount proc on" && failure.sys_errno == EPERM) {
    return "in a container whose /proc is masked no new one may be mounted; run the container with "
           "an unmasked /proc: docker --security-opt systempaths=unconfined, podman --security-opt "
           "unmask=ALL, Kubernetes procMount: Unmasked";
  }
  return {};
}

std::string HintAboutWhatIsMissing(const ChildFailure& failure) {
  const std::string_view call = failure.call;
  const std::string_view argument = failure.argument;
  const int sys_errno = failure.sys_errno;
  if (call == "open mount point" && (sys_errno == ELOOP || sys_errno == ENOTDIR)) {
    return fmt::format("/{} is not a plain directory in this root", argument);
  }
  if (call == "open mount point" && sys_errno == ENOENT) {
    return "a mount below another one needs its directory in that one's source";
  }
  if (argument.substr(0, 5) == "/dev/" && sys_errno == ENOENT) {
    return fmt::format("this machine or container has no {}, which every sandbox gets", argument);
  }
  if (call == "open_tree" && sys_errno == ENOENT) return "the source of a --bind must exist";
  if (sys_errno == ENOSPC && call == "unshare") {
    std::string hint = NamespaceLimitHint();
    return hint.empty() ? "too many namespaces are in use: see /proc/sys/user" : hint;
  }
  if (sys_errno == ENODEV) {
    return "this kernel lacks that file system: is there a module, as modprobe overlay loads one?";
  }
  return {};
}

// The set-up makes few calls that are not about privileges.
std::string HintAboutDenial(const ChildFailure& failure) {
  if (!IsDenial(failure.sys_errno)) return {};
  std::string hint = UserNamespaceHint();  // AppArmor lets the namespace be made and denies its use
  if (!hint.empty()) return hint;
  const std::string_view call = failure.call;
  if (call == "chdir" || call == "open" || call.substr(0, 4) == "open") return {};
  return "a container's filter of system calls seems to deny this: docker and podman have "
         "--security-opt seccomp=unconfined; `strata doctor` says more";
}

}  // namespace

Error ExplainSetup(const ChildRecord& record, const SandboxSpec& spec) {
  const ChildFailure& failure = record.failure;
  const std::string_view call = failure.call;
  Error error = failure.ToError()
                    .Wrap(SandboxStepName(static_cast<SandboxStep>(record.step)))
                    .Wrap("set up sandbox");
  if (call == "chdir" && failure.argument == spec.directory) {
    return std::move(error).Hint("--chdir names a directory of the sandbox");
  }
  std::string hint = HintAboutProc(failure);
  if (hint.empty()) hint = HintAboutWhatIsMissing(failure);
  if (call.substr(0, 13) == "mount overlay" && IsAboutUpper(failure.sys_errno) &&
      !spec.root.upper.empty()) {
    if (hint.empty() && failure.sys_errno == EPERM) hint = UserNamespaceHint();
    if (hint.empty()) {
      hint = "can the file system of the scratch directory carry an overlay's upper? "
             "Try --scratch tmpfs; `strata doctor` says more";
    }
    return Error(Errc::kUnsupported, error.message()).Hint(std::move(hint));
  }
  if (hint.empty()) hint = HintAboutDenial(failure);
  return hint.empty() ? error : Error(std::move(error).Hint(std::move(hint)));
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
