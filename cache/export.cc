// SPDX-License-Identifier: Apache-2.0
#include "cache/export.h"

#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/pax_writer.h"

namespace strata {
namespace {

// Where an archive goes: to a descriptor, or only to be measured.
using Sink = std::function<Result<void>(std::string_view)>;

constexpr size_t kBuffer = 1 << 20;
constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";

bool HasWhiteoutPrefix(std::string_view name) {
  return name.substr(0, kWhiteoutPrefix.size()) == kWhiteoutPrefix;
}

// Gathers headers and contents and hands them on in large pieces.
class TarStream {
 public:
  explicit TarStream(Sink sink) : sink_(std::move(sink)) { buffer_.reserve(kBuffer + 4096); }

  Result<void> Header(const TarMember& member) {
    STRATA_TRY(AppendTarHeader(buffer_, member));
    return FlushIfFull();
  }
  Result<void> Content(std::string_view data) {
    buffer_ += data;
    return FlushIfFull();
  }
  // All of `fd`, which must have `size` bytes.
  Result<void> ContentOf(int fd, uint64_t size, const std::string& name, Progress* progress) {
    for (uint64_t left = size;;) {
      size_t used = buffer_.size();
      // One byte more than is left, to see the end of the file.
      size_t room = static_cast<size_t>(std::min<uint64_t>(left + 1, kBuffer - used));
      buffer_.resize(used + room);
      int64_t n = sys::Read(fd, buffer_.data() + used, room);
      if (n < 0) return FailSys(static_cast<int>(-n), "read", name);
      buffer_.resize(used + static_cast<size_t>(n));
      if (static_cast<uint64_t>(n) > left || (n == 0 && left != 0)) {
        return Fail(Errc::kCorrupt,
                    "{}: the store's file has not the {} bytes that its manifest says",
                    QuotePath(name), size);
      }
      if (n == 0) return Pad(size);
      left -= static_cast<uint64_t>(n);
      if (progress != nullptr) progress->bytes += static_cast<uint64_t>(n);
      STRATA_TRY(FlushIfFull());
    }
  }
  Result<void> Pad(uint64_t size) {
    buffer_.append(TarPadding(size), '\0');
    return FlushIfFull();
  }
  Result<void> End() {
    buffer_.append(2 * kTarBlock, '\0');
    return Flush();
  }
  Result<void> Flush() {
    Result<void> written = sink_(buffer_);
    buffer_.clear();
    return written;
  }

 private:
  Result<void> FlushIfFull() { return buffer_.size() >= kBuffer ? Flush() : Result<void>(); }

  Sink sink_;
  std::string buffer_;
};

// Whether the format can hold the layer: found out before the first byte is written.
Result<void> CheckFormat(const Manifest& manifest, ExportFormat format) {
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    const ManifestEntry& entry = manifest.entry(i);
    bool whiteout = entry.type == EntryType::kWhiteout;
    if (format == ExportFormat::kTar && (whiteout || entry.opaque())) {
      return Unexpected(
          Error(Errc::kUnsupported,
                fmt::format("/{}: a tar archive cannot hold {}", QuotePath(manifest.Path(i)),
                            whiteout ? "a whiteout" : "an opaque directory"))
              .Hint("an OCI image can: --format oci"));
    }
    if (format == ExportFormat::kOci && HasWhiteoutPrefix(manifest.name(entry))) {
      return Fail(Errc::kUnsupported, "/{}: in an OCI layer this name would be a whiteout",
                  QuotePath(manifest.Path(i)));
    }
  }
  return {};
}

// One pass over a layer, as a tar archive.
class LayerWriter {
 public:
  LayerWriter(const Manifest& manifest, int tree_fd, Progress* progress)
      : manifest_(manifest), tree_fd_(tree_fd), progress_(progress) {}

