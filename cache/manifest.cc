// SPDX-License-Identifier: Apache-2.0
#include "cache/manifest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "base/sys.h"
#include "cache/manifest_layout.h"

namespace strata {

// A mapping costs a page fault and, where there are threads, an interrupt of the other processors
// when it goes: more than to copy what most layers have.
static constexpr size_t kReadUpTo = 64 << 10;

static_assert(std::endian::native == std::endian::little, "the manifest is mapped as it is");

Manifest::Manifest(Manifest&& other) noexcept {
  *this = std::move(other);
}

Manifest& Manifest::operator=(Manifest&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(owned_, other.owned_);
  std::swap(entries_, other.entries_);
  std::swap(count_, other.count_);
  std::swap(strings_, other.strings_);
  return *this;
}

Manifest::~Manifest() {
  if (mapping_ != nullptr) ::munmap(mapping_, bytes_.size());
}

Result<Manifest> Manifest::Open(int dir_fd, const std::string& path) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, path, O_RDONLY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return FailSys(errno, "fstat", path);
  if (static_cast<size_t>(st.st_size) < sizeof(ManifestHeader)) {
    return Fail(Errc::kCorrupt, "{}: too short for a manifest", path);
  }
  Manifest manifest;
  size_t size = static_cast<size_t>(st.st_size);
  if (size <= kReadUpTo) {
    std::vector<uint8_t> bytes(size);
    for (size_t at = 0; at < size;) {
      int64_t n = sys::Read(fd.get(), bytes.data() + at, size - at);
      if (n < 0) return FailSys(static_cast<int>(-n), "read", path);
      if (n == 0) return Fail(Errc::kCorrupt, "{}: too short for a manifest", path);
      at += static_cast<size_t>(n);
    }
    auto read = FromBytes(std::move(bytes));
    if (!read) return Unexpected(std::move(read).error().Wrap(path));
    return read;
  }
  void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapping == MAP_FAILED) return FailSys(errno, "mmap", path);
  manifest.mapping_ = mapping;
  manifest.bytes_ = {static_cast<const uint8_t*>(mapping), size};
  STRATA_TRY_WITH(manifest.CheckHeader(), path);
  return manifest;
}

Result<Manifest> Manifest::FromBytes(std::vector<uint8_t> bytes) {
  if (bytes.size() < sizeof(ManifestHeader)) {
    return Fail(Errc::kCorrupt, "too short for a manifest");
  }
  Manifest manifest;
  manifest.owned_ = std::move(bytes);
  manifest.bytes_ = manifest.owned_;
  STRATA_TRY(manifest.CheckHeader());
  return manifest;
}

Result<void> Manifest::CheckHeader() {
  ManifestHeader header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  if (std::memcmp(header.magic, kManifestMagic, sizeof header.magic) != 0) {
    return Fail(Errc::kCorrupt, "not a manifest");
  }
  if (header.version != kManifestVersion || header.header_size != sizeof header ||
      header.entry_size != sizeof(ManifestEntry)) {
    return Unexpected(
        Error(Errc::kUnsupported, fmt::format("manifest version {}; this strata knows version {}",
                                              header.version, kManifestVersion))
            .Hint("use the strata that wrote this store, or import the layer again"));
  }
  uint64_t room = bytes_.size() - sizeof header;
  uint64_t entries_size = uint64_t{header.entry_count} * sizeof(ManifestEntry);
  if (header.entry_count == 0 || entries_size > room ||
      header.strings_size != room - entries_size) {
    return Fail(Errc::kCorrupt, "a manifest of {} entries cannot have {} bytes", header.entry_count,
                bytes_.size());
  }
  entries_ = reinterpret_cast<const ManifestEntry*>(bytes_.data() + sizeof header);
  count_ = header.entry_count;
  strings_ = {reinterpret_cast<const char*>(bytes_.data()) + sizeof header + entries_size,
              static_cast<size_t>(header.strings_size)};
  return {};
}

// What the names of one hardlink group have in common.
bool Manifest::SameData(const ManifestEntry& a, const ManifestEntry& b) const {
  return a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
         a.mtime_sec == b.mtime_sec && a.mtime_nsec == b.mtime_nsec && a.size == b.size &&
         a.digest == b.digest && target(a) == target(b) && raw_xattrs(a) == raw_xattrs(b);
}

