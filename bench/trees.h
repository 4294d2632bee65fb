// SPDX-License-Identifier: Apache-2.0
//
// One set of layers as each contender shows it at a directory, for what is then done in there:
//
//   strata           the composed root, mounted as a run mounts it, with an upper on the same disk
//   plain            one directory with files of its own: the best that a tree can be
//   hardlinks        one directory of links to the layers' files: what a hardlink stager leaves
//   symlinks         one directory of absolute symlinks to the layers' files
//   fuse_overlayfs   Debian's, over the same lower directories as strata's mount
#pragma once

#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include <functional>
#include <string>
#include <vector>

#include "base/sys.h"
#include "bench/suite.h"
#include "bench/support.h"

namespace strata::bench {

class Trees {
 public:
  explicit Trees(const std::function<std::vector<LayerId>(const Store&)>& make)
      : layers_(make(bench_.store())), root_(Compose(bench_.store(), SetOf(layers_)).content) {
    // Daemons of fuse-overlayfs become children of this program, so that it can wait for their end.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  }

  const BenchStore& bench() const { return bench_; }

  static const std::vector<std::string>& Contenders() {
    static const std::vector<std::string> all{"strata", "plain", "hardlinks", "symlinks",
                                              "fuse_overlayfs"};
    return all;
  }
  static std::string WhyMissing(const std::string& contender) {
    const bool fuse = contender == "fuse_overlayfs";
    return fuse && !Installed("fuse-overlayfs") ? "fuse-overlayfs is not installed" : "";
  }

  // At a directory of its own each time; nothing was written to it yet.
  std::string Fresh(const std::string& contender) {
    const std::string at = bench_.FreshDirectory();
    if (contender == "strata") {
      UniqueFd mount = Mount(bench_, root_);
      MustSys(sys::MoveMount(mount.get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH),
              "move_mount");
      mounted_ = at;
    } else if (contender == "fuse_overlayfs") {
      FuseOverlayfs(at);
      mounted_ = at;
    } else if (contender == "hardlinks") {
      HardlinkLayers(bench_, layers_, at);
    } else {
      std::vector<std::string> words{"cp", contender == "plain" ? "-a" : "-as"};
      for (const LayerId& id : layers_) words.push_back(TreeOf(id) + "/.");
      words.push_back(at);
      if (Spawn(words) != 0) std::abort();
    }
    return at;
  }

  // For work that changes nothing: a directory is made once; a mount is a fresh one each time, that
  // knows no name yet. Ends with Leave().
  std::string Enter(const std::string& contender) {
    if (contender == "strata" || contender == "fuse_overlayfs") return Fresh(contender);
    std::string& at = directories_[contender];
    if (at.empty()) at = Fresh(contender);
    return at;
  }
  void Leave() {
    if (mounted_.empty()) return;
    MustSys(::umount2(mounted_.c_str(), UMOUNT_NOFOLLOW), mounted_);
    mounted_.clear();
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
  }

 private:
  std::string TreeOf(const LayerId& id) const {
    return bench_.store().path() + "/layers/" + id.Hex() + "/tree";
  }
  void FuseOverlayfs(const std::string& at) {
    std::string lowers;
    for (const std::string& lower : root_.lowers) {
      const std::string path = lower[0] == '/' ? lower : bench_.store().path() + "/" + lower;
      lowers = path + (lowers.empty() ? "" : ":") + lowers;
    }
    const std::string upper = bench_.FreshDirectory();
    const std::string work = bench_.FreshDirectory();
    const std::string options =
        fmt::format("lowerdir={},upperdir={},workdir={}", lowers, upper, work);
    // It warns of options that it was not given.
    if (Spawn({"sh", "-c", "exec fuse-overlayfs \"$@\" 2>/dev/null", "sh", "-o", options, at}) !=
        0) {
      std::abort();
    }
  }

  BenchStore bench_;
  std::vector<LayerId> layers_;
  RootContent root_;
  std::map<std::string, std::string> directories_;
  std::string mounted_;
};

}  // namespace strata::bench
