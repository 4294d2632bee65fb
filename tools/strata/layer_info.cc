// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/layer_info.h"

#include <cerrno>

#include "base/sys.h"
#include "cache/durable.h"

namespace strata {

Result<LayerInfo> ReadLayerInfo(const Store& store, const LayerId& id, const Names& names) {
  LayerInfo info;
  info.id = id;
  info.refs = names.Of(id);
  info.pinned = names.IsPinned(id);
  STRATA_ASSIGN(Manifest manifest, store.OpenManifest(id));
  info.entries = manifest.size() - 1;
  info.content_bytes = manifest.content_size();
  info.manifest_bytes = manifest.bytes().size();
  info.integration_commands = manifest.integration_commands();
  // A layer's directory never changes once it is published.
  struct stat st;
  std::string path = LayerPathIn("layers", id);
  int rc = sys::FstatAt(store.fd(), path.c_str(), &st);
  if (rc == -ENOENT) rc = sys::FstatAt(store.fd(), LayerPathIn("unverified", id).c_str(), &st);
  if (rc == -ENOENT) return Fail(Errc::kNotFound, "no layer {}", id.Hex());
  STRATA_TRY(sys::Check(rc, "stat", path));
  info.created = st.st_mtime;
  return info;
}

Json ToJson(const LayerInfo& info) {
  Json json;
  json["id"] = info.id.Hex();
  json["refs"] = info.refs;
  json["pinned"] = info.pinned;
  json["entries"] = info.entries;
  json["content_bytes"] = info.content_bytes;
  json["created"] = info.created;
  return json;
}

std::string_view TypeName(EntryType type) {
  switch (type) {
    case EntryType::kDirectory:
      return "directory";
    case EntryType::kFile:
      return "file";
    case EntryType::kSymlink:
      return "symlink";
    case EntryType::kFifo:
      return "fifo";
    case EntryType::kWhiteout:
      return "whiteout";
  }
  return "unknown";
}

}  // namespace strata
