// SPDX-License-Identifier: Apache-2.0
//
// What the benchmarks of composed roots share: a store that is removed when the program ends,
// layers of many small files, mounts as a run makes them, and the work that is timed in them.
//
// Failures end the program. The cold measurements need root (drop_caches); so do the mounts.
#pragma once

#include <benchmark/benchmark.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/temp_dir.h"
#include "bench/suite.h"
#include "cache/roots.h"
#include "cache/store.h"
#include "stager/compose.h"
#include "tests/support/layer_maker.h"
#include "tests/support/overlay_view.h"

namespace strata::bench {

using testing::Must;
using testing::MustSys;

// The executable that is measured: $STRATA, else the one of this build tree.
inline std::string StrataExecutable() {
  const char* strata = std::getenv("STRATA");
  return strata != nullptr ? strata : STRATA_EXECUTABLE;
}

inline std::string StrataBwrapExecutable() {
  const char* strata_bwrap = std::getenv("STRATA_BWRAP");
  return strata_bwrap != nullptr ? strata_bwrap : STRATA_BWRAP_EXECUTABLE;
}

// $STRATA_BENCH_DIR, else /var/tmp: a directory of its own there, and a store in it. It stays with
// $STRATA_BENCH_KEEP, for who throws away all of the file system: removing some million files takes
// longer than many a suite.
class BenchStore {
 public:
  BenchStore() : store_(Must(Store::Open(path() + "/store"))) {
    ::umask(022);
    rlimit files;
    ::getrlimit(RLIMIT_NOFILE, &files);  // a lease for each layer
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ~BenchStore() {
    if (std::getenv("STRATA_BENCH_KEEP") != nullptr) temp_.Release();
  }
  BenchStore(const BenchStore&) = delete;
  BenchStore& operator=(const BenchStore&) = delete;

  const Store& store() const { return store_; }
  std::string path() const { return Place() + "/" + temp_.name(); }
  std::string FreshDirectory() const {
    std::string fresh = path() + "/" + RandomName();
    MustSys(::mkdir(fresh.c_str(), 0755), fresh);
    return fresh;
  }
  // No root and no derived layer any more. What there was moves away: ext4 is slow to make files
  // soon after many were deleted.
  void Forget() const {
    std::string away = FreshDirectory();
    for (const char* name : {"roots", "derived"}) {
      const std::string path = store_.path() + "/" + name;
      ::rename(path.c_str(), (away + "/" + name).c_str());
      ::mkdir(path.c_str(), 0700);
    }
  }

 private:
  static std::string Place() {
    const char* place = std::getenv("STRATA_BENCH_DIR");
    return place != nullptr ? place : "/var/tmp";
  }

  UniqueFd parent_ = Must(OpenAt(AT_FDCWD, Place(), O_RDONLY | O_DIRECTORY));
  TempDir temp_ = Must(TempDir::Create(parent_.get(), "strata-bench-"));
  Store store_;
};

// --- Layers

// Files by directory; each holds its path and the salt, or nothing where there is no salt.
using Tree = std::vector<std::pair<std::string, std::vector<std::string>>>;

inline LayerId MakeLayer(const Store& store, const Tree& tree, std::string_view salt) {
  PendingLayer pending = Must(store.NewLayer());
  ManifestBuilder builder;
  std::map<std::string, ManifestBuilder::Node> nodes{{"", ManifestBuilder::kRoot}};
  auto stat_into = [&](ManifestBuilder::Node node, int fd) {
    struct stat st;
    MustSys(::fstat(fd, &st), "fstat");
    ManifestBuilder::Data& data = builder.At(node);
    data.mode = st.st_mode & 07777;
    data.mtime_sec = st.st_mtim.tv_sec;
    data.mtime_nsec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  };
  auto directory = [&](auto& self, const std::string& path) -> ManifestBuilder::Node {
    auto found = nodes.find(path);
    if (found != nodes.end()) return found->second;
    size_t slash = path.rfind('/');
    const bool top = slash == std::string::npos;
    ManifestBuilder::Node parent = self(self, top ? "" : path.substr(0, slash));
    MustSys(::mkdirat(pending.tree_fd(), path.c_str(), 0755), path);
    return nodes[path] = builder.Add(parent, top ? path : path.substr(slash + 1));
  };
  for (const auto& [path, files] : tree) {
    ManifestBuilder::Node parent = directory(directory, path);
    UniqueFd dir = Must(OpenAt(pending.tree_fd(), path, O_RDONLY | O_DIRECTORY));
    for (const std::string& name : files) {
      UniqueFd fd = Must(OpenAt(dir.get(), name, O_WRONLY | O_CREAT | O_EXCL, 0644));
      std::string content =
          salt.empty() ? std::string() : fmt::format("{}/{} {}\n", path, name, salt);
      Must(WriteAll(fd.get(), content, name));
      ManifestBuilder::Node node = builder.Add(parent, name);
      ManifestBuilder::Data& data = builder.At(node);
      data.type = EntryType::kFile;
      data.size = content.size();
      data.digest = Sha256::Of(content.data(), content.size());
      stat_into(node, fd.get());
    }
  }
  for (const auto& [path, node] : nodes) {
    if (path.empty()) continue;
    stat_into(node, Must(OpenAt(pending.tree_fd(), path, O_RDONLY | O_DIRECTORY)).get());
  }
  return Must(store.Publish(std::move(pending), Must(builder.Finish()))).id;
}

inline std::vector<std::string> Names(std::string_view prefix, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", prefix, i));
  return names;
}

// A package as P4 has it: of its 50 files most are in directories that all packages share.
inline Tree Package(int number) {
  const std::string name = fmt::format("p{}", number);
  return {{"usr/include", Names(name + "_h", 20)},
          {"usr/lib", Names(name + "_l", 10)},
          {"usr/bin", Names(name + "_b", 5)},
          {"usr/share/" + name, Names("f", 15)}};
}

// `files` of them, ten in a directory, below `top`.
inline Tree ManyFiles(const std::string& top, int files) {
  Tree tree;
  for (int i = 0; i < files; i += 10) {
    tree.push_back(
        {fmt::format("{}/{}/{}", top, i / 1000, i / 10), Names("f", std::min(10, files - i))});
  }
  return tree;
}

inline DependencySet SetOf(const std::vector<LayerId>& layers) {
  DependencySet set;
  for (const LayerId& id : layers) set.items.push_back({id, ""});
  return set;
}

inline CachedRoot Compose(const Store& store, const DependencySet& set,
                          const ComposeOptions& options = {}) {
  RootDraft draft = Must(DraftRoot(store, set, options));
  return Must(PublishRoot(store, draft.set.Encode(), draft.content));
}

// --- What is timed

template <typename Work>
void Timed(benchmark::State& state, const Work& work) {
  auto start = std::chrono::steady_clock::now();
  work();
  state.SetIterationTime(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

// So that what was done before is not written back while something else is timed.
inline void Settle(const BenchStore& bench) {
  MustSys(::syncfs(bench.store().fd()), "syncfs");
}

inline void DropCaches(const BenchStore& bench) {
  Settle(bench);
  UniqueFd fd = Must(OpenAt(AT_FDCWD, "/proc/sys/vm/drop_caches", O_WRONLY));
  Must(WriteAll(fd.get(), "3", "drop_caches"));
}

// As a run mounts it: an empty directory stands for the skeleton. Detached; gone with the
// descriptor.
inline UniqueFd Mount(const BenchStore& bench, const RootContent& content) {
  testing::OverlayDirs dirs;
  for (const std::string& lower : content.lowers) {
    dirs.lower.push_back(lower[0] == '/' ? lower : bench.store().path() + "/" + lower);
  }
  const std::string scratch = bench.FreshDirectory();
  for (const char* name : {"skeleton", "upper", "work"}) {
    MustSys(::mkdir((scratch + "/" + name).c_str(), 0755), name);
  }
  dirs.lower.push_back(scratch + "/skeleton");
  dirs.upper = scratch + "/upper";
  dirs.work = scratch + "/work";
  return Must(testing::MountOverlay(dirs));
}

// readdir and lstat of everything; the number of entries.
inline size_t Walk(int parent, const char* path) {
  UniqueFd fd = Must(OpenAt(parent, path, O_RDONLY | O_DIRECTORY));
  DIR* dir = ::fdopendir(fd.release());
  size_t count = 0;
  std::vector<std::string> directories;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st;
    MustSys(::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), name);
    if (S_ISDIR(st.st_mode)) directories.emplace_back(name);
    ++count;
  }
  for (const std::string& name : directories) count += Walk(::dirfd(dir), name.c_str());
  ::closedir(dir);
  return count;
}

// Names that are not there, each another one.
inline void LookUpInVain(int root, const char* directory, int count,
                         const char* prefix = "absent") {
  UniqueFd dir = Must(OpenAt(root, directory, O_PATH | O_DIRECTORY));
  for (int i = 0; i < count; ++i) {
    struct stat st;
    if (::fstatat(dir.get(), fmt::format("{}{}.h", prefix, i).c_str(), &st, 0) == 0) std::abort();
  }
}

// What hardlinking costs a program that does nothing else: readdir, mkdir and link. Directories
// that are there already are merged.
inline void HardlinkTree(int from_parent, const char* from, int to_parent, const char* to) {
  DIR* dir = ::fdopendir(Must(OpenAt(from_parent, from, O_RDONLY | O_DIRECTORY)).release());
  UniqueFd target = Must(OpenAt(to_parent, to, O_PATH | O_DIRECTORY));
  while (const dirent* entry = ::readdir(dir)) {
    const char* name = entry->d_name;
    if (std::string_view(name) == "." || std::string_view(name) == "..") continue;
    if (entry->d_type == DT_DIR) {
      if (::mkdirat(target.get(), name, 0755) != 0 && errno != EEXIST) MustSys(-1, name);
      HardlinkTree(::dirfd(dir), name, target.get(), name);
    } else {
      MustSys(::linkat(::dirfd(dir), name, target.get(), name, 0), name);
    }
  }
  ::closedir(dir);
}

inline void HardlinkLayers(const BenchStore& bench, const std::vector<LayerId>& layers,
                           const std::string& to) {
  for (const LayerId& id : layers) {
    HardlinkTree(bench.store().fd(), ("layers/" + id.Hex() + "/tree").c_str(), AT_FDCWD,
                 to.c_str());
  }
}

}  // namespace strata::bench
