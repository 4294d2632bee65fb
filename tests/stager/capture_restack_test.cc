// SPDX-License-Identifier: Apache-2.0
//
// Random commands in real overlays: what is captured, restacked, must be what the overlay showed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <random>
#include <set>

#include "base/remove_tree.h"
#include "base/sys.h"
#include "stager/capture.h"
#include "tests/support/overlay_view.h"
#include "tests/support/random_layer.h"
#include "tests/support/store_fixture.h"
#include "tests/support/tree_check.h"

namespace strata::testing {
namespace {

constexpr unsigned kRounds = 60;  // --gtest_random_seed=N runs others
constexpr unsigned kModes[] = {0644, 0755, 0600, 0000, 0555, 0444, 0700, 04755, 02755, 01777};

void Write(int root, const std::string& path, const std::string& content, int flags) {
  UniqueFd fd(sys::OpenAt(root, path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | flags, 0644));
  if (fd.valid()) static_cast<void>(WriteAll(fd.get(), content, path));
}

void SetAttribute(int root, const std::string& path, const char* value) {
  UniqueFd fd(sys::OpenAt(root, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return;
  if (value != nullptr) {
    ::fsetxattr(fd.get(), "user.k", value, 1, 0);
  } else {
    ::fremovexattr(fd.get(), "user.k");
  }
}

// One thing that a command might do. Most fail at times (ENOENT, EEXIST, EXDEV): so do commands.
void Operate(int root, std::mt19937& random) {
  const std::string path = RandomPath(random);
  const std::string other = RandomPath(random);
  const char* p = path.c_str();
  const unsigned mode = kModes[Pick(random, 10)];
  const timespec times[2] = {{0, UTIME_OMIT}, {1500000000 + Pick(random, 3), 0}};
  struct stat st;
  switch (Pick(random, 20)) {
    case 0:
    case 1:
      Write(root, path, std::string(Pick(random, 3), 'y'), O_TRUNC);
      break;
    case 2:
      Write(root, path, "z", O_APPEND);
      break;
    case 3:
      Write(root, path, "", O_APPEND);  // copies up, changes nothing
      break;
    case 4:
    case 5:
      ::unlinkat(root, p, 0);
      break;
    case 6:
      static_cast<void>(RemoveTree(root, path));
      break;
    case 7:
      static_cast<void>(RemoveTree(root, path));
      ::mkdirat(root, p, 0755);
      Write(root, path + "/a", "in a new directory", 0);
      break;
    case 8:
      ::mkdirat(root, "tmp", 0755);
      Write(root, "tmp/b", "moved into place", 0);
      ::renameat(root, "tmp", root, p);
      static_cast<void>(RemoveTree(root, "tmp"));
      break;
    case 9:
    case 10:
      ::renameat(root, p, root, other.c_str());
      break;
    case 11:
      ::linkat(root, p, root, other.c_str(), 0);
      break;
    case 12:  // as `ln -f` does
      if (::linkat(root, p, root, "tmp", 0) == 0) ::renameat(root, "tmp", root, other.c_str());
      static_cast<void>(RemoveTree(root, "tmp"));
      break;
    case 13:
      ::fchmodat(root, p, mode, 0);
      break;
    case 14:  // copies up, changes nothing
      if (::fstatat(root, p, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode)) {
        ::fchmodat(root, p, st.st_mode & 07777, 0);
      }
      break;
    case 15:
      ::utimensat(root, p, times, AT_SYMLINK_NOFOLLOW);
      break;
    case 16:
      ::symlinkat(other.c_str(), root, p);
      break;
    case 17:
      SetAttribute(root, path, Pick(random, 3) == 0 ? nullptr : Pick(random, 2) == 0 ? "0" : "1");
      break;
    case 18:
      ::mkdirat(root, p, 0755);
      break;
    default:  // a temporary file that leaves the directory as it was
      if (::fstatat(root, p, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
        Write(root, path + "/tmp", "", 0);
        ::unlinkat(root, (path + "/tmp").c_str(), 0);
        const timespec as_before[2] = {{0, UTIME_OMIT}, st.st_mtim};
        ::utimensat(root, p, as_before, 0);
      }
  }
}

class CaptureRestackTest : public StoreFixture {
 protected:
  // A random chain, a random command in it, and what came of it.
  struct Round {
    std::vector<LayerId> ids;
    Tree lower;   // what the chain shows
    Tree before;  // what the overlay showed after the command
    CaptureResult captured;
  };

  std::vector<LayerId> RandomChain(std::mt19937& random) {
    std::vector<LayerId> ids;
    for (unsigned i = 0, count = 2 + Pick(random, 3); i < count; ++i) {
      LayerId id = RandomLayer(store(), random);
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
    // overlayfs wants two layers for a read-only mount.
    if (ids.size() < 2) ids.push_back(LayerMaker(store()).File("e", "").Publish());
    return ids;
  }

  Result<Round> Run(std::mt19937& random) {
    Round round;
    round.ids = RandomChain(random);
    Chain chain(store(), round.ids);
    STRATA_ASSIGN(round.lower, ReadOverlay({chain.dirs, "", ""}));

    STRATA_ASSIGN(PendingLayer pending, store().NewLayer(false));
    const std::string dir = store().path() + "/" + pending.dir().name();
    for (const char* name : {"upper", "work", "work2"}) {
      STRATA_TRY(MakeDirs(pending.dir_fd(), name, 0755));
    }
    const unsigned operations = 1 + Pick(random, 30);
    STRATA_TRY(
        InOverlay({chain.dirs, dir + "/upper", dir + "/work"}, [&](int root) -> Result<void> {
          for (unsigned i = 0; i < operations; ++i) Operate(root, random);
          return {};
        }));
    // Mounted anew: only then do inode numbers tell which names are links of each other.
    STRATA_ASSIGN(round.before, ReadOverlay({chain.dirs, dir + "/upper", dir + "/work2"}));
    // What is in the pending directory when it is published is published.
    STRATA_TRY(AsRoot([&] {
      return RemoveTree(pending.dir_fd(), "work").and_then([&] {
        return RemoveTree(pending.dir_fd(), "work2");
      });
    }));
    STRATA_TRY(sys::Check(sys::RenameAt2(pending.dir_fd(), "upper", pending.dir_fd(), "tree"),
                          "rename", "upper"));
    STRATA_ASSIGN(round.captured, CaptureUpper(store(), std::move(pending), chain.lower(), {}));
    return round;
  }

  static Result<void> AsRoot(const std::function<Result<void>()>& body) {
    Result<std::string> done = InNamespace([&]() -> Result<std::string> {
      STRATA_TRY(body());
      return std::string();
    });
    if (!done) return Unexpected(done.error());
    return {};
  }
};

TEST_F(CaptureRestackTest, OnTheSameLayersItGivesTheSameTree) {
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed + 1000U * static_cast<unsigned>(GTEST_FLAG_GET(random_seed)));
    Result<Round> round = Run(random);
    ASSERT_TRUE(round) << round.error().message();
    ExpectSoundLayer(store(), round->captured.id);

    std::vector<LayerId> ids = round->ids;
    if (std::find(ids.begin(), ids.end(), round->captured.id) != ids.end()) continue;
    ids.push_back(round->captured.id);
    Chain chain(store(), ids);
    Result<Tree> after = ReadOverlay({chain.dirs, "", ""});
    ASSERT_TRUE(after) << after.error().message();
    const LowerChain merged = chain.lower();

    std::set<std::string> paths;
    for (const auto& [path, entry] : round->before) paths.insert(path);
    for (const auto& [path, entry] : *after) paths.insert(path);
    for (const std::string& path : paths) {
      SCOPED_TRACE(path);
      ASSERT_TRUE(round->before.count(path) && after->count(path));
      const TreeEntry& was = round->before[path];
      EXPECT_EQ(was.facts, after->at(path).facts);
      // Set in the upper, so in the manifest; the disk never shows them.
      EXPECT_EQ(after->at(path).special, 0U);
      std::optional<LowerChain::Merged> found = merged.Lookup(path);
      ASSERT_TRUE(found);
      EXPECT_EQ(merged.entry(found->top()).mode & was.special, was.special);
      // Names of one inode stay so. Two that have become so again are unchanged copies of names
      // that the chain has as one inode.
      EXPECT_EQ(after->at(path).group, after->at(was.group).group);
      const std::string& group = after->at(path).group;
      if (was.group != round->before[group].group) {
        EXPECT_EQ(round->lower[path].group, round->lower[group].group);
        EXPECT_EQ(round->lower[path].facts, was.facts);
      }
    }
  }
}

bool IsDirectory(const TreeEntry& entry) {
  return entry.facts.compare(0, 2, "04") == 0;
}

// Whether the command left the non-directory `path` as it was: the entry, and what it is linked to.
bool Untouched(const Tree& lower, const Tree& before, const std::string& path) {
  auto was = lower.find(path);
  const TreeEntry& is = before.at(path);
  if (was == lower.end() || was->second.facts != is.facts || was->second.special != is.special) {
    return false;
  }
  return std::all_of(before.begin(), before.end(), [&](const auto& other) {
    if (other.second.group != is.group) return true;
    auto below = lower.find(other.first);
    return below != lower.end() && below->second.group == was->second.group;
  });
}

// Whether what the command did to `path`, or to a directory above it, explains that it is gone.
bool RemovedOrReplaced(const Tree& lower, const Tree& before, const Manifest& captured,
                       const std::string& path) {
  for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    auto was = lower.find(part);
    auto is = before.find(part);
    if (was != lower.end() && is == before.end()) return true;
    // A new or changed non-directory replaces whatever is there.
    if (is != before.end() && !IsDirectory(is->second) && !Untouched(lower, before, part)) {
      return true;
    }
    // So does a directory that replaced one with something in it.
    std::optional<uint32_t> mark = captured.Find(part);
    if (mark && captured.entry(*mark).opaque() && was != lower.end()) {
      auto in = lower.upper_bound(part + "/");
      if (in != lower.end() && in->first.compare(0, part.size() + 1, part + "/") == 0) return true;
    }
    if (slash == std::string::npos) return false;
  }
}

TEST_F(CaptureRestackTest, OnOtherLayersItHidesOnlyWhatTheCommandRemovedOrReplaced) {
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(500000 + seed + 1000U * static_cast<unsigned>(GTEST_FLAG_GET(random_seed)));
    Result<Round> round = Run(random);
    ASSERT_TRUE(round) << round.error().message();

    std::vector<LayerId> ids = RandomChain(random);
    Chain others(store(), ids);
    Result<Tree> alone = ReadOverlay({others.dirs, "", ""});
    ASSERT_TRUE(alone) << alone.error().message();
    if (std::find(ids.begin(), ids.end(), round->captured.id) != ids.end()) continue;
    ids.push_back(round->captured.id);
    Chain chain(store(), ids);
    Result<Tree> restacked = ReadOverlay({chain.dirs, "", ""});
    ASSERT_TRUE(restacked) << restacked.error().message();
    const Manifest manifest = Must(store().OpenManifest(round->captured.id));
    for (const auto& [path, entry] : *alone) {
      if (restacked->count(path) != 0) continue;
      EXPECT_TRUE(RemovedOrReplaced(round->lower, round->before, manifest, path)) << path;
    }
  }
}

}  // namespace
}  // namespace strata::testing
