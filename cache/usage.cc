// SPDX-License-Identifier: Apache-2.0
#include "cache/usage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"
#include "cache/list_directory.h"
#include "cache/roots.h"

namespace strata {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr int kMostLevels = 200;  // each costs a descriptor

uint64_t InBlocks(uint64_t bytes) {
  return (bytes + kBlock - 1) / kBlock * kBlock;
}

}  // namespace

uint64_t EstimateLayerBytes(const Manifest& manifest) {
  uint64_t bytes = InBlocks(manifest.bytes().size());
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    const ManifestEntry& entry = manifest.entry(i);
    if (entry.is_directory()) bytes += kBlock;
    bool counted = entry.hardlink != kNoEntry && entry.hardlink != i;
    if (entry.type == EntryType::kFile && !counted) bytes += InBlocks(entry.size);
  }
  return bytes;
}

void DiskUsage::Count(const struct stat& st) {
  ++entries_;
  const uint64_t bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  if (S_ISDIR(st.st_mode) || st.st_nlink == 1) {
    own_ += bytes;
    return;
  }
  auto [place, is_new] = linked_.try_emplace(st.st_ino, Inode{bytes, st.st_nlink});
  if (is_new) shared_ += bytes;
  Inode& inode = place->second;
  if (inode.missing > 0 && --inode.missing == 0) {
    shared_ -= inode.bytes;
    own_ += inode.bytes;
  }
}

Result<void> DiskUsage::Add(int dir_fd, const std::string& path) {
  return Walk(dir_fd, path, 0);
}

Result<void> DiskUsage::Walk(int dir_fd, const std::string& name, int depth) {
  struct stat st;
  int rc = sys::FstatAt(dir_fd, name.c_str(), &st);
  if (rc == -ENOENT || rc == -EACCES) return {};
  if (rc < 0) return FailSys(-rc, "stat", name);
  Count(st);
  if (!S_ISDIR(st.st_mode) || depth >= kMostLevels) return {};
  int fd = sys::OpenAt(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT || fd == -EACCES) return {};
  STRATA_ASSIGN(UniqueFd directory, sys::CheckFd(fd, "open", name));
  STRATA_ASSIGN(std::vector<std::string> children, ListDirectory(directory.get(), "."));
  for (const std::string& child : children) STRATA_TRY(Walk(directory.get(), child, depth + 1));
  return {};
}

Result<StoreUsage> MeasureStore(const Store& store) {
  StoreUsage usage;
  STRATA_ASSIGN(std::vector<LayerId> layers, store.ListLayers());
  for (const LayerId& id : layers) {
    auto manifest = store.OpenManifest(id);
    if (!manifest) continue;  // removed meanwhile, or damaged: fsck says so
    ++usage.layer_count;
    usage.layer_bytes += EstimateLayerBytes(*manifest);
    usage.layer_content_bytes += manifest->content_size();
  }
  auto measure = [&](std::initializer_list<const char*> places) -> Result<uint64_t> {
    DiskUsage disk;
    for (const char* place : places) STRATA_TRY(disk.Add(store.fd(), place));
    return disk.own_bytes() + disk.shared_bytes();
  };
  STRATA_ASSIGN(std::vector<RootKey> roots, ListRoots(store));
  usage.root_count = roots.size();
  STRATA_ASSIGN(usage.root_bytes, measure({"roots"}));
  STRATA_ASSIGN(std::vector<std::string> derived, ListDirectory(store.fd(), "derived"));
  usage.derived_count = derived.size();
  DiskUsage disk;
  STRATA_TRY(disk.Add(store.fd(), "derived"));
  usage.derived_bytes = disk.own_bytes();
  usage.derived_shared = disk.shared_bytes();
  auto count = [&](const char* place) -> Result<uint64_t> {
    STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(store.fd(), place));
    return names.size();
  };
  STRATA_ASSIGN(usage.workspace_count, count("workspaces"));
  STRATA_ASSIGN(usage.cache_count, count("caches"));
  STRATA_ASSIGN(usage.workspace_bytes, measure({"workspaces"}));
  STRATA_ASSIGN(usage.cache_bytes, measure({"caches"}));
  STRATA_ASSIGN(usage.scratch_bytes, measure({"stages", "tmp", "trash", "damaged"}));
  return usage;
}

}  // namespace strata