namespace {

bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool HasNoMetadata(const ManifestEntry& e) {
  return e.uid == 0 && e.gid == 0 && e.mtime_nsec == 0 && e.xattrs_size == 0;
}

// What no entry can be, wherever it stands; null where there is nothing wrong.
const char* WrongWith(const ManifestEntry& e, bool is_root, std::string_view target) {
  if (e.reserved != 0) return "reserved bytes are not zero";
  if (e.type < EntryType::kDirectory || e.type > EntryType::kWhiteout) return "bad type";
  if (e.flags > (kOpaque | kImplicit) || (e.flags != 0 && !e.is_directory())) return "bad flags";
  if (e.mode > 07777 || e.mtime_nsec > 999999999) return "bad metadata";
  if ((e.type == EntryType::kSymlink) != (e.target_size > 0) || e.target_size > 4095 ||
      target.find('\0') != std::string_view::npos) {
    return "bad target";
  }
  if (e.type != EntryType::kFile && (e.size != 0 || e.digest != Digest{})) {
    return "content without a file";
  }
  if (e.type == EntryType::kWhiteout && (e.mode != 0 || e.mtime_sec != 0 || !HasNoMetadata(e))) {
    return "a whiteout with metadata";
  }
  if (e.type == EntryType::kSymlink && e.mode != 0777) return "a symlink with a mode";
  if (is_root && e.implicit()) return "metadata that an implicit directory cannot have";
  if ((is_root || e.implicit()) &&
      (e.mode != 0755 || e.mtime_sec != kRootMtime || !HasNoMetadata(e))) {
    return "metadata that an implicit directory cannot have";
  }
  return nullptr;
}

}  // namespace

Result<void> Manifest::Validate() const {
  auto bad = [](uint32_t i, std::string_view why) {
    return Fail(Errc::kCorrupt, "manifest entry {}: {}", i, why);
  };
  uint64_t strings_at = 0;
  // The canonical form leaves no freedom: strings follow each other, children follow each other.
  auto next_string = [&](uint32_t offset, uint64_t size) {
    if (size == 0) return offset == 0;
    if (offset != strings_at || size > strings_.size() - strings_at) return false;
    strings_at += size;
    return true;
  };
  uint64_t next_child = 1;
  uint64_t content = 0;
  uint32_t whiteouts = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    const ManifestEntry& e = entries_[i];
    if (!next_string(e.name_offset, e.name_size)) return bad(i, "misplaced name");
    if (!next_string(e.target_offset, e.target_size)) return bad(i, "misplaced target");
    if (!next_string(e.xattrs_offset, e.xattrs_size)) return bad(i, "misplaced attributes");
    if (const char* why = WrongWith(e, i == 0, target(e))) return bad(i, why);
    if (!CheckRawXattrs(raw_xattrs(e))) return bad(i, "bad attributes");
    const std::string_view n = name(e);
    if (i == 0) {
      if (!e.is_directory() || !n.empty() || e.parent != 0) return bad(i, "bad root");
    } else {
      if (!IsPlainName(n)) return bad(i, "bad name");
      if (e.parent >= i) return bad(i, "a parent that comes later");
      const ManifestEntry& p = entries_[e.parent];
      if (!p.is_directory() || i < p.first_child || i - p.first_child >= p.child_count) {
        return bad(i, "not among its parent's children");
      }
      if (i > p.first_child && name(entries_[i - 1]) >= n) return bad(i, "out of order");
    }
    if (e.is_directory() && e.child_count > 0) {
      if (e.first_child != next_child || e.child_count > count_ - next_child) {
        return bad(i, "bad child list");
      }
      next_child += e.child_count;
    } else if (e.child_count != 0 || e.first_child != 0) {
      return bad(i, "children without a directory");
    }
    if (e.hardlink != kNoEntry) {
      if (e.hardlink > i || e.is_directory() || e.type == EntryType::kWhiteout) {
        return bad(i, "bad hardlink");
      }
      const ManifestEntry& leader = entries_[e.hardlink];
      if (leader.hardlink != e.hardlink || !SameData(leader, e)) {
        return bad(i, "a hardlink that differs from its first name");
      }
    }
    if (e.hardlink == kNoEntry || e.hardlink == i) content += e.size;
    if (e.type == EntryType::kWhiteout) ++whiteouts;
  }
  if (next_child != count_) return Fail(Errc::kCorrupt, "manifest: entries without a parent");
  ManifestHeader header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  if (!next_string(header.commands_offset, header.commands_size) || strings_at != strings_.size() ||
      (header.commands_size > 0 && strings_.back() != '\0')) {
    return Fail(Errc::kCorrupt, "manifest: misplaced integration commands");
  }
  if (header.content_size != content) return Fail(Errc::kCorrupt, "manifest: wrong content size");
  if (header.whiteout_count != whiteouts || header.reserved32 != 0 || header.reserved != 0) {
    return Fail(Errc::kCorrupt, "manifest: wrong number of whiteouts");
  }
  return {};
}

