// SPDX-License-Identifier: Apache-2.0
//
// Import of a tar stream: what tar would extract into an empty directory.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/path.h"
#include "base/sys.h"
#include "cache/import_archive_reader.h"
#include "cache/import_context.h"

namespace strata {
namespace {

using Node = ManifestBuilder::Node;

// Up to this size a file waits for its worker in memory, whole.
constexpr uint64_t kSmallFile = 256 << 10;
// Limits against headers that promise what no archive holds. Holes cost hashing time and no input.
constexpr uint64_t kLargestFile = uint64_t{1} << 40;
constexpr uint64_t kMostHoles = uint64_t{256} << 30;

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";
constexpr std::string_view kReservedPrefix = ".wh..wh.";

// AUFS's own files, which old Docker layers hold.
bool IsBookkeeping(std::string_view name) {
  return name.starts_with(kReservedPrefix) && name != kOpaqueMarker;
}

// Closes the stream of a large file, whichever way the reader leaves it.
class StreamCloser {
 public:
  explicit StreamCloser(std::shared_ptr<ContentStream> stream) : stream_(std::move(stream)) {}
  ~StreamCloser() { stream_->Close(complete_); }
  StreamCloser(const StreamCloser&) = delete;
  StreamCloser& operator=(const StreamCloser&) = delete;
  void Complete() { complete_ = true; }

 private:
  std::shared_ptr<ContentStream> stream_;
  bool complete_ = false;
};

class ArchiveImport {
 public:
  ArchiveImport(ImportContext& context, ArchiveReader& reader, bool oci)
      : context_(context), builder_(context.builder), reader_(reader), oci_(oci) {}

  Result<void> Run() {
    for (;;) {
      STRATA_ASSIGN(archive_entry * entry, reader_.Next());
      if (entry == nullptr) return {};
      STRATA_TRY(Take(entry));
      context_.CountEntry();
    }
  }

 private:
  Result<void> Take(archive_entry* entry);
  Result<void> TakeDirectory(archive_entry* entry);
  Result<void> TakeFile(archive_entry* entry);
  Result<void> TakeSymlink(archive_entry* entry);
  Result<void> TakeLink(std::string_view target);
  Result<void> TakeWhiteout(std::string_view name);

  // The directory that holds the entry, made with its parents where the archive has none.
  Result<Node> Parent();
  // A new node for the entry, which is no directory; what was there is gone.
  Result<Node> Place(EntryType type);
  Result<void> Remove(Node node);
  Result<Node> AddDirectory(Node parent, std::string_view name, std::string_view path,
                            uint8_t flags);
  Result<void> SetMetadata(archive_entry* entry, Node node);
  Result<void> ReadSmall(Node node);
  Result<void> ReadLarge(Node node);
  Result<void> CheckBlock(const ArchiveReader::Block& block, uint64_t position, uint64_t size);
  std::string Quoted() const { return QuotePath(path_); }

  ImportContext& context_;
  ManifestBuilder& builder_;
  ArchiveReader& reader_;
  const bool oci_;

