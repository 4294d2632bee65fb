// SPDX-License-Identifier: Apache-2.0
#include "cache/import.h"

#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "base/own_thread.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/import_context.h"
#include "cache/xattr_policy.h"

namespace strata {

// --- Warnings

void Warnings::Add(std::string line) {
  constexpr size_t kMost = 20;
  std::lock_guard lock(mutex_);
  if (lines_.size() < kMost) {
    lines_.push_back(std::move(line));
  } else {
    ++more_;
  }
}

std::vector<std::string> Warnings::Take() {
  std::lock_guard lock(mutex_);
  if (more_ > 0) lines_.push_back(fmt::format("{} more warnings", more_));
  return std::move(lines_);
}

// --- ImportContext

Result<void> ImportContext::SetMetadata(std::string_view path, ManifestBuilder::Data& data,
                                        uint32_t mode, int64_t uid, int64_t gid, int64_t mtime_sec,
                                        int64_t mtime_nsec) {
  constexpr int64_t kLargestId = 0xfffffffe;  // -1 means "unchanged" to chown
  data.mode = mode & 07777;
  if (keep_owner) {
    if (uid < 0 || uid > kLargestId || gid < 0 || gid > kLargestId) {
      return Fail(Errc::kCorrupt, "{}: owner {}:{} is out of range", QuotePath(path), uid, gid);
    }
    data.uid = static_cast<uint32_t>(uid);
    data.gid = static_cast<uint32_t>(gid);
  }
  if (mtime_nsec < 0 || mtime_nsec > 999999999) {
    return Fail(Errc::kCorrupt, "{}: a time with {} nanoseconds", QuotePath(path), mtime_nsec);
  }
  data.mtime_sec = options.mtime.value_or(mtime_sec);
  data.mtime_nsec = options.mtime ? 0 : static_cast<uint32_t>(mtime_nsec);
  return {};
}

Result<void> ImportContext::AddXattr(std::string_view path, ManifestBuilder::Data& data,
                                     std::string_view name, std::string value) {
  switch (JudgeXattr(name, value)) {
    case XattrVerdict::kOverlay:
      return Fail(Errc::kHostile, "{}: the attribute {} belongs to overlayfs", QuotePath(path),
                  QuotePath(name));
    case XattrVerdict::kDrop:
      warnings.Add(fmt::format("{}: left out the attribute {}", QuotePath(path), QuotePath(name)));
      return {};
    case XattrVerdict::kKeep:
      break;
  }
  bool fits = data.type == EntryType::kFile ||
              (data.type == EntryType::kDirectory && name.starts_with("user."));
  if (!fits || name.size() > 255 || value.size() > 65536) {
    warnings.Add(fmt::format("{}: left out the attribute {}, which no file system could hold",
                             QuotePath(path), QuotePath(name.substr(0, 300))));
    return {};
  }
  for (Xattr& known : data.xattrs) {
    if (known.name == name) {
      known.value = std::move(value);
      return {};
    }
  }
  data.xattrs.push_back({std::string(name), std::move(value)});
  return {};
}

void ImportContext::AddLink(ManifestBuilder::Node link, ManifestBuilder::Node to) {
  builder.At(link).type = builder.At(to).type;
  builder.At(link).hardlink_to = to;
  links.emplace_back(link, to);
}

Result<void> ImportContext::MakeLinks() {
  for (auto [link, to] : links) {
    std::string path = builder.Path(link);
    STRATA_TRY(sys::Check(
        sys::LinkAt(writer.tree_fd(), builder.Path(to).c_str(), writer.tree_fd(), path.c_str()),
        "link", QuotePath(path)));
  }
  links.clear();
  return {};
}

void ImportContext::CountEntry() {
  if (options.progress != nullptr) ++options.progress->entries;
}

void ImportContext::CountBytes(uint64_t bytes) {
  if (options.progress != nullptr) options.progress->bytes += bytes;
}

Result<void> JudgeDevice(ImportContext& context, std::string_view path, bool character,
                         uint64_t major, uint64_t minor) {
  if (character && major == 0 && minor == 0) {
    return Fail(Errc::kHostile, "{}: a 0:0 device would act as a whiteout", QuotePath(path));
  }
  if (!path.starts_with("dev/")) {
    return Fail(Errc::kHostile, "{}: a device node ({} {}:{}) outside /dev", QuotePath(path),
                character ? 'c' : 'b', major, minor);
  }
  context.warnings.Add(fmt::format("{}: left out a device node", QuotePath(path)));
  return {};
}

// --- Import

namespace {

struct Source {
  int fd;
  struct stat st {};
};

Result<Source> LookAt(int fd, const std::string& name) {
  Source source{fd};
  if (::fstat(fd, &source.st) != 0) return FailSys(errno, "fstat", name);
  return source;
}

// Where a source is what it must not be for the asked format.
Result<void> CheckFormat(const Source& source, SourceFormat format) {
  const bool directory = S_ISDIR(source.st.st_mode);
  if (format == SourceFormat::kDirectory && !directory) {
    return Fail(Errc::kInvalid, "not a directory");
  }
  if (directory && (format == SourceFormat::kTar || format == SourceFormat::kOci)) {
    return Fail(Errc::kInvalid, "a directory, not a tar archive");
  }
  return {};
}

Result<ImportResult> ImportSource(const Store& store, int fd, const std::string& name,
                                  const ImportOptions& options) {
  STRATA_ASSIGN(Source source, LookAt(fd, name));
  STRATA_TRY(CheckFormat(source, options.format));
  const bool directory = S_ISDIR(source.st.st_mode);
  if (options.progress != nullptr && S_ISREG(source.st.st_mode)) {
    options.progress->total_bytes = static_cast<uint64_t>(source.st.st_size);
  }

  STRATA_ASSIGN(PendingLayer pending, store.NewLayer());
  ImportResult result;
  std::vector<uint8_t> bytes;
  {
    bool keep_owner =
        options.owner == OwnerPolicy::kKeep || (options.owner == OwnerPolicy::kAuto && !directory);
    ImportContext context(store, pending.tree_fd(), options, keep_owner);
    STRATA_TRY(directory ? ImportDirectory(context, source.fd)
                         : ImportArchive(context, source.fd, options.format == SourceFormat::kOci));
    STRATA_TRY(context.writer.Drain());
    STRATA_TRY(context.MakeLinks());
    for (const std::string& command : options.integration_commands) {
      context.builder.AddIntegrationCommand(command);
    }
    STRATA_ASSIGN(bytes, context.builder.Finish());
    result.warnings = context.warnings.Take();
  }
  STRATA_ASSIGN(Manifest manifest, Manifest::FromBytes(std::move(bytes)));
  STRATA_TRY(FinishTree(pending.tree_fd(), manifest, options.jobs));
  result.entries = manifest.size() - 1;
  result.content_bytes = manifest.content_size();
  STRATA_ASSIGN(PublishedLayer layer, store.Publish(std::move(pending), {manifest.bytes().begin(),
                                                                         manifest.bytes().end()}));
  result.id = layer.id;
  result.existed = layer.existed;
  result.replaced = layer.replaced;
  result.lease = std::move(layer.lease);
  return result;
}

// libarchive converts names to the locale's charset, and normalises them where that is UTF-8; in
// the C locale it leaves alone what it cannot convert, which is every byte that matters.
class CLocale {
 public:
  CLocale() : c_(::newlocale(LC_ALL_MASK, "C", nullptr)), previous_(::uselocale(c_)) {}
  ~CLocale() {
    ::uselocale(previous_);
    ::freelocale(c_);
  }
  CLocale(const CLocale&) = delete;
  CLocale& operator=(const CLocale&) = delete;

 private:
  locale_t c_;
  locale_t previous_;
};

// A thread of its own: umask and locale are changed there, and nowhere else.
template <typename Work>
Result<ImportResult> OnOwnThread(const std::string& name, const Work& work) {
  Result<ImportResult> result;
  RunOnOwnThread([&] {
    ClearThreadUmask();
    CLocale locale;
    result = work();
  });
  if (result) return result;
  return Unexpected(std::move(result).error().Wrap(fmt::format("import {}", name)));
}

}  // namespace

Result<ImportResult> Import(const Store& store, const std::string& source,
                            const ImportOptions& options) {
  if (source == "-") return ImportDescriptor(store, STDIN_FILENO, "standard input", options);
  return OnOwnThread(QuotePath(source), [&]() -> Result<ImportResult> {
    STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, source, O_RDONLY));
    return ImportSource(store, fd.get(), source, options);
  });
}

Result<ImportResult> ImportDescriptor(const Store& store, int fd, const std::string& name,
                                      const ImportOptions& options) {
  return OnOwnThread(name, [&] { return ImportSource(store, fd, name, options); });
}

}  // namespace strata