uint64_t Manifest::content_size() const {
  ManifestHeader header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  return header.content_size;
}

bool Manifest::has_foreign_owners() const {
  return std::any_of(entries_, entries_ + count_,
                     [](const ManifestEntry& e) { return e.uid != 0 || e.gid != 0; });
}

bool Manifest::has_files_of_other_users() const {
  return std::any_of(entries_, entries_ + count_, [](const ManifestEntry& e) {
    return e.uid != 0 && e.type != EntryType::kDirectory;
  });
}

uint32_t Manifest::whiteout_count() const {
  ManifestHeader header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  return header.whiteout_count;
}

std::vector<std::string> Manifest::integration_commands() const {
  ManifestHeader header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  std::vector<std::string> commands;
  std::string_view rest = String(header.commands_offset, header.commands_size);
  for (size_t end; (end = rest.find('\0')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    commands.emplace_back(rest.substr(0, end));
  }
  return commands;
}

std::vector<Xattr> Manifest::xattrs(const ManifestEntry& e) const {
  std::vector<Xattr> list;
  std::string_view rest = raw_xattrs(e);
  while (rest.size() >= kXattrHeaderSize) {
    uint16_t name_size;
    uint32_t value_size;
    std::memcpy(&name_size, rest.data(), sizeof name_size);
    std::memcpy(&value_size, rest.data() + sizeof name_size, sizeof value_size);
    rest.remove_prefix(kXattrHeaderSize);
    if (uint64_t{name_size} + value_size > rest.size()) break;
    list.push_back(
        {std::string(rest.substr(0, name_size)), std::string(rest.substr(name_size, value_size))});
    rest.remove_prefix(size_t{name_size} + value_size);
  }
  return list;
}

std::optional<uint32_t> Manifest::Child(uint32_t directory, std::string_view child) const {
  const ManifestEntry& d = entries_[directory];
  uint64_t end = uint64_t{d.first_child} + d.child_count;
  if (d.child_count == 0 || end > count_) return std::nullopt;
  uint32_t low = d.first_child;
  uint32_t high = static_cast<uint32_t>(end);
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (name(entries_[middle]) < child) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == end || name(entries_[low]) != child) return std::nullopt;
  return low;
}

std::optional<uint32_t> Manifest::Find(std::string_view path) const {
  uint32_t at = 0;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view component = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    std::optional<uint32_t> child = Child(at, component);
    if (!child) return std::nullopt;
    at = *child;
  }
  return at;
}

std::string Manifest::Path(uint32_t index) const {
  if (index == 0) return {};
  std::string path(name(entries_[index]));
  // Parents come before their children, so this ends.
  for (uint32_t at = entries_[index].parent; at != 0 && at < index; at = entries_[at].parent) {
    path.insert(0, "/");
    path.insert(0, name(entries_[at]));
  }
  return path;
}

void Manifest::Walk(
    const std::function<void(const std::string& path, uint32_t index)>& visit) const {
  struct Level {
    uint32_t next;
    uint32_t end;
    size_t path_size;  // of the directory
  };
  std::string path;
  std::vector<Level> stack;
  auto enter = [&](uint32_t index) {
    visit(path, index);
    const ManifestEntry& e = entries_[index];
    if (!e.is_directory() || uint64_t{e.first_child} + e.child_count > count_) return;
    if (e.child_count > 0 && e.first_child <= index) return;  // corrupt: would not end
    stack.push_back({e.first_child, e.first_child + e.child_count, path.size()});
  };
  enter(0);
  while (!stack.empty()) {
    Level& level = stack.back();
    path.resize(level.path_size);
    if (level.next == level.end) {
      stack.pop_back();
      continue;
    }
    uint32_t index = level.next++;
    if (!path.empty()) path += '/';
    path += name(entries_[index]);
    enter(index);
  }
}

bool CheckRawXattrs(std::string_view raw) {
  std::string_view previous;
  while (!raw.empty()) {
    if (raw.size() < kXattrHeaderSize) return false;
    uint16_t name_size;
    uint32_t value_size;
    std::memcpy(&name_size, raw.data(), sizeof name_size);
    std::memcpy(&value_size, raw.data() + sizeof name_size, sizeof value_size);
    raw.remove_prefix(kXattrHeaderSize);
    if (name_size == 0 || uint64_t{name_size} + value_size > raw.size()) return false;
    std::string_view name = raw.substr(0, name_size);
    if (name.find('\0') != std::string_view::npos || (!previous.empty() && name <= previous)) {
      return false;
    }
    previous = name;
    raw.remove_prefix(size_t{name_size} + value_size);
  }
  return true;
}

}  // namespace strata
