// SPDX-License-Identifier: Apache-2.0
#include "cache/diff.h"

namespace strata {
namespace {

using Kind = Difference::Kind;

class Differ {
 public:
  Differ(const Manifest& old_layer, const Manifest& new_layer,
         const std::function<void(const Difference&)>& visit)
      : old_(old_layer), new_(new_layer), visit_(visit) {}

  // Compares two entries of the same path, `path_`, and what is below them.
  void Both(uint32_t old_index, uint32_t new_index) {
    uint32_t fields = Compare(old_.entry(old_index), new_.entry(new_index));
    if (fields != 0) visit_({Kind::kModified, path_, old_index, new_index, fields});
    Children(old_index, new_index);
  }

 private:
  uint32_t Compare(const ManifestEntry& a, const ManifestEntry& b) const {
    uint32_t fields = 0;
    if (a.type != b.type) fields |= kDiffType;
    if (a.mode != b.mode) fields |= kDiffMode;
    if (a.uid != b.uid || a.gid != b.gid) fields |= kDiffOwner;
    if (a.mtime_sec != b.mtime_sec || a.mtime_nsec != b.mtime_nsec) fields |= kDiffMtime;
    if (a.size != b.size || a.digest != b.digest) fields |= kDiffContent;
    if (old_.target(a) != new_.target(b)) fields |= kDiffTarget;
    if (old_.raw_xattrs(a) != new_.raw_xattrs(b)) fields |= kDiffXattrs;
    if (a.flags != b.flags) fields |= kDiffFlags;
    if (GroupOf(old_, a) != GroupOf(new_, b)) fields |= kDiffHardlink;
    return fields;
  }

  static std::string GroupOf(const Manifest& manifest, const ManifestEntry& entry) {
    return entry.hardlink == kNoEntry ? std::string() : manifest.Path(entry.hardlink);
  }

  // The children of two entries side by side; one that is no directory has none.
  void Children(uint32_t old_index, uint32_t new_index) {
    const ManifestEntry& a = old_.entry(old_index);
    const ManifestEntry& b = new_.entry(new_index);
    uint32_t i = 0;
    uint32_t j = 0;
    while (i < a.child_count || j < b.child_count) {
      uint32_t old_child = a.first_child + i;
      uint32_t new_child = b.first_child + j;
      int order = i == a.child_count ? 1
                  : j == b.child_count
                      ? -1
                      : old_.name(old_.entry(old_child)).compare(new_.name(new_.entry(new_child)));
      if (order < 0) {
        Descend(old_, old_child, [&] { OneSide(old_, old_child, Kind::kDeleted); });
      } else if (order > 0) {
        Descend(new_, new_child, [&] { OneSide(new_, new_child, Kind::kAdded); });
      } else {
        Descend(old_, old_child, [&] { Both(old_child, new_child); });
      }
      if (order <= 0) ++i;
      if (order >= 0) ++j;
    }
  }

  void OneSide(const Manifest& manifest, uint32_t index, Kind kind) {
    if (kind == Kind::kDeleted) {
      visit_({kind, path_, index, kNoEntry, 0});
    } else {
      visit_({kind, path_, kNoEntry, index, 0});
    }
    const ManifestEntry& entry = manifest.entry(index);
    for (uint32_t i = 0; i < entry.child_count; ++i) {
      uint32_t child = entry.first_child + i;
      Descend(manifest, child, [&] { OneSide(manifest, child, kind); });
    }
  }

  // Runs `visit` with the child's name at the end of `path_`.
  template <typename Visit>
  void Descend(const Manifest& manifest, uint32_t child, const Visit& visit) {
    size_t size = path_.size();
    if (size != 0) path_ += '/';
    path_ += manifest.name(manifest.entry(child));
    visit();
    path_.resize(size);
  }

  const Manifest& old_;
  const Manifest& new_;
  const std::function<void(const Difference&)>& visit_;
  std::string path_;
};

}  // namespace

void Diff(const Manifest& old_layer, const Manifest& new_layer,
          const std::function<void(const Difference&)>& visit) {
  Differ(old_layer, new_layer, visit).Both(0, 0);
}

}  // namespace strata
