// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/same_overlay.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>

#include "base/mount_table.h"
#include "base/sys.h"

namespace strata::mount {
namespace {

using FileId = std::pair<dev_t, ino_t>;

std::optional<FileId> IdOf(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return FileId(st.st_dev, st.st_ino);
}

// \ooo of mountinfo.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct Layers {
  std::optional<FileId> upper;
  std::set<FileId> lowers;  // those that can be found by the name they were mounted by
  std::set<std::string> relative_lowers;  // relative to who knows what: their names must do
};

Layers LayersOf(std::string_view options) {
  Layers layers;
  while (!options.empty()) {
    std::string_view option = options.substr(0, options.find(','));
    options.remove_prefix(std::min(option.size() + 1, options.size()));
    size_t equals = option.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view name = option.substr(0, equals);
    const std::string value = Unescape(option.substr(equals + 1));
    if (name == "upperdir" && value.starts_with('/')) layers.upper = IdOf(value);
    if (name != "lowerdir+") continue;
    if (!value.starts_with('/')) {
      layers.relative_lowers.insert(value);
    } else if (auto id = IdOf(value)) {
      layers.lowers.insert(*id);
    }
  }
  return layers;
}

template <typename Set>
bool HasAll(const Set& set, const Set& wanted) {
  return std::includes(set.begin(), set.end(), wanted.begin(), wanted.end());
}

Result<std::optional<MountEntry>> OverlayAt(const std::string& target) {
  const uint64_t id = MountIdAt(target);
  STRATA_ASSIGN(std::vector<MountEntry> mounts, ReadMountTable());
  for (MountEntry& mount : mounts) {
    if (mount.id == id && mount.type == "overlay" && mount.root == "/") return std::move(mount);
  }
  return std::nullopt;
}

}  // namespace

uint64_t MountIdAt(const std::string& path) {
  struct statx st;
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) != 0) return 0;
  return (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0;
}

Result<bool> IsMounted(uint64_t mount_id) {
  STRATA_ASSIGN(std::vector<MountEntry> mounts, ReadMountTable());
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const MountEntry& mount) { return mount.id == mount_id; });
}

Result<bool> ShowSameOverlay(const Request& request) {
  struct stat st;
  struct stat parent;
  if (::stat(request.target.c_str(), &st) != 0) return FailSys(errno, "stat", request.target);
  if (::stat((request.target + "/..").c_str(), &parent) == 0 && parent.st_dev == st.st_dev) {
    return false;  // nothing is mounted there: the usual case
  }
  STRATA_ASSIGN(std::optional<MountEntry> mount, OverlayAt(request.target));
  if (!mount) return false;
  const Layers there = LayersOf(mount->options);
  auto wanted = IdOf(request.upper.empty() ? request.lowers[0] : request.upper);
  if (!wanted || there.upper != wanted) return false;
  std::set<FileId> lowers;
  std::set<std::string> names(request.lowers.begin(), request.lowers.end());
  for (const std::string& lower : request.lowers) {
    if (auto id = IdOf(lower)) lowers.insert(*id);
  }
  if (!HasAll(lowers, there.lowers) || !HasAll(names, there.relative_lowers)) {
    return Unexpected(
        Error(Errc::kBusy,
              fmt::format("the upperdir is in use: {} has it above other layers", request.target))
            .Hint(fmt::format("umount {}", request.target)));
  }
  STRATA_ASSIGN(UniqueFd fd,
                sys::CheckFd(sys::OpenTree(AT_FDCWD, request.target.c_str(), OPEN_TREE_CLONE),
                             "open_tree", request.target));
  mount_attr attributes{};
  attributes.attr_set = request.attributes & MOUNT_ATTR_RDONLY;
  if (attributes.attr_set != 0) {
    STRATA_TRY(sys::Check(sys::MountSetattr(fd.get(), "", AT_EMPTY_PATH, &attributes),
                          "mount_setattr", request.target));
  }
  STRATA_TRY(sys::Check(sys::MoveMount(fd.get(), "", AT_FDCWD, request.target.c_str(),
                                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS),
                        "move_mount", request.target));
  return true;
}

}  // namespace strata::mount
