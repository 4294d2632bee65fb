// SPDX-License-Identifier: Apache-2.0
#include "stager/composition.h"

#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <set>

#include "base/parallel.h"
#include "base/sys.h"
#include "cache/directory_layer.h"
#include "stager/lower_chain.h"
#include "stager/view.h"

namespace strata {
namespace {

Result<Member> OpenLayer(const Store& store, const SetItem& item) {
  std::string path = "layers/" + item.id.Hex() + "/tree";
  auto lease = LeaseTree(store, path);
  if (store.marked_only() || (!lease && lease.error().sys_errno() == ENOENT)) {
    // It may have to be verified first, or must not be used; or the error says where it is.
    STRATA_ASSIGN(LayerLease verified, store.LeaseLayer(item.id));
    lease = LeaseTree(store, path);
  }
  if (!lease) return Unexpected(std::move(lease).error());
  STRATA_ASSIGN(Manifest manifest, OpenTreeManifest(store, path));
  return Member{item.id, std::move(path), std::move(manifest), std::move(*lease), true};
}

// The manifest of one without a key stands for its content of this moment. It is fenced off from
// segments, which are kept.
Result<Member> OpenDirectory(const Store& store, const SetItem& item) {
  STRATA_ASSIGN(DirectoryLayer layer, OpenDirectoryLayer(store, item));
  const bool keyed = layer.id != LayerId{};
  Digest id = keyed ? layer.id : layer.manifest.Id();
  return Member{id, std::move(layer.path), std::move(layer.manifest), FileLock(),
                keyed && layer.same_file_system};
}

Result<Member> OpenItem(const Store& store, const SetItem& item) {
  if (!item.view.empty()) {
    STRATA_ASSIGN(ViewLayer view, OpenView(store, item));
    return Member{view.id, std::move(view.path), std::move(view.manifest), std::move(view.lease),
                  true};
  }
  return item.directory.empty() ? OpenLayer(store, item) : OpenDirectory(store, item);
}

// Whether some of a few layers are so large that a thread for each is worth its while: it costs as
// much as checking a manifest of some 5,000 entries.
bool HasLargeLayers(const Store& store, const DependencySet& set) {
  constexpr off_t kLarge = 512 << 10;
  size_t large = 0;
  for (const SetItem& item : set.items) {
    struct stat st;
    const std::string path = "layers/" + item.id.Hex() + "/manifest";
    if (sys::FstatAt(store.fd(), path.c_str(), &st) == 0 && st.st_size >= kLarge) ++large;
  }
  return large > 1;
}

}  // namespace

Result<FileLock> LeaseTree(const Store& store, const std::string& path) {
  return FileLock::OnDirectory(store.fd(), path, LockMode::kShared, LockWait::kBlock);
}

Result<Manifest> OpenTreeManifest(const Store& store, const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/'));
  auto open = [&]() -> Result<Manifest> {
    STRATA_ASSIGN(Manifest manifest, Manifest::Open(store.fd(), directory + "/manifest"));
    STRATA_TRY(manifest.Validate());
    return manifest;
  };
  auto manifest = open();
  if (!manifest) {
    const int sys_errno = manifest.error().sys_errno();
    Error error = std::move(manifest).error().Wrap(directory);
    return Unexpected(std::move(error).Hint(
        sys_errno == EMFILE
            ? "each layer takes a descriptor while a root is composed: raise the limit "
              "(ulimit -n)"
            : "`strata fsck` says what is damaged"));
  }
  return manifest;
}

Result<std::vector<Member>> OpenMembers(const Store& store, const DependencySet& set) {
  // Nothing but system calls that wait for nobody: most of what a delta costs where many layers
  // are.
  std::vector<std::optional<Result<Member>>> opened(set.items.size());
  constexpr size_t kMany = 16;
  const size_t at_a_time = opened.size() <= kMany && HasLargeLayers(store, set) ? 1 : kMany;
  ParallelFor(
      opened.size(), 0, [&](size_t i) { opened[i] = OpenItem(store, set.items[i]); }, at_a_time);
  std::vector<Member> members;
  members.reserve(opened.size());  // manifests are pointed to
  for (std::optional<Result<Member>>& member : opened) {
    if (!*member) return Unexpected(std::move(*member).error());
    members.push_back(std::move(**member));
  }
  return members;
}

std::vector<std::string> UnmergedWhiteouts(const std::vector<const Manifest*>& manifests) {
  const LowerChain chain(manifests);
  std::vector<std::string> paths;
  for (size_t layer = 0; layer < manifests.size(); ++layer) {
    const Manifest& manifest = *manifests[layer];
    if (manifest.whiteout_count() == 0) continue;
    std::set<uint32_t> directories;
    for (uint32_t i = 1; i < manifest.size(); ++i) {
      const ManifestEntry& e = manifest.entry(i);
      // The root is merged with the upper, or with the skeleton.
      if (e.type == EntryType::kWhiteout && e.parent != 0) directories.insert(e.parent);
    }
    for (uint32_t directory : directories) {
      std::string path = manifest.Path(directory);
      auto merged = chain.Lookup(path);
      if (merged && merged->places.size() == 1 && merged->top().layer == layer) {
        paths.push_back(std::move(path));
      }
    }
  }
  return paths;
}

}  // namespace strata
