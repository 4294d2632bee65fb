// SPDX-License-Identifier: Apache-2.0
//
// strata export: a layer becomes an archive again.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/export.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/progress.h"
#include "tools/strata/user_namespace.h"

namespace strata {
namespace {

enum ExportOption { kOutput, kFormat };
constexpr OptionSpec kFormatSpec =
    Value(kFormat, "format", 0, "tar|oci",
          "a pax archive (the default), or an OCI image layout in a tar archive");
constexpr OptionSpec kExportOptions[] = {
    Value(kOutput, "output", 'o', "FILE", "write to FILE, not to standard output"),
    kFormatSpec,
    kQuietOption,
    kJsonOption,
};

// The archive's file. A regular file appears, or is replaced, when it is complete; until then the
// archive is in a file beside it, which goes away if it is not finished.
class OutputFile {
 public:
  static Result<OutputFile> Open(const std::string& path) {
    OutputFile file;
    struct stat st;
    if (path == "-") {
      file.fd_ = UniqueFd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
      file.name_ = "standard output";
      if (!file.fd_.valid()) return FailSys(errno, "dup", file.name_);
      return file;
    }
    file.name_ = path;
    if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {  // a device, a fifo
      STRATA_ASSIGN(file.fd_, OpenAt(AT_FDCWD, path, O_WRONLY));
      return file;
    }
    std::string temporary = path + "#" + RandomName();
    STRATA_ASSIGN(file.fd_, OpenAt(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL, 0666));
    file.temporary_ = std::move(temporary);
    return file;
  }

  OutputFile(OutputFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        name_(std::move(other.name_)),
        temporary_(std::exchange(other.temporary_, {})) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile() {
    if (!temporary_.empty()) sys::UnlinkAt(AT_FDCWD, temporary_.c_str());
  }

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

  Result<void> Finish() {
    if (temporary_.empty()) return {};
    STRATA_TRY(sys::Check(sys::RenameAt2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, name_.c_str()),
                          "rename", name_));
    temporary_.clear();
    return {};
  }

 private:
  OutputFile() = default;
  UniqueFd fd_;
  std::string name_;
  std::string temporary_;
};

Result<int> Export(Context& context, const ParsedArgs& args) {
  ExportOptions options;
  if (const char* format = args.Get(kFormat)) {
    STRATA_ASSIGN_WITH(size_t choice, ParseChoice(kFormatSpec, format), "--format");
    options.format = choice == 0 ? ExportFormat::kTar : ExportFormat::kOci;
  }
  const char* output = args.Get(kOutput);
  std::string path = output != nullptr ? output : "-";
  if (path == "-" && ::isatty(STDOUT_FILENO) == 1) {
    return Unexpected(Error(Errc::kInvalid, "export: an archive is nothing for a terminal")
                          .Hint("name a file, or send it elsewhere: -o FILE, | COMMAND"));
  }
  if (path == "-" && context.json) {
    return Fail(Errc::kInvalid, "export: --json needs -o FILE: standard output has the archive");
  }

  const char* name = args.operands[0];
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(LayerId id, store->Resolve(name));
  if (Store::CheckRefName(name) && store->ReadRef(name)) options.name = name;
  std::string clause = fmt::format("export {}", name);
  STRATA_ASSIGN_WITH(Manifest manifest, store->OpenManifest(id), clause);
  STRATA_ASSIGN_WITH(OutputFile file, OutputFile::Open(path), clause);
  if (::geteuid() != 0 && NeedsUserNamespace(manifest)) {
    STRATA_TRY_WITH(EnterUserNamespace(), clause);
  }

  Progress progress;
  options.progress = &progress;
  auto write = [&] {
    ProgressLine line(clause, progress, context.quiet);
    return ExportLayer(*store, id, file.fd(), file.name(), options);
  };
  STRATA_TRY_WITH(write(), clause);
  STRATA_TRY_WITH(file.Finish(), clause);
  if (context.json) PrintJson(context.out, {{"id", id.Hex()}, {"file", path}});
  return 0;
}

}  // namespace

constinit const CommandSpec kExportCommand = {
    .name = "export",
    .summary = "Write a layer as a tar archive or an OCI image",
    .usage = "[OPTIONS] LAYER",
    .description =
        "Owners, setuid bits, attributes and times in nanoseconds are in the archive; importing it again\n"
        "gives the same layer id. The same layer always gives the same bytes. A layer that removes what is\n"
        "below it (whiteouts) can be exported only as an OCI image.",
    .options = kExportOptions,
    .min_operands = 1,
    .max_operands = 1,
    .run = Export,
};

}  // namespace strata
