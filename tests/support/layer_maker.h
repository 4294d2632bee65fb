// SPDX-License-Identifier: Apache-2.0
//
// Makes layers in a store entry by entry, for tests and benchmarks: the manifest and the tree at
// the same time. Parents are made as needed (0755). Failures are fatal to the program.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/sys.h"
#include "cache/manifest.h"
#include "cache/store.h"

namespace strata::testing {

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().message());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline void MustSys(int rc, std::string_view what) {
  if (rc < 0) {
    fmt::print(stderr, "{}\n", Error::Sys(errno, what).message());
    std::abort();
  }
}

class LayerMaker {
 public:
  using Node = ManifestBuilder::Node;

  explicit LayerMaker(const Store& store) : store_(store), pending_(Must(store.NewLayer())) {}

  // What the entries made from now on get.
  LayerMaker& Owner(uint32_t uid, uint32_t gid) {
    uid_ = uid;
    gid_ = gid;
    return *this;
  }
  LayerMaker& Mtime(int64_t sec, uint32_t nsec = 0) {
    sec_ = sec;
    nsec_ = nsec;
    return *this;
  }

  bool Has(const std::string& path) const { return nodes_.count(path) != 0; }
  const ManifestBuilder::Data& At(const std::string& path) const {
    return builder_.At(nodes_.at(path));
  }

  LayerMaker& Dir(const std::string& path, unsigned mode = 0755, std::vector<Xattr> xattrs = {}) {
    if (!Has(path)) {
      Parents(path);
      MustSys(::mkdirat(tree(), path.c_str(), 0700), path);
      New(path, EntryType::kDirectory, mode);
    }
    builder_.At(nodes_[path]).mode = mode;
    if (xattrs.empty()) return *this;
    UniqueFd fd = Must(OpenAt(tree(), path, O_RDONLY | O_DIRECTORY));
    SetXattrs(fd.get(), path, xattrs);
    builder_.At(nodes_[path]).xattrs = std::move(xattrs);
    return *this;
  }
  // A parent that had no entry of its own.
  LayerMaker& Implicit(const std::string& path) {
    Dir(path);
    ManifestBuilder::Data& data = builder_.At(nodes_[path]);
    data.flags |= kImplicit;
    data.uid = data.gid = 0;
    data.mtime_sec = kRootMtime;
    data.mtime_nsec = 0;
    return *this;
  }
  LayerMaker& Opaque(const std::string& path) {
    Dir(path);
    UniqueFd fd = Must(OpenAt(tree(), path, O_RDONLY | O_DIRECTORY));
    MustSys(::fsetxattr(fd.get(), "user.overlay.opaque", "y", 1, 0), path);
    builder_.At(nodes_[path]).flags |= kOpaque;
    return *this;
  }
  LayerMaker& File(const std::string& path, std::string_view content, unsigned mode = 0644,
                   std::vector<Xattr> xattrs = {}) {
    Parents(path);
    UniqueFd fd = Must(OpenAt(tree(), path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    Must(WriteAll(fd.get(), content, path));
    SetXattrs(fd.get(), path, xattrs);
    MustSys(::fchmod(fd.get(), mode & 01777), path);
    Node node = New(path, EntryType::kFile, mode);
    ManifestBuilder::Data& data = builder_.At(node);
    data.size = content.size();
    data.digest = Sha256::Of(content.data(), content.size());
    data.xattrs = std::move(xattrs);
    Stamp(path);
    return *this;
  }
  LayerMaker& Symlink(const std::string& path, const std::string& target) {
    Parents(path);
    MustSys(::symlinkat(target.c_str(), tree(), path.c_str()), path);
    builder_.At(New(path, EntryType::kSymlink, 0777)).target = target;
    Stamp(path);
    return *this;
  }
  LayerMaker& Fifo(const std::string& path) {
    Parents(path);
    MustSys(::mknodat(tree(), path.c_str(), S_IFIFO | 0600, 0), path);
    New(path, EntryType::kFifo, 0600);
    Stamp(path);
    return *this;
  }
  LayerMaker& Whiteout(const std::string& path) {
    Parents(path);
    MustSys(::mknodat(tree(), path.c_str(), S_IFCHR, ::makedev(0, 0)), path);
    New(path, EntryType::kWhiteout, 0);
    return *this;
  }
  LayerMaker& Link(const std::string& existing, const std::string& path) {
    Parents(path);
    MustSys(::linkat(tree(), existing.c_str(), tree(), path.c_str(), 0), path);
    Node node = New(path, At(existing).type, 0);
    builder_.At(node).hardlink_to = nodes_[existing];
    return *this;
  }

  LayerMaker& OpaqueRoot() {
    MustSys(::fsetxattr(tree(), "user.overlay.opaque", "y", 1, 0), "tree");
    builder_.At(ManifestBuilder::kRoot).flags |= kOpaque;
    return *this;
  }
  LayerMaker& Integrate(const std::string& command) {
    builder_.AddIntegrationCommand(command);
    return *this;
  }

  LayerId Publish() {
    // Deepest first: setting up what is in a directory changes its mtime.
    for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) {
      if (builder_.At(it->second).type != EntryType::kDirectory) continue;
      MustSys(::fchmodat(tree(), it->first.c_str(), builder_.At(it->second).mode & 01777, 0),
              it->first);
      Stamp(it->first);
    }
    return Must(store_.Publish(std::move(pending_), Must(builder_.Finish()))).id;
  }

 private:
  int tree() const { return pending_.tree_fd(); }
  void Parents(const std::string& path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos || Has(path.substr(0, slash))) return;
    Parents(path.substr(0, slash));
    Dir(path.substr(0, slash));
  }
  Node New(const std::string& path, EntryType type, unsigned mode) {
    size_t slash = path.rfind('/');
    Node parent =
        slash == std::string::npos ? ManifestBuilder::kRoot : nodes_.at(path.substr(0, slash));
    Node node = builder_.Add(parent, path.substr(slash == std::string::npos ? 0 : slash + 1));
    ManifestBuilder::Data& data = builder_.At(node);
    data.type = type;
    data.mode = mode;
    data.uid = uid_;
    data.gid = gid_;
    data.mtime_sec = sec_;
    data.mtime_nsec = nsec_;
    nodes_[path] = node;
    return node;
  }
  static void SetXattrs(int fd, const std::string& path, const std::vector<Xattr>& xattrs) {
    for (const Xattr& xattr : xattrs) {  // security.capability is in the manifest only
      if (xattr.name.compare(0, 5, "user.") != 0) continue;
      MustSys(::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0), path);
    }
  }
  void Stamp(const std::string& path) {
    const ManifestBuilder::Data& data = At(path);
    timespec times[2] = {{data.mtime_sec, data.mtime_nsec}, {data.mtime_sec, data.mtime_nsec}};
    MustSys(::utimensat(tree(), path.c_str(), times, AT_SYMLINK_NOFOLLOW), path);
  }

  const Store& store_;
  PendingLayer pending_;
  ManifestBuilder builder_;
  std::map<std::string, Node> nodes_;
  uint32_t uid_ = 0;
  uint32_t gid_ = 0;
  int64_t sec_ = 1600000000;
  uint32_t nsec_ = 123456789;
};

}  // namespace strata::testing
