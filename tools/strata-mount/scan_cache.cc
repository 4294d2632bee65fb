// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/scan_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>

#include "base/io.h"
#include "base/sys.h"

namespace strata::mount {
namespace {

constexpr const char* kPrefix = "strata-mount.";

// Which directory it was, and which marks were looked for. A birth time, as inode numbers are used
// again.
Result<std::string> Identity(int layer_fd, KernelMarks kernel) {
  struct statx st;
  if (::statx(layer_fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0) {
    return FailSys(errno, "statx", "a layer");
  }
  return fmt::format("strata-mount 1 {} {} {}.{:09}",
                     kernel == KernelMarks::kTrusted ? "trusted" : "user", st.stx_ino,
                     st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

// Where the layer's file would be: a descriptor of the directory beside it, and its name there.
// Nothing where the layer is no layer of containers/storage.
struct Place {
  UniqueFd directory;
  std::string name;
};
std::optional<Place> PlaceOf(const std::string& path) {
  // The name as given may be a link, l/XXXX; where that leads, the kernel knows.
  size_t slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  std::string parent = path + "/..";
  if (!name.starts_with("diff")) {
    char target[512];
    int64_t size = sys::ReadlinkAt(AT_FDCWD, path.c_str(), target, sizeof target);
    if (size <= 0) return std::nullopt;
    std::string_view leads(target, static_cast<size_t>(size));
    name = leads.substr(leads.rfind('/') == std::string_view::npos ? 0 : leads.rfind('/') + 1);
    if (!name.starts_with("diff")) return std::nullopt;
  }
  UniqueFd directory(sys::OpenAt(AT_FDCWD, parent.c_str(), O_RDONLY | O_DIRECTORY));
  struct stat st;
  if (!directory.valid() || sys::FstatAt(directory.get(), "link", &st) < 0) return std::nullopt;
  return Place{std::move(directory), kPrefix + name};
}

// Fields ended by NUL, as a path may hold anything else: the identity, an attribute's name, marks,
// "end".
std::string Encode(const std::string& identity, const MarkScan& scan) {
  std::string text = identity + '\0' + scan.override_attribute + '\0';
  for (const Mark& mark : scan.marks) {
    text += static_cast<char>(mark.kind);
    text += mark.path + '\0';
  }
  return text + "end" + '\0';
}

// A path that leads nowhere else: the file is where others may write.
bool IsInside(std::string_view path) {
  if (path.starts_with('/')) return false;
  return (fmt::format("/{}/", path)).find("/../") == std::string::npos;
}

std::optional<MarkScan> Decode(std::string_view text, std::string_view identity) {
  auto next = [&]() -> std::optional<std::string_view> {
    size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view field = text.substr(0, end);
    text.remove_prefix(end + 1);
    return field;
  };
  if (next() != identity) return std::nullopt;
  auto attribute = next();
  if (!attribute) return std::nullopt;
  MarkScan scan;
  scan.override_attribute = *attribute;
  for (auto field = next(); field; field = next()) {
    if (*field == "end") return scan;
    if (field->empty() || !IsInside(field->substr(1))) return std::nullopt;
    Mark mark{Mark::Kind::kOpaque, std::string(field->substr(1))};
    if (field->front() == 'w') {
      mark.kind = Mark::Kind::kWhiteout;
    } else if (field->front() != 'o') {
      return std::nullopt;
    }
    scan.marks.push_back(std::move(mark));
  }
  return std::nullopt;
}

}  // namespace

Result<MarkScan> ScanLayer(const std::string& path, int layer_fd, KernelMarks kernel,
                           Change change) {
  std::optional<Place> place = PlaceOf(path);
  if (!place) return ScanMarks(layer_fd, kernel);
  STRATA_ASSIGN(std::string identity, Identity(layer_fd, kernel));
  if (auto text = ReadFile(place->directory.get(), place->name)) {
    if (auto scan = Decode(*text, identity)) return std::move(*scan);
  }
  STRATA_ASSIGN(MarkScan scan, ScanMarks(layer_fd, kernel));
  if (change == Change::kNone) {
    static_cast<void>(
        ReplaceFile(place->directory.get(), place->name, Encode(identity, scan), 0600));
  }
  return scan;
}

}  // namespace strata::mount