  Result<void> Write(const Sink& sink) {
    TarStream out(sink);
    Result<void> result;
    manifest_.Walk([&](const std::string& path, uint32_t index) {
      if (result) result = Entry(out, path, index);
    });
    STRATA_TRY(result);
    return out.End();
  }

 private:
  Result<void> Entry(TarStream& out, const std::string& path, uint32_t index) {
    const ManifestEntry& entry = manifest_.entry(index);
    if (progress_ != nullptr) ++progress_->entries;
    if (entry.type == EntryType::kWhiteout) return Whiteout(out, path);
    // The root is the same in every layer, and an implicit directory is one because no archive had
    // it.
    bool written = index != 0 && !(entry.implicit() && entry.child_count != 0);
    if (written) STRATA_TRY(Ordinary(out, path, index));
    if (entry.opaque()) return Marker(out, (path.empty() ? "" : path + "/"), kOpaqueName);
    return {};
  }

  static Result<void> Marker(TarStream& out, const std::string& directory, std::string_view name) {
    TarMember member;
    member.name = directory + std::string(name);
    return out.Header(member);
  }

  static Result<void> Whiteout(TarStream& out, const std::string& path) {
    size_t name = path.rfind('/') + 1;  // 0 where there is no slash
    return Marker(out, path.substr(0, name), std::string(kWhiteoutPrefix) + path.substr(name));
  }

  Result<void> Ordinary(TarStream& out, const std::string& path, uint32_t index) {
    const ManifestEntry& entry = manifest_.entry(index);
    TarMember member;
    member.name = path;
    member.mode = entry.mode;
    member.uid = entry.uid;
    member.gid = entry.gid;
    member.mtime_sec = entry.mtime_sec;
    member.mtime_nsec = entry.mtime_nsec;
    if (entry.hardlink != kNoEntry) {
      auto [first, is_first] = first_links_.try_emplace(entry.hardlink, path);
      if (!is_first) {
        member.type = '1';
        member.link = first->second;
        return out.Header(member);
      }
    }
    if (entry.xattrs_size != 0) member.xattrs = manifest_.xattrs(entry);
    switch (entry.type) {
      case EntryType::kDirectory:
        member.type = '5';
        member.name += '/';
        break;
      case EntryType::kSymlink:
        member.type = '2';
        member.link = manifest_.target(entry);
        break;
      case EntryType::kFifo:
        member.type = '6';
        break;
      default:
        member.size = entry.size;
    }
    STRATA_TRY(out.Header(member));
    if (member.type != '0' || member.size == 0) return {};
    STRATA_ASSIGN(UniqueFd fd, OpenAt(tree_fd_, path, O_RDONLY | O_NOFOLLOW));
    return out.ContentOf(fd.get(), entry.size, path, progress_);
  }

