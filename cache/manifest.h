// SPDX-License-Identifier: Apache-2.0
//
// The manifest of a layer: a canonical record of its tree, and the one thing that its id is made of
// (SHA-256 of the manifest's bytes). format.md lays the bytes down; this header reads them
// (Manifest: mapped, nothing is parsed or copied) and makes them (ManifestBuilder).
//
// Entries stand breadth-first: entry 0 is the root, and the children of a directory are contiguous
// and sorted by name (bytes). So a child is found by binary search, two manifests are compared by
// walking their child lists side by side, and a whole subtree is skipped by not looking.
//
// A Manifest is immutable and may be read from several threads. It owns its mapping; every
// string_view that it hands out points into it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"

namespace strata {

using LayerId = Digest;

enum class EntryType : uint8_t {
  kDirectory = 1,
  kFile = 2,
  kSymlink = 3,
  kFifo = 4,
  kWhiteout = 5,  // removes what lies below it; has no metadata (all zero)
};

enum EntryFlags : uint8_t {
  kOpaque = 1,    // a directory that hides what lies below it
  kImplicit = 2,  // a parent that had no entry of its own: 0755 0:0, mtime kRootMtime
};

// `/` is always 0755 0:0 with this mtime (1980-01-01, which zip can hold too).
inline constexpr int64_t kRootMtime = 315532800;
inline constexpr uint32_t kNoEntry = 0xffffffff;

// As it stands in the file: little-endian, no padding.
struct ManifestEntry {
  uint32_t parent = 0;
  uint32_t first_child = 0;  // of a directory; 0 where it has none
  uint32_t child_count = 0;
  uint32_t hardlink = kNoEntry;  // the first entry of its hardlink group (for that one: itself)
  uint32_t name_offset = 0;      // offsets count from the start of the strings
  uint16_t name_size = 0;
  EntryType type = EntryType::kDirectory;
  uint8_t flags = 0;
  uint32_t mode = 0;  // 07777: permission bits, setuid, setgid, sticky. Symlinks: 0777
  uint32_t xattrs_offset = 0;
  uint32_t xattrs_size = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime_nsec = 0;
  int64_t mtime_sec = 0;
  uint32_t target_offset = 0;  // of a symlink
  uint32_t target_size = 0;
  uint64_t size = 0;  // of a file's content
  Digest digest;      // of a file's content
  uint64_t reserved = 0;

  bool is_directory() const { return type == EntryType::kDirectory; }
  bool opaque() const { return (flags & kOpaque) != 0; }
  bool implicit() const { return (flags & kImplicit) != 0; }
};
static_assert(sizeof(ManifestEntry) == 112);

struct Xattr {
  std::string name;
  std::string value;
  auto operator<=>(const Xattr&) const = default;
};

class Manifest {
 public:
  // Maps the file. Checks the header and the sizes, not each entry.
  static Result<Manifest> Open(int dir_fd, const std::string& path);
  // From memory (tests, fuzzing, a manifest just built).
  static Result<Manifest> FromBytes(std::vector<uint8_t> bytes);
  Manifest(Manifest&&) noexcept;
  Manifest& operator=(Manifest&&) noexcept;
  ~Manifest();

  // Every offset, order, count and enum; what Open leaves out. Required before trusting a manifest
  // that another could have written.
  Result<void> Validate() const;

  std::span<const uint8_t> bytes() const { return bytes_; }
  LayerId Id() const { return Sha256::Of(bytes_.data(), bytes_.size()); }

  uint32_t size() const { return count_; }  // entries, the root included
  const ManifestEntry& entry(uint32_t index) const { return entries_[index]; }
  std::string_view name(const ManifestEntry& e) const { return String(e.name_offset, e.name_size); }
  std::string_view target(const ManifestEntry& e) const {
    return String(e.target_offset, e.target_size);
  }
  std::vector<Xattr> xattrs(const ManifestEntry& e) const;
  std::string_view raw_xattrs(const ManifestEntry& e) const {  // for comparing
    return String(e.xattrs_offset, e.xattrs_size);
  }
  uint64_t content_size() const;  // sum of the files' sizes, each hardlink group once
  uint32_t whiteout_count() const;
  // Whether an entry belongs to others than 0:0. Looks at each until one does.
  bool has_foreign_owners() const;
  // Whether a file (anything but a directory) belongs to another user than 0: a Debian base has files of other
  // groups and directories of other users, but none of these.
  bool has_files_of_other_users() const;
  std::vector<std::string> integration_commands() const;

  std::optional<uint32_t> Child(uint32_t directory, std::string_view name) const;
  // "usr/bin/cc"; "" is the root. Does not follow links.
  std::optional<uint32_t> Find(std::string_view path) const;
  std::string Path(uint32_t index) const;  // without a leading '/'; "" for the root

  // Pre-order, names sorted: the order in which people expect a listing. The root comes first.
  void Walk(const std::function<void(const std::string& path, uint32_t index)>& visit) const;

 private:
  Manifest() = default;
  Result<void> CheckHeader();
  bool SameData(const ManifestEntry& a, const ManifestEntry& b) const;
  std::string_view String(uint64_t offset, uint64_t size) const {
    if (offset + size > strings_.size()) return {};
    return strings_.substr(offset, size);
  }

  std::span<const uint8_t> bytes_;
  void* mapping_ = nullptr;
  std::vector<uint8_t> owned_;
  const ManifestEntry* entries_ = nullptr;
  uint32_t count_ = 0;
  std::string_view strings_;
};

// Builds a manifest from entries in any order. About 150 bytes of memory an entry, whatever the
// content's size. Not thread-safe, except that distinct nodes may be filled in by distinct threads
// through pointers from At(), as nodes do not move.
class ManifestBuilder {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 0;

  struct Data {
    EntryType type = EntryType::kDirectory;
    uint8_t flags = 0;
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    int64_t mtime_sec = 0;
    uint32_t mtime_nsec = 0;
    uint64_t size = 0;
    Digest digest;
    std::string target;         // of a symlink
    std::vector<Xattr> xattrs;  // any order
    Node hardlink_to = kNoEntry;  // another node (a file, or a link to one): same data as that one
  };

  ManifestBuilder();
  ~ManifestBuilder();
  ManifestBuilder(ManifestBuilder&&) noexcept;
  ManifestBuilder& operator=(ManifestBuilder&&) noexcept;

  std::optional<Node> Find(Node parent, std::string_view name) const;
  // `name` must not exist in `parent` yet. The Data is default-constructed, to be filled in.
  Node Add(Node parent, std::string_view name);
  Data& At(Node node);
  const Data& At(Node node) const;
  std::string_view Name(Node node) const;
  Node Parent(Node node) const;
  std::string Path(Node node) const;
  // Takes the node (and what is below it) out of the tree.
  void Remove(Node node);
  bool HasChildren(Node node) const;
  size_t size() const;  // nodes in the tree, the root included; looks at each

  void AddIntegrationCommand(std::string command);

  // The canonical bytes. The root's metadata is set to what it always is (opaque is kept). `order`, where
  // given, receives the node of each entry.
  Result<std::vector<uint8_t>> Finish(std::vector<Node>* order = nullptr) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace strata
