// SPDX-License-Identifier: Apache-2.0
//
// Random layer sets for comparing stagers with the reference model: few names, so that the layers
// meet, and links that lead to where the others write. Each set is made from one seed.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/support/layer_maker.h"
#include "tests/support/random_layer.h"
#include "tests/support/reference_text.h"

namespace strata::testing {

class RandomStage {
 public:
  explicit RandomStage(unsigned seed) : random_(seed) {
    static const std::vector<std::string> kOdd = {"\n", "\xff", "-x", " ", "%", "a\tb", "\\", "#"};
    names_ = {"a", "b"};
    if (One(2)) names_.push_back("c");
    if (One(3)) names_.push_back(Any(kOdd));
    if (One(12)) names_.emplace_back(200, 'n');
    merged_usr_ = One(3);
    if (merged_usr_) names_.insert(names_.end(), {"usr", "lib"});
    max_depth_ = 1 + Below(3);
    busy_ = 3 + Below(14);
  }

  std::vector<RefLayer> Layers() {
    // Many small sets, and some that need segments.
    const unsigned count = One(4) ? 9 + Below(6) : 1 + Below(6);
    while (layers_.size() < count) {
      if (!layers_.empty() && One(15)) {
        layers_.push_back(layers_[Below(layers_.size())]);
      } else if (layers_.empty() && merged_usr_) {
        layers_.push_back(MergedUsr());
      } else {
        layers_.push_back(Layer());
      }
    }
    return layers_;
  }

 private:
  unsigned Below(size_t count) { return Pick(random_, static_cast<unsigned>(count)); }
  bool One(unsigned in) { return Below(in) == 0; }
  template <typename T>
  const T& Any(const std::vector<T>& list) {
    return list[Below(list.size())];
  }

  RefPath Path() {
    RefPath path{Any(names_)};
    while (path.size() < max_depth_ && !One(3)) path.push_back(Any(names_));
    return path;
  }

  std::string Target() {
    switch (Below(12)) {
      case 0:
        return Any(
            std::vector<std::string>{".", "/", "..", "./", "//", "../../..", "nowhere", "a/."});
      case 1:
        return "../../../" + JoinPath(Path());
      case 2:
        return ".//" + JoinPath(Path()) + "/";
      case 3:
        return JoinPath(Path()) + "/../" + Any(names_);
      case 4:
      case 5:
      case 6:
        return "/" + JoinPath(Path());
      case 7:
        return "../" + JoinPath(Path());
      default:
        return JoinPath(Path());
    }
  }

  RefEntry Entry() {
    RefEntry e;
    // Few values, so that entries of several layers are identical at times.
    e.sec = 1500000000 + Below(2);
    e.nsec = Below(2) * 500;
    if (One(4)) {
      e.uid = Below(3);
      e.gid = Below(3);
    }
    switch (Below(20)) {
      case 0:
      case 1:
      case 2:
        e.type = EntryType::kSymlink;
        e.mode = 0777;
        e.target = Target();
        break;
      case 3:
      case 4:
      case 5:
        return Whiteout();
      case 6:
        e.opaque = true;
        [[fallthrough]];
      case 7:
      case 8:
      case 9:
      case 10:
      case 11:
        e.mode = Any(std::vector<unsigned>{0755, 0755, 0700, 0555, 01777, 0000, 02775, 04711});
        if (One(4)) e.xattrs = {{"user.d", std::to_string(Below(2))}};
        break;
      case 12:
        e.type = EntryType::kFifo;
        e.mode = 0600;
        break;
      default:
        e.type = EntryType::kFile;
        e.mode = Any(std::vector<unsigned>{0644, 0644, 0755, 0000, 0555, 04755, 02755, 01777});
        e.content = std::string(Below(3), 'x');
        if (One(4)) e.xattrs = {{"user.k", std::string(Below(3), '\0')}};
        if (One(8)) e.xattrs.push_back({"user.l", "1"});
    }
    return e;
  }

  static RefEntry Whiteout() {
    RefEntry e;
    e.type = EntryType::kWhiteout;
    e.mode = 0;
    e.sec = 0;
    return e;
  }

