// SPDX-License-Identifier: Apache-2.0
//
// A tree to be captured, made by hand: what overlayfs or a command would have left.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stager/capture.h"
#include "tests/support/store_fixture.h"
#include "tests/support/tree_check.h"

namespace strata::testing {

class CaptureFixture : public StoreFixture {
 protected:
  static constexpr int64_t kTime = 1600000000;  // as LayerMaker's
  static constexpr uint32_t kNsec = 123456789;

  CaptureFixture() : pending_(Must(store().NewLayer())) {}
  int tree() const { return pending_.tree_fd(); }
  LayerMaker Layer() { return LayerMaker(store()); }

  void Dir(const std::string& path, unsigned mode = 0755) {
    MustSys(::mkdirat(tree(), path.c_str(), 0700), path);
    MustSys(::fchmodat(tree(), path.c_str(), mode, 0), path);
  }
  void File(const std::string& path, std::string_view content, unsigned mode = 0644) {
    UniqueFd fd = Must(OpenAt(tree(), path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    Must(WriteAll(fd.get(), content, path));
    MustSys(::fchmod(fd.get(), mode), path);
  }
  void Whiteout(const std::string& path) {
    MustSys(::mknodat(tree(), path.c_str(), S_IFCHR, ::makedev(0, 0)), path);
  }
  void Attribute(const std::string& path, const char* name, std::string_view value) {
    UniqueFd fd = Must(OpenAt(tree(), path, O_RDONLY));
    struct stat st;
    MustSys(::fstat(fd.get(), &st), path);
    MustSys(::fchmod(fd.get(), 0700), path);  // an attribute takes write permission
    MustSys(::fsetxattr(fd.get(), name, value.data(), value.size(), 0), path);
    MustSys(::fchmod(fd.get(), st.st_mode & 07777), path);
  }
  // Gives the entry the mtime that LayerMaker gives, or another.
  void Stamp(const std::string& path, int64_t sec = kTime, uint32_t nsec = kNsec) {
    const timespec times[2] = {{sec, nsec}, {sec, nsec}};
    MustSys(::utimensat(tree(), path.c_str(), times, AT_SYMLINK_NOFOLLOW), path);
  }

  // Captures the tree over `lower` (none: as a plain directory), checks that the layer is sound and
  // opens its manifest.
  const CaptureResult& Capture(const std::vector<LayerId>* lower,
                               const CaptureOptions& options = {}) {
    if (lower != nullptr) {
      Chain chain(store(), *lower);
      result_ = Must(CaptureUpper(store(), std::move(pending_), chain.lower(), options));
    } else {
      result_ = Must(CaptureDirectory(store(), std::move(pending_), options));
    }
    pending_ = Must(store().NewLayer());
    ExpectSoundLayer(store(), result_.id);
    manifest_.emplace(Must(store().OpenManifest(result_.id)));
    return result_;
  }
  const CaptureResult& Over(const std::vector<LayerId>& lower, const CaptureOptions& options = {}) {
    return Capture(&lower, options);
  }
  const CaptureResult& Plain(const CaptureOptions& options = {}) {
    return Capture(nullptr, options);
  }

  // Of what was captured last.
  bool Has(std::string_view path) const { return manifest_->Find(path).has_value(); }
  const ManifestEntry& Entry(std::string_view path) const {
    std::optional<uint32_t> index = manifest_->Find(path);
    EXPECT_TRUE(index) << path;
    return manifest_->entry(index.value_or(0));
  }
  const Manifest& manifest() const { return *manifest_; }
  const CaptureResult& result() const { return result_; }

 private:
  PendingLayer pending_;
  CaptureResult result_;
  std::optional<Manifest> manifest_;
};

}  // namespace strata::testing
