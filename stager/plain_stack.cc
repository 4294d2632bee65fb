// SPDX-License-Identifier: Apache-2.0
#include "stager/plain_stack.h"

#include <algorithm>
#include <array>
#include <string>

namespace strata {
namespace {

class SideBySide {
 public:
  SideBySide(std::span<const Manifest* const> layers, std::vector<Overlap>* overlaps)
      : layers_(layers), overlaps_(overlaps) {}

  bool Walk() {
    Group roots;
    for (uint32_t i = 0; i < layers_.size(); ++i) roots.Add(i, 0);
    return WalkDirectory(roots);
  }

 private:
  // One entry of some of the layers, bottom first.
  struct Group {
    struct Place {
      uint32_t layer;
      uint32_t entry;
    };
    std::array<Place, kMaxPlainStack> places;
    size_t size = 0;
    void Add(uint32_t layer, uint32_t entry) { places[size++] = {layer, entry}; }
  };
  // Where the walk is in one layer's directory.
  struct Cursor {
    uint32_t layer;
    uint32_t entry;
    uint32_t end;
    std::string_view name;
  };

  const ManifestEntry& EntryAt(const Group::Place& place) const {
    return layers_[place.layer]->entry(place.entry);
  }
  bool Same(const Group::Place& a, const Group::Place& b) const {
    return SameEntry(*layers_[a.layer], a.entry, *layers_[b.layer], b.entry);
  }

  // Child lists are sorted by name.
  bool WalkDirectory(const Group& directory) {
    std::array<Cursor, kMaxPlainStack> cursors;
    size_t count = 0;
    for (size_t i = 0; i < directory.size; ++i) {
      const Group::Place& place = directory.places[i];
      const ManifestEntry& e = EntryAt(place);
      if (e.child_count == 0) continue;
      cursors[count++] = {place.layer, e.first_child, e.first_child + e.child_count,
                          layers_[place.layer]->name(layers_[place.layer]->entry(e.first_child))};
    }
    while (count > 1) {
      Group group;
      size_t first = 0;
      uint32_t equal = 1;  // a bit for each cursor
      for (size_t i = 1; i < count; ++i) {
        const int order = cursors[i].name.compare(cursors[first].name);
        if (order > 0) continue;
        if (order < 0) {
          first = i;
          equal = 0;
        }
        equal |= 1u << i;
      }
      for (size_t i = first; i < count; ++i) {
        if ((equal >> i & 1) != 0) group.Add(cursors[i].layer, cursors[i].entry);
      }
      if (group.size > 1 && !Meet(group)) return false;
      for (size_t i = count; i-- > first;) {
        if ((equal >> i & 1) == 0) continue;
        Cursor& c = cursors[i];
        if (++c.entry < c.end) {
          c.name = layers_[c.layer]->name(layers_[c.layer]->entry(c.entry));
          continue;
        }
        std::copy(cursors.begin() + i + 1, cursors.begin() + count, cursors.begin() + i);
        --count;
      }
    }
    return true;
  }

  bool Meet(const Group& group) {
    const bool directories = EntryAt(group.places[0]).is_directory();
    bool identical = true;
    for (size_t i = 1; i < group.size; ++i) {
      const ManifestEntry& upper = EntryAt(group.places[i]);
      if (upper.is_directory() != directories || upper.opaque()) return false;
      if (directories ? !upper.implicit() : overlaps_ == nullptr) continue;
      const bool same = Same(group.places[i - 1], group.places[i]);
      if (directories && !same) return false;
      identical = identical && same;
    }
    if (!directories) {
      if (overlaps_ != nullptr) NoteOverlap(group, identical);
      return true;
    }
    const size_t size = path_.size();
    if (overlaps_ != nullptr) AppendName(group);
    const bool plain = WalkDirectory(group);
    path_.resize(size);
    return plain;
  }

  void AppendName(const Group& group) {
    if (!path_.empty()) path_ += '/';
    path_ += layers_[group.places[0].layer]->name(EntryAt(group.places[0]));
  }

  void NoteOverlap(const Group& group, bool identical) {
    const size_t size = path_.size();
    AppendName(group);
    Overlap& overlap = overlaps_->emplace_back();
    overlap.path = path_;
    overlap.layers.reserve(group.size);
    for (size_t i = 0; i < group.size; ++i) overlap.layers.push_back(group.places[i].layer);
    overlap.identical = identical;
    path_.resize(size);
  }

  const std::span<const Manifest* const> layers_;
  std::vector<Overlap>* const overlaps_;
  std::string path_;  // of the directory, where overlaps are wanted
};

}  // namespace

bool IsPlainStack(std::span<const Manifest* const> layers, std::vector<Overlap>* overlaps) {
  if (layers.size() > kMaxPlainStack) return false;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i]->whiteout_count() > 0 || (i > 0 && layers[i]->entry(0).opaque())) return false;
  }
  if (overlaps != nullptr && layers.size() > 1) {
    // There can be no more; what is not used costs nothing.
    auto size = [](const Manifest* layer) { return layer->size(); };
    overlaps->reserve(std::ranges::max(layers, {}, size)->size());
  }
  const bool plain = SideBySide(layers, overlaps).Walk();
  if (overlaps == nullptr) return plain;
  if (!plain) {
    overlaps->clear();
    return false;
  }
  auto before = [](const Overlap& a, const Overlap& b) { return a.path < b.path; };
  // Nearly always they are: only "a.b" comes before "a/b".
  if (!std::is_sorted(overlaps->begin(), overlaps->end(), before)) {
    std::sort(overlaps->begin(), overlaps->end(), before);
  }
  return true;
}

}  // namespace strata