  // Of the entry at hand:
  std::string path_;  // clean
  std::vector<std::string_view> components_;
  std::string content_;
  uint64_t holes_ = 0;  // of the whole archive
};

Result<void> ArchiveImport::Take(archive_entry* entry) {
  const char* name = ::archive_entry_pathname(entry);
  if (name == nullptr) return Fail(Errc::kCorrupt, "an entry without a name");
  STRATA_ASSIGN(path_, CleanPath(name));
  STRATA_ASSIGN(components_, SplitPath(path_));
  if (std::string warning = reader_.TakeWarning(); !warning.empty()) {
    context_.warnings.Add(fmt::format("{}: {}", Quoted(), warning));
  }

  if (oci_) {
    for (size_t i = 0; i < components_.size(); ++i) {
      if (!components_[i].starts_with(kWhiteoutPrefix)) continue;
      if (i + 1 == components_.size()) return TakeWhiteout(components_[i]);
      if (IsBookkeeping(components_[i])) return TakeWhiteout(components_[i]);
      return Fail(Errc::kHostile, "{}: an entry below a whiteout", Quoted());
    }
  }
  if (const char* target = ::archive_entry_hardlink(entry)) return TakeLink(target);
  const mode_t type = ::archive_entry_filetype(entry);
  switch (type) {
    case AE_IFDIR:
      return TakeDirectory(entry);
    case AE_IFREG:
      return TakeFile(entry);
    case AE_IFLNK:
      return TakeSymlink(entry);
    case AE_IFIFO: {
      STRATA_ASSIGN(Node node, Place(EntryType::kFifo));
      STRATA_TRY(SetMetadata(entry, node));
      return context_.writer.Add(path_, builder_.At(node));
    }
    case AE_IFSOCK:
      context_.warnings.Add(fmt::format("{}: left out a socket", Quoted()));
      return {};
    case AE_IFCHR:
    case AE_IFBLK:
      return JudgeDevice(context_, path_, type == AE_IFCHR,
                         static_cast<uint64_t>(::archive_entry_rdevmajor(entry)),
                         static_cast<uint64_t>(::archive_entry_rdevminor(entry)));
    default:
      return Fail(Errc::kCorrupt, "{}: an entry of unknown type {:o}", Quoted(), type);
  }
}

Result<Node> ArchiveImport::Parent() {
  Node node = ManifestBuilder::kRoot;
  size_t end = 0;
  for (size_t i = 0; i + 1 < components_.size(); ++i) {
    std::string_view name = components_[i];
    end = static_cast<size_t>(name.data() - path_.data()) + name.size();
    std::string_view path = std::string_view(path_).substr(0, end);
    std::optional<Node> child = builder_.Find(node, name);
    if (!child) {
      STRATA_ASSIGN(child, AddDirectory(node, name, path, kImplicit));
    }
    EntryType type = builder_.At(*child).type;
    if (type == EntryType::kWhiteout) {
      builder_.Remove(*child);
      STRATA_ASSIGN(child, AddDirectory(node, name, path, kImplicit | kOpaque));
    } else if (type != EntryType::kDirectory) {
      return Fail(Errc::kHostile, "{}: below {}, which is {} in the same archive", Quoted(),
                  QuotePath(path), type == EntryType::kSymlink ? "a symlink" : "not a directory");
    }
    node = *child;
  }
  return node;
}

Result<Node> ArchiveImport::AddDirectory(Node parent, std::string_view name, std::string_view path,
                                         uint8_t flags) {
  STRATA_TRY(context_.writer.MakeDirectory(std::string(path)));
  Node node = builder_.Add(parent, name);
  builder_.At(node).type = EntryType::kDirectory;
  builder_.At(node).flags = flags;
  return node;
}

Result<Node> ArchiveImport::Place(EntryType type) {
  if (components_.empty()) {
    return Fail(Errc::kHostile, "the root of the archive is not a directory");
  }
  STRATA_ASSIGN(Node parent, Parent());
  if (std::optional<Node> existing = builder_.Find(parent, components_.back())) {
    STRATA_TRY(Remove(*existing));
  }
  Node node = builder_.Add(parent, components_.back());
  builder_.At(node).type = type;
  return node;
}

Result<void> ArchiveImport::Remove(Node node) {
  const EntryType type = builder_.At(node).type;
  if (type == EntryType::kDirectory && builder_.HasChildren(node)) {
    return Fail(Errc::kHostile, "{}: not a directory, but a directory with entries before",
                Quoted());
  }
  if (type != EntryType::kWhiteout) {  // whiteouts are not on disk yet
    // Links to it are made first: they keep what it was.
    STRATA_TRY(context_.writer.Drain());
    STRATA_TRY(context_.MakeLinks());
    int flags = type == EntryType::kDirectory ? AT_REMOVEDIR : 0;
    STRATA_TRY(sys::Check(sys::UnlinkAt(context_.writer.tree_fd(), path_.c_str(), flags), "unlink",
                          Quoted()));
  }
  builder_.Remove(node);
  return {};
}

Result<void> ArchiveImport::SetMetadata(archive_entry* entry, Node node) {
  ManifestBuilder::Data& data = builder_.At(node);
  STRATA_TRY(context_.SetMetadata(path_, data, ::archive_entry_perm(entry),
                                  ::archive_entry_uid(entry), ::archive_entry_gid(entry),
                                  ::archive_entry_mtime(entry), ::archive_entry_mtime_nsec(entry)));
  if (::archive_entry_acl_types(entry) != 0) {
    context_.warnings.Add(fmt::format("{}: left out the access control list", Quoted()));
  }
  if (::archive_entry_xattr_reset(entry) == 0) return {};
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (::archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    STRATA_TRY(
        context_.AddXattr(path_, data, name, std::string(static_cast<const char*>(value), size)));
  }
  return {};
}

Result<void> ArchiveImport::TakeDirectory(archive_entry* entry) {
  Node node = ManifestBuilder::kRoot;
  if (!components_.empty()) {
    STRATA_ASSIGN(Node parent, Parent());
    std::optional<Node> existing = builder_.Find(parent, components_.back());
    uint8_t flags = 0;
    if (existing && builder_.At(*existing).type != EntryType::kDirectory) {
      if (builder_.At(*existing).type == EntryType::kWhiteout) flags = kOpaque;
      STRATA_TRY(Remove(*existing));
      existing.reset();
    }
    if (!existing) {
      STRATA_ASSIGN(existing, AddDirectory(parent, components_.back(), path_, flags));
    }
    node = *existing;
  }
  ManifestBuilder::Data& data = builder_.At(node);
  data.flags &= kOpaque;  // no longer implicit
  data.xattrs.clear();
  return SetMetadata(entry, node);
}

Result<void> ArchiveImport::TakeSymlink(archive_entry* entry) {
  const char* target = ::archive_entry_symlink(entry);
  std::string_view text = target != nullptr ? target : "";
  if (text.empty() || text.size() > 4095) {
    return Fail(Errc::kHostile, "{}: a symlink with a target of {} bytes", Quoted(), text.size());
  }
  STRATA_ASSIGN(Node node, Place(EntryType::kSymlink));
  builder_.At(node).target = text;
  STRATA_TRY(SetMetadata(entry, node));
  return context_.writer.Add(path_, builder_.At(node));
}

Result<void> ArchiveImport::TakeLink(std::string_view target) {
  STRATA_ASSIGN_WITH(std::vector<std::string_view> components, SplitPath(target),
                     fmt::format("{}: a hardlink", Quoted()));
  std::optional<Node> to = ManifestBuilder::kRoot;
  for (std::string_view component : components) {
    to = builder_.Find(*to, component);
    if (!to) break;
  }
  if (!to) {
    return Fail(Errc::kHostile, "{}: a hardlink to {}, which is not in the archive before it",
                Quoted(), QuotePath(target));
  }
  const EntryType type = builder_.At(*to).type;
  if (type == EntryType::kDirectory || type == EntryType::kWhiteout) {
    return Fail(Errc::kHostile, "{}: a hardlink to {}, which is {}", Quoted(), QuotePath(target),
                type == EntryType::kDirectory ? "a directory" : "removed by the same layer");
  }
  if (path_ == builder_.Path(*to)) return {};  // tar makes these of a file that it was given twice
  STRATA_ASSIGN(Node node, Place(type));
  context_.AddLink(node, *to);
  return {};
}

Result<void> ArchiveImport::TakeWhiteout(std::string_view name) {
  if (IsBookkeeping(name)) {
    context_.warnings.Add(fmt::format("{}: left out AUFS bookkeeping", Quoted()));
    return {};
  }
  STRATA_ASSIGN(Node parent, Parent());
  if (name == kOpaqueMarker) {
    builder_.At(parent).flags |= kOpaque;
    return {};
  }
  name.remove_prefix(kWhiteoutPrefix.size());
  if (name.empty() || name == "." || name == "..") {
    return Fail(Errc::kHostile, "{}: a whiteout without a name", Quoted());
  }
  // A whiteout is about the layers below; what this one has itself stays (and a directory of it
  // merges with nothing below).
  std::optional<Node> existing = builder_.Find(parent, name);
  if (!existing) {
    builder_.At(builder_.Add(parent, name)).type = EntryType::kWhiteout;
  } else if (builder_.At(*existing).type == EntryType::kDirectory) {
    builder_.At(*existing).flags |= kOpaque;
  }
  return {};
}

Result<void> ArchiveImport::TakeFile(archive_entry* entry) {
  int64_t size = ::archive_entry_size(entry);
  if (size < 0 || static_cast<uint64_t>(size) > kLargestFile) {
    return Fail(Errc::kHostile, "{}: claims to have {} bytes", Quoted(), size);
  }
  STRATA_ASSIGN(Node node, Place(EntryType::kFile));
  STRATA_TRY(SetMetadata(entry, node));
  builder_.At(node).size = static_cast<uint64_t>(size);
  return static_cast<uint64_t>(size) <= kSmallFile ? ReadSmall(node) : ReadLarge(node);
}

Result<void> ArchiveImport::CheckBlock(const ArchiveReader::Block& block, uint64_t position,
                                       uint64_t size) {
  if (block.offset < position || block.offset > size || block.data.size() > size - block.offset) {
    return Fail(Errc::kCorrupt, "{}: content outside of the {} bytes that its header promises",
                Quoted(), size);
  }
  holes_ += block.offset - position;
  if (holes_ > kMostHoles) {
    return Fail(Errc::kHostile, "{}: more than {} GiB of holes in the archive", Quoted(),
                kMostHoles >> 30);
  }
  return {};
}

Result<void> ArchiveImport::ReadSmall(Node node) {
  ManifestBuilder::Data& data = builder_.At(node);
  content_.clear();
  for (;;) {
    STRATA_ASSIGN(std::optional<ArchiveReader::Block> block, reader_.NextBlock());
    if (!block) break;
    STRATA_TRY(CheckBlock(*block, content_.size(), data.size));
    if (block->data.size() == data.size) return context_.writer.Add(path_, data, block->data);
    content_.resize(block->offset);
    content_ += block->data;
  }
  content_.resize(data.size);
  return context_.writer.Add(path_, data, content_);
}

Result<void> ArchiveImport::ReadLarge(Node node) {
  ManifestBuilder::Data& data = builder_.At(node);
  STRATA_ASSIGN(std::shared_ptr<ContentStream> stream, context_.writer.AddStream(path_, data));
  StreamCloser closer(stream);
  uint64_t position = 0;
  for (;;) {
    STRATA_ASSIGN(std::optional<ArchiveReader::Block> block, reader_.NextBlock());
    if (!block) break;
    STRATA_TRY(CheckBlock(*block, position, data.size));
    if (!stream->Push(block->offset, block->data)) return context_.writer.Drain();
    position = block->offset + block->data.size();
  }
  STRATA_TRY(CheckBlock({data.size, {}}, position, data.size));
  closer.Complete();
  return {};
}

}  // namespace

Result<void> ImportArchive(ImportContext& context, int source_fd, bool oci) {
  Progress* progress = context.options.progress;
  STRATA_ASSIGN(std::unique_ptr<ArchiveReader> reader,
                ArchiveReader::Open(source_fd, progress != nullptr ? &progress->bytes : nullptr));
  return ArchiveImport(context, *reader, oci).Run();
}

}  // namespace strata