  const Manifest& manifest_;
  int tree_fd_;
  Progress* progress_;
  std::unordered_map<uint32_t, std::string> first_links_;  // of a hardlink group, the first written
};

// The names that Go, and so OCI, has for machines.
constexpr const char* kArchitecture =
#if defined(__x86_64__)
    "amd64";
#elif defined(__aarch64__)
    "arm64";
#elif defined(__i386__)
    "386";
#elif defined(__riscv) && __riscv_xlen == 64
    "riscv64";
#elif defined(__powerpc64__)
    "ppc64le";
#elif defined(__s390x__)
    "s390x";
#else
    "unknown";
#endif

struct Blob {
  std::string digest;  // 64 hex digits
  uint64_t size = 0;
};

Blob BlobOf(std::string_view data) {
  return {Sha256::Of(data.data(), data.size()).Hex(), data.size()};
}

std::string Descriptor(std::string_view media_type, const Blob& blob, std::string_view extra = {}) {
  return fmt::format(
      R"({{"mediaType":"application/vnd.oci.image.{}+json","digest":"sha256:{}","size":{}{}}})",
      media_type, blob.digest, blob.size, extra);
}

Result<void> AddFile(TarStream& out, const std::string& name, std::string_view content) {
  TarMember member;
  member.name = name;
  member.size = content.size();
  STRATA_TRY(out.Header(member));
  STRATA_TRY(out.Content(content));
  return out.Pad(content.size());
}

Result<void> AddDirectory(TarStream& out, const std::string& name) {
  TarMember member;
  member.name = name;
  member.type = '5';
  member.mode = 0755;
  return out.Header(member);
}

// The layer is written twice, first only to be measured: its digest and size stand before it in the
// archive. Keeping it somewhere instead would need as much disk as it is large.
Result<void> WriteOci(LayerWriter measured, LayerWriter written, const std::string& name,
                      const Sink& sink) {
  Sha256 hash;
  Blob layer;
  STRATA_TRY(measured.Write([&](std::string_view data) -> Result<void> {
    hash.Update(data.data(), data.size());
    layer.size += data.size();
    return {};
  }));
  layer.digest = hash.Finish().Hex();

  std::string config = fmt::format(R"({{"architecture":"{}","os":"linux","config":{{}},)"
                                   R"("rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}})",
                                   kArchitecture, layer.digest);
  std::string manifest = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},)"
      R"("layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":{}}}]}})",
      Descriptor("config.v1", BlobOf(config)), layer.digest, layer.size);
  // A ref has no character that JSON would escape.
  std::string annotations =
      name.empty()
          ? std::string()
          : fmt::format(R"(,"annotations":{{"org.opencontainers.image.ref.name":"{}"}})", name);
  std::string index = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}})",
      Descriptor("manifest.v1", BlobOf(manifest), annotations));

  TarStream out(sink);
  STRATA_TRY(AddFile(out, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  STRATA_TRY(AddFile(out, "index.json", index));
  STRATA_TRY(AddDirectory(out, "blobs/"));
  STRATA_TRY(AddDirectory(out, "blobs/sha256/"));
  STRATA_TRY(AddFile(out, "blobs/sha256/" + BlobOf(config).digest, config));
  STRATA_TRY(AddFile(out, "blobs/sha256/" + BlobOf(manifest).digest, manifest));
  TarMember member;
  member.name = "blobs/sha256/" + layer.digest;
  member.size = layer.size;
  STRATA_TRY(out.Header(member));
  STRATA_TRY(out.Flush());
  uint64_t size = 0;
  STRATA_TRY(written.Write([&](std::string_view data) {
    size += data.size();
    return sink(data);
  }));
  if (size != layer.size) return Fail(Errc::kCorrupt, "the layer changed while it was read");
  STRATA_TRY(out.Pad(layer.size));
  return out.End();
}

}  // namespace

bool NeedsUserNamespace(const Manifest& manifest) {
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    const ManifestEntry& entry = manifest.entry(i);
    uint32_t needed = entry.is_directory() ? 0500 : entry.type == EntryType::kFile ? 0400 : 0;
    if ((entry.mode & needed) != needed) return true;
  }
  return false;
}

Result<void> ExportLayer(const Store& store, const LayerId& id, int fd, const std::string& fd_name,
                         const ExportOptions& options) {
  STRATA_ASSIGN(LayerLease lease, store.LeaseLayer(id));
  STRATA_ASSIGN(Manifest manifest, store.OpenManifest(id));
  STRATA_TRY_WITH(manifest.Validate(), fmt::format("layer {:.12}", id.Hex()));
  STRATA_TRY(CheckFormat(manifest, options.format));
  Progress* progress = options.progress;
  if (progress != nullptr) progress->total_bytes = manifest.content_size();
  Sink sink = [&](std::string_view data) { return WriteAll(fd, data, fd_name); };
  LayerWriter writer(manifest, lease.tree_fd(), progress);
  if (options.format == ExportFormat::kTar) return writer.Write(sink);
  LayerWriter measured(manifest, lease.tree_fd(), nullptr);
  return WriteOci(std::move(measured), std::move(writer), options.name, sink);
}

}  // namespace strata