  // Whether all parents of `path` can be directories of the layer, and it can have what is below
  // it.
  static bool Fits(const RefLayer& layer, const RefPath& path, const RefEntry& entry) {
    for (const auto& [other, there] : layer.entries) {
      const bool below =
          std::equal(path.begin(), path.begin() + CommonSize(path, other), other.begin());
      if (!below) continue;
      if (other.size() == path.size()) return false;
      const RefEntry& parent = other.size() < path.size() ? there : entry;
      if (!parent.is(EntryType::kDirectory)) return false;
    }
    return true;
  }
  static long CommonSize(const RefPath& a, const RefPath& b) {
    return static_cast<long>(std::min(a.size(), b.size()));
  }

  RefLayer Layer() {
    RefLayer layer;
    if (One(20)) return layer;
    layer.opaque_root = One(40);
    std::vector<RefPath> files;
    for (unsigned i = 0, count = 1 + Below(busy_); i < count; ++i) {
      RefPath path = Path();
      RefEntry entry = Entry();
      if (!layers_.empty() && One(4)) {  // one of another layer once more
        const RefLayer& other = Any(layers_);
        if (other.entries.empty()) continue;
        auto chosen = other.entries.begin();
        std::advance(chosen, Below(other.entries.size()));
        if (chosen->second.implicit) continue;
        path = chosen->first;
        entry = chosen->second;
        entry.group.clear();
      }
      if (!Fits(layer, path, entry)) continue;
      if (entry.is(EntryType::kFile) && !files.empty() && One(3)) {
        RefEntry& first = layer.entries.at(Any(files));
        if (first.group.empty()) first.group = std::to_string(i);
        entry = first;
      }
      if (entry.is(EntryType::kFile)) files.push_back(path);
      layer.entries[path] = entry;
    }
    AddImplicitParents(layer);
    if (One(8)) {  // as an archive with .wh..wh..opq and no entry for the directory
      for (auto& [path, entry] : layer.entries)
        entry.opaque = entry.opaque || (entry.implicit && One(3));
    }
    return layer;
  }

  RefLayer MergedUsr() {
    RefLayer layer = Layer();
    layer.opaque_root = false;
    std::erase_if(layer.entries, [](const auto& item) {
      return item.first[0] == "lib" || item.first[0] == "a" ||
             (item.first[0] == "usr" &&
              (item.first.size() == 1 || item.first[1] == "lib" || item.first[1] == "a"));
    });
    RefLayer links = ParseLayer(One(2) ? "lib->usr/lib usr/lib/" : "lib->/usr/lib usr/lib/@0700");
    if (One(4)) links = ParseLayer("lib->a a->/usr/lib usr/lib/");
    if (One(8)) links = ParseLayer("lib->a a->usr/a usr/a->lib usr/lib/");
    layer.entries.insert(links.entries.begin(), links.entries.end());
    // A group of which names were taken away may be down to one.
    for (auto& [path, entry] : layer.entries) entry.group.clear();
    return layer;
  }

  std::mt19937 random_;
  std::vector<std::string> names_;
  std::vector<RefLayer> layers_;
  bool merged_usr_;
  unsigned max_depth_;
  unsigned busy_;
};

// The same layer in the store: manifest and tree.
inline LayerId PublishLayer(const Store& store, const RefLayer& layer) {
  LayerMaker maker(store);
  if (layer.opaque_root) maker.OpaqueRoot();
  std::map<std::string, std::string> groups;  // first path of each
  for (const auto& [parts, e] : layer.entries) {
    const std::string path = JoinPath(parts);
    maker.Owner(e.uid, e.gid).Mtime(e.sec, e.nsec);
    switch (e.type) {
      case EntryType::kDirectory:
        if (e.opaque) maker.Opaque(path);
        maker.Dir(path, e.mode, e.xattrs);
        if (e.implicit) maker.Implicit(path);
        break;
      case EntryType::kFile:
        if (e.group.empty() || groups.try_emplace(e.group, path).second) {
          maker.File(path, e.content, e.mode, e.xattrs);
        } else {
          maker.Link(groups[e.group], path);
        }
        break;
      case EntryType::kSymlink:
        maker.Symlink(path, e.target);
        break;
      case EntryType::kFifo:
        maker.Fifo(path);
        break;
      case EntryType::kWhiteout:
        maker.Whiteout(path);
        break;
    }
  }
  return maker.Publish();
}

}  // namespace strata::testing
