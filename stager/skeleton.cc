// SPDX-License-Identifier: Apache-2.0
#include "stager/skeleton.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"

namespace strata {
namespace {

struct Point {
  bool directory = true;
  uint32_t mode = 0755;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_sec = kRootMtime;
  uint32_t mtime_nsec = 0;
};
using Points = std::map<std::string, Point>;  // sorted, so that parents come first

std::string Describe(const Points& points) {
  std::string text;
  for (const auto& [path, point] : points) {
    text += fmt::format("{} {:o} {}:{} {}.{:09} {}", point.directory ? 'd' : 'f', point.mode,
                        point.uid, point.gid, point.mtime_sec, point.mtime_nsec, path);
    text += '\0';
  }
  return text;
}

Points BasicPoints() { return {{"dev", {}}, {"proc", {}}, {"tmp", {.mode = 01777}}}; }

Result<ManifestBuilder::Node> AddNode(ManifestBuilder& builder, const std::string& path) {
  STRATA_ASSIGN(std::vector<std::string_view> components, SplitPath(path));
  ManifestBuilder::Node node = ManifestBuilder::kRoot;
  for (std::string_view component : components) {
    auto child = builder.Find(node, component);
    node = child ? *child : builder.Add(node, component);
  }
  return node;
}

// Makes the tree and its manifest in a private directory and renames that into place.
Result<void> Publish(const Store& store, const Points& points, const std::string& name) {
  STRATA_ASSIGN(PendingLayer pending, store.NewLayer());
  ManifestBuilder builder;
  for (const auto& [path, point] : points) {
    int rc = point.directory ? sys::MkdirAt(pending.tree_fd(), path.c_str(), 0700)
                             : sys::MknodAt(pending.tree_fd(), path.c_str(), S_IFREG | 0600, 0);
    if (rc < 0) return FailSys(-rc, "create mount point", path);
    STRATA_ASSIGN(ManifestBuilder::Node node, AddNode(builder, path));
    ManifestBuilder::Data& data = builder.At(node);
    data.type = point.directory ? EntryType::kDirectory : EntryType::kFile;
    data.mode = point.mode;
    data.uid = point.uid;
    data.gid = point.gid;
    data.mtime_sec = point.mtime_sec;
    data.mtime_nsec = point.mtime_nsec;
    if (!point.directory) data.digest = Sha256::Of("", 0);
  }
  // Deepest first: what is made in a directory changes its time.
  for (auto at = points.rbegin(); at != points.rend(); ++at) {
    const auto& [path, point] = *at;
    timespec time{point.mtime_sec, point.mtime_nsec};
    timespec times[2] = {time, time};
    if (::fchmodat(pending.tree_fd(), path.c_str(), point.mode & 01777, 0) != 0 ||
        ::utimensat(pending.tree_fd(), path.c_str(), times, 0) != 0) {
      return FailSys(errno, "chmod", path);
    }
  }
  STRATA_ASSIGN(std::vector<uint8_t> manifest, builder.Finish());
  STRATA_TRY(store.PublishDerived(std::move(pending), manifest, name));
  return {};
}

Result<Skeleton> OpenOrPublish(const Store& store, const Points& points, const std::string& name) {
  Skeleton skeleton;
  skeleton.path = fmt::format("derived/{}/tree", name);
  skeleton.manifest_path = fmt::format("derived/{}/manifest", name);
  for (int attempt = 0;; ++attempt) {
    auto lease =
        FileLock::OnDirectory(store.fd(), skeleton.path, LockMode::kShared, LockWait::kBlock);
    if (lease) {
      skeleton.lease = std::move(*lease);
      return skeleton;
    }
    if (lease.error().sys_errno() != ENOENT || attempt == 3) {
      return Unexpected(std::move(lease).error());
    }
    STRATA_TRY_WITH(Publish(store, points, name), "make mount points");
  }
}

}  // namespace

Result<Skeleton> BasicSkeleton(const Store& store) {
  return OpenOrPublish(store, BasicPoints(), "skeleton-basic");
}

Result<ResolvedPath> ResolveInChain(const LowerChain& layers, std::string_view path) {
  constexpr int kMaxLinks = 40;  // as the kernel
  STRATA_ASSIGN(std::vector<std::string_view> split, SplitPath(path));
  std::deque<std::string> rest(split.begin(), split.end());
  std::vector<std::string> names;
  std::vector<LowerChain::Merged> places{layers.Root()};
  bool missing = false;
  int links = 0;
  while (!rest.empty()) {
    std::string name = std::move(rest.front());
    rest.pop_front();
    if (name.empty() || name == ".") continue;
    if (name == "..") {  // from a link's target; never above the root
      if (!names.empty()) {
        names.pop_back();
        if (places.size() > names.size() + 1) places.pop_back();
        missing = places.size() < names.size() + 1;
      }
      continue;
    }
    names.push_back(name);
    if (missing) continue;
    const LowerChain::Merged& directory = places.back();
    if (!layers.entry(directory.top()).is_directory()) {
      names.pop_back();
      return Fail(Errc::kInvalid, "/{}: /{} is not a directory in this root", path,
                  fmt::join(names, "/"));
    }
    auto child = layers.Child(directory, name);
    if (!child) {
      missing = true;
      continue;
    }
    const ManifestEntry& entry = layers.entry(child->top());
    if (entry.type == EntryType::kSymlink) {
      if (++links > kMaxLinks) return Fail(Errc::kInvalid, "/{}: too many links", path);
      std::string_view target = layers.manifest(child->top()).target(entry);
      if (target.empty()) return Fail(Errc::kCorrupt, "/{}: a damaged link", path);
      names.pop_back();
      if (target.front() == '/') {
        names.clear();
        places.resize(1);
      }
      std::vector<std::string> parts;
      for (size_t at = 0; at <= target.size();) {
        size_t slash = std::min(target.find('/', at), target.size());
        parts.emplace_back(target.substr(at, slash - at));
        at = slash + 1;
      }
      rest.insert(rest.begin(), parts.begin(), parts.end());
      continue;
    }
    places.push_back(std::move(*child));
  }
  ResolvedPath resolved;
  resolved.path = fmt::format("{}", fmt::join(names, "/"));
  if (!missing) resolved.found = std::move(places.back());
  return resolved;
}

Result<std::optional<Skeleton>> SkeletonFor(const Store& store, const LowerChain& layers,
                                            MountPoints basic,
                                            const std::vector<MountPoint>& wanted) {
  Points points = basic == MountPoints::kSandbox ? BasicPoints() : Points();
  const size_t basic_count = points.size();
  for (const MountPoint& point : wanted) {
    STRATA_ASSIGN(ResolvedPath resolved, ResolveInChain(layers, point.path));
    if (resolved.found) {
      if (layers.entry(resolved.found->top()).is_directory() != point.directory) {
        return Fail(Errc::kInvalid, "cannot mount a {} on /{}: it is {} in this root",
                    point.directory ? "directory" : "file", point.path,
                    point.directory ? "not a directory" : "a directory");
      }
      continue;
    }
    // Parents that exist are repeated with what shows of them; the others are made.
    LowerChain::Merged directory = layers.Root();
    bool exists = true;
    for (size_t slash = resolved.path.find('/'); slash != std::string::npos;
         slash = resolved.path.find('/', slash + 1)) {
      std::string parent = resolved.path.substr(0, slash);
      Point repeated;
      if (exists) {
        auto child = layers.Child(directory, parent.substr(parent.find_last_of('/') + 1));
        exists = child.has_value();
        if (child) {
          const ManifestEntry& entry = layers.entry(child->top());
          repeated.mode = entry.mode;
          repeated.uid = entry.uid;
          repeated.gid = entry.gid;
          repeated.mtime_sec = entry.mtime_sec;
          repeated.mtime_nsec = entry.mtime_nsec;
          directory = std::move(*child);
        }
      }
      auto [at, added] = points.emplace(parent, repeated);
      if (!added && !at->second.directory) {
        return Fail(Errc::kInvalid, "cannot mount on /{}: /{} is another mount, of a file",
                    point.path, parent);
      }
    }
    auto [at, added] = points.emplace(
        resolved.path,
        Point{.directory = point.directory, .mode = point.directory ? 0755U : 0644U});
    if (!added && at->second.directory != point.directory) {
      return Fail(Errc::kInvalid, "cannot mount both a file and a directory on /{}", point.path);
    }
  }
  if (points.empty()) return std::nullopt;
  if (points.size() == basic_count) return BasicSkeleton(store);
  // SHA-256, so that equal names mean equal skeletons: nothing is compared afterwards.
  std::string text = Describe(points);
  const std::string name =
      fmt::format("skeleton-{:.32}", Sha256::Of(text.data(), text.size()).Hex());
  STRATA_ASSIGN(Skeleton skeleton, OpenOrPublish(store, points, name));
  skeleton.foreign_owners = std::any_of(points.begin(), points.end(), [](const auto& point) {
    return point.second.uid != 0 || point.second.gid != 0;
  });
  return skeleton;
}

}  // namespace strata
