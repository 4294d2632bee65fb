// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>

#include "cache/manifest.h"
#include "tools/libstrata/handles.h"

namespace strata {
namespace {

// An entry for the client, and the texts that it points to.
class ListedEntry {
 public:
  ListedEntry(const Manifest& manifest, uint32_t index, const std::string& path)
      : path_("/" + path) {
    const ManifestEntry& entry = manifest.entry(index);
    listed_.size = sizeof listed_;
    listed_.path = path_.c_str();
    listed_.type = static_cast<strata_entry_type>(entry.type);
    listed_.flags = entry.flags;
    listed_.mode = entry.mode;
    listed_.uid = entry.uid;
    listed_.gid = entry.gid;
    listed_.mtime = entry.mtime_sec;
    listed_.mtime_nsec = entry.mtime_nsec;
    if (entry.type == EntryType::kFile) {
      listed_.bytes = entry.size;
      sha256_ = entry.digest.Hex();
      listed_.sha256 = sha256_.c_str();
    }
    if (entry.type == EntryType::kSymlink) {
      target_ = manifest.target(entry);
      listed_.target = target_.c_str();
    }
    if (entry.hardlink != kNoEntry && entry.hardlink != index) {
      hardlink_ = "/" + manifest.Path(entry.hardlink);
      listed_.hardlink = hardlink_.c_str();
    }
  }
  ListedEntry(const ListedEntry&) = delete;
  ListedEntry& operator=(const ListedEntry&) = delete;
  const strata_entry* get() const { return &listed_; }

 private:
  strata_entry listed_{};
  std::string path_, sha256_, target_, hardlink_;
};

static_assert(static_cast<int>(EntryType::kDirectory) == STRATA_ENTRY_DIRECTORY);
static_assert(static_cast<int>(EntryType::kFile) == STRATA_ENTRY_FILE);
static_assert(static_cast<int>(EntryType::kSymlink) == STRATA_ENTRY_SYMLINK);
static_assert(static_cast<int>(EntryType::kFifo) == STRATA_ENTRY_FIFO);
static_assert(static_cast<int>(EntryType::kWhiteout) == STRATA_ENTRY_WHITEOUT);
static_assert(static_cast<int>(kOpaque) == STRATA_ENTRY_OPAQUE);
static_assert(static_cast<int>(kImplicit) == STRATA_ENTRY_IMPLICIT);

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Errc;
using strata::Fail;
using strata::Need;
using strata::Result;

int strata_list_files(const strata_layer* layer, int (*each)(void* user, const strata_entry* entry),
                      void* user, strata_error** error) {
  return Call(error, [&]() -> Result<int> {
    STRATA_TRY(Need(layer, "layer"));
    if (each == nullptr) return Fail(Errc::kInvalid, "each is NULL");
    STRATA_ASSIGN(strata::LayerId id, layer->store->Resolve(layer->id));
    STRATA_ASSIGN(strata::Manifest manifest, layer->store->OpenManifest(id));
    STRATA_TRY_WITH(manifest.Validate(), fmt::format("layer {:.12}", layer->id));
    int verdict = 0;
    manifest.Walk([&](const std::string& path, uint32_t index) {
      if (index == 0 || verdict > 0) return;
      verdict = each(user, strata::ListedEntry(manifest, index, path).get());
    });
    return verdict > 0 ? verdict : 0;
  });
}
