// SPDX-License-Identifier: Apache-2.0
#include "cache/replace_layer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/io.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/durable.h"
#include "cache/verify.h"

namespace strata {
namespace {

std::string MarkPath(const LayerId& id) {
  return LayerPathIn("layers", id) + "/damaged";
}

}  // namespace

bool LooksWhole(const Store& store, const LayerId& id) {
  struct stat st;
  if (sys::FstatAt(store.fd(), MarkPath(id).c_str(), &st) == 0) return false;
  const std::string path = LayerPathIn("layers", id);
  VerifyOptions options;
  options.contents = Contents::kTaken;
  auto damages = VerifyOwnTree(store.fd(), path, id, options);
  return !damages || damages->empty();
}

Result<bool> ExchangeLayer(const Store& store, const std::string& replacement, const LayerId& id) {
  const std::string path = LayerPathIn("layers", id);
  auto rename = [&](const std::string& from, const std::string& to, unsigned flags) {
    return sys::RenameAt2(store.fd(), from.c_str(), store.fd(), to.c_str(), flags);
  };
  int rc = rename(replacement, path, RENAME_EXCHANGE);
  if (rc >= 0) return true;
  if (rc != -EINVAL && rc != -ENOSYS) return FailSys(-rc, "rename", path);
  // A file system that cannot exchange (NFS): for a moment there is none. Who is killed in between
  // leaves it to the next import.
  const std::string aside = NameForReplaced(id);
  STRATA_TRY(sys::Check(rename(path, aside, 0), "rename", path));
  rc = rename(replacement, path, 0);
  if (rc == -EEXIST || rc == -ENOTEMPTY) return false;
  STRATA_TRY(sys::Check(rc, "rename", replacement));
  return true;
}

std::string NameForReplaced(const LayerId& id) {
  return LayerPathIn("damaged", id) + "." + RandomName();
}

std::optional<LayerId> ReplacedLayer(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  return Digest::FromHex(name.substr(0, dot));
}

void MarkDamaged(const Store& store, const LayerId& id) {
  UniqueFd file(sys::OpenAt(store.fd(), MarkPath(id).c_str(), O_WRONLY | O_CREAT, 0600));
}

void ClearDamaged(const Store& store, const LayerId& id) {
  sys::UnlinkAt(store.fd(), MarkPath(id).c_str());
}

}  // namespace strata
