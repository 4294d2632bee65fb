// SPDX-License-Identifier: Apache-2.0
//
// The part of Store that deals in pins: empty files pins/HEX.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/sys.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {
namespace {

std::string PinPath(const Target& target) {
  return "pins/" + target.Hex();
}

}  // namespace

Result<void> Store::Pin(const Target& target) const {
  // As with refs: who removes it looks at the pins after having locked it.
  LayerLease layer;
  std::optional<CachedRoot> root;
  if (target.is_root()) {
    STRATA_ASSIGN(root, OpenRoot(*this, target.root));
  } else {
    STRATA_ASSIGN(layer, LeaseLayer(target.layer));
  }
  STRATA_TRY(OpenDir("pins"));
  STRATA_TRY_WITH(OpenAt(root_.get(), PinPath(target), O_WRONLY | O_CREAT | O_NOFOLLOW, 0600),
                  fmt::format("pin {:.12}", target.Hex()));
  return {};
}

Result<void> Store::Unpin(const Target& target) const {
  int rc = sys::UnlinkAt(root_.get(), PinPath(target).c_str());
  if (rc == -ENOENT) {
    return Fail(Errc::kNotFound, "{} {:.12} is not pinned", target.KindName(), target.Hex());
  }
  if (rc < 0) return FailSys(-rc, "unlink", PinPath(target));
  return {};
}

Result<std::vector<Target>> Store::ListPins() const {
  std::vector<Target> pins;
  int fd = sys::OpenAt(root_.get(), "pins", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) return pins;
  STRATA_ASSIGN(UniqueFd owner, sys::CheckFd(fd, "open", "pins"));
  DIR* dir = ::fdopendir(owner.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", "pins");
  static_cast<void>(owner.release());
  while (const dirent* entry = ::readdir(dir)) {
    if (auto id = Digest::FromHex(entry->d_name)) pins.emplace_back(*id);
    if (auto key = Key128::FromHex(entry->d_name)) pins.emplace_back(*key);
  }
  ::closedir(dir);
  std::sort(pins.begin(), pins.end());
  return pins;
}

}  // namespace strata
