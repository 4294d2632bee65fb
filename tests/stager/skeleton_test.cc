// SPDX-License-Identifier: Apache-2.0
#include "stager/skeleton.h"

#include "tests/support/overlay_view.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::Chain;
using testing::LayerMaker;
using testing::Must;

class SkeletonTest : public testing::StoreFixture {
 protected:
  LayerMaker Layer() { return LayerMaker(store()); }

  Result<Skeleton> Make(const std::vector<LayerId>& layers, const std::vector<MountPoint>& points) {
    Chain chain(store(), layers);
    STRATA_ASSIGN(std::optional<Skeleton> made,
                  SkeletonFor(store(), chain.lower(), MountPoints::kSandbox, points));
    return std::move(made.value());
  }
  // Every path of it but the three that all have, with its mode.
  std::vector<std::string> Extras(const Skeleton& skeleton) {
    Manifest manifest = Must(Manifest::Open(store().fd(), skeleton.manifest_path));
    EXPECT_TRUE(manifest.Validate());
    std::vector<std::string> found;
    manifest.Walk([&](const std::string& path, uint32_t index) {
      if (path.empty() || path == "dev" || path == "proc" || path == "tmp") return;
      const ManifestEntry& entry = manifest.entry(index);
      found.push_back(
          fmt::format("{} {:o}{}", path, entry.mode, entry.is_directory() ? "" : " file"));
    });
    return found;
  }
  std::string ErrorOf(const Result<Skeleton>& result) {
    EXPECT_FALSE(result);
    return result ? "" : result.error().message();
  }
  using Strings = std::vector<std::string>;
};

TEST_F(SkeletonTest, TheBasicOneHasProcDevAndTmp) {
  Skeleton skeleton = Must(BasicSkeleton(store()));
  Manifest manifest = Must(Manifest::Open(store().fd(), skeleton.manifest_path));
  EXPECT_EQ(manifest.size(), 4U);
  EXPECT_EQ(manifest.entry(*manifest.Find("proc")).mode, 0755U);
  EXPECT_EQ(manifest.entry(*manifest.Find("dev")).mode, 0755U);
  EXPECT_EQ(manifest.entry(*manifest.Find("tmp")).mode, 01777U);
}

TEST_F(SkeletonTest, TheTreeIsWhatItsManifestSays) {
  LayerId layer = Layer().Dir("opt", 0711).Publish();
  Skeleton skeleton = Must(Make({layer}, {{"opt/a/b"}, {"etc/f", false}}));
  testing::Tree tree = Must(testing::ReadDirectory(store().path() + "/" + skeleton.path));
  Manifest manifest = Must(Manifest::Open(store().fd(), skeleton.manifest_path));
  EXPECT_EQ(tree.size() + 1, manifest.size());
  for (const auto& [path, entry] : tree) {
    auto index = manifest.Find(path);
    ASSERT_TRUE(index) << path;
    const ManifestEntry& wanted = manifest.entry(*index);
    const std::string facts =
        fmt::format("{:06o} {}.{:09}", wanted.mode | (wanted.is_directory() ? S_IFDIR : S_IFREG),
                    wanted.mtime_sec, wanted.mtime_nsec);
    EXPECT_EQ(entry.facts.substr(0, facts.size()), facts) << path;
  }
}

TEST_F(SkeletonTest, APointThatTheLayersHaveIsNotRepeated) {
  LayerId layer = Layer().Dir("usr/src").File("etc/f", "x").Publish();
  Skeleton skeleton = Must(Make({layer}, {{"usr/src"}, {"etc/f", false}}));
  EXPECT_EQ(skeleton.path, Must(BasicSkeleton(store())).path);
}

TEST_F(SkeletonTest, MissingParentsAreMade) {
  LayerId layer = Layer().File("x", "").Publish();
  EXPECT_EQ(Extras(Must(Make({layer}, {{"a/b/c"}}))), (Strings{"a 755", "a/b 755", "a/b/c 755"}));
}

TEST_F(SkeletonTest, AFileIsAPointToo) {
  LayerId layer = Layer().File("x", "").Publish();
  EXPECT_EQ(Extras(Must(Make({layer}, {{"etc/hosts", false}}))),
            (Strings{"etc 755", "etc/hosts 644 file"}));
}

TEST_F(SkeletonTest, ParentsRepeatWhatTheMergedTreeShows) {
  LayerId lower = Layer().Dir("opt", 0700).Publish();
  LayerId upper = Layer().Mtime(77, 5).Dir("opt", 0711).Publish();
  Skeleton skeleton = Must(Make({lower, upper}, {{"opt/src"}}));
  EXPECT_EQ(Extras(skeleton), (Strings{"opt 711", "opt/src 755"}));
  Manifest manifest = Must(Manifest::Open(store().fd(), skeleton.manifest_path));
  EXPECT_EQ(manifest.entry(*manifest.Find("opt")).mtime_sec, 77);
  EXPECT_EQ(manifest.entry(*manifest.Find("opt")).mtime_nsec, 5U);
}

TEST_F(SkeletonTest, ADirectoryThatALayerRemovedIsMadeAnew) {
  LayerId lower = Layer().Dir("opt", 0700).Publish();
  LayerId upper = Layer().Whiteout("opt").Publish();
  EXPECT_EQ(Extras(Must(Make({lower, upper}, {{"opt/src"}}))), (Strings{"opt 755", "opt/src 755"}));
}

TEST_F(SkeletonTest, LinksOnTheWayAreFollowedInsideTheRoot) {
  LayerId layer = Layer()
                      .Dir("usr/lib")
                      .Symlink("lib", "usr/lib")
                      .Symlink("abs", "/usr/lib")
                      .Symlink("up", "../../../usr/lib")
                      .Symlink("usr/chain", "../lib")
                      .Publish();
  for (const char* point : {"lib/x", "abs/x", "up/x", "usr/chain/x"}) {
    EXPECT_EQ(Extras(Must(Make({layer}, {{point}}))),
              (Strings{"usr 755", "usr/lib 755", "usr/lib/x 755"}))
        << point;
  }
}

TEST_F(SkeletonTest, ADanglingLinkLeadsToWhatIsMade) {
  LayerId layer = Layer().Symlink("etc/resolv.conf", "../run/resolv.conf").Publish();
  EXPECT_EQ(Extras(Must(Make({layer}, {{"etc/resolv.conf", false}}))),
            (Strings{"run 755", "run/resolv.conf 644 file"}));
}

TEST_F(SkeletonTest, LinksThatLoopAreAnError) {
  LayerId layer = Layer().Symlink("a", "b").Symlink("b", "a").Publish();
  EXPECT_NE(ErrorOf(Make({layer}, {{"a/x"}})).find("too many links"), std::string::npos);
}

TEST_F(SkeletonTest, APointBelowAFileIsAnErrorThatNamesIt) {
  LayerId layer = Layer().File("etc/passwd", "").Publish();
  EXPECT_NE(ErrorOf(Make({layer}, {{"etc/passwd/x"}})).find("/etc/passwd is not a directory"),
            std::string::npos);
}

TEST_F(SkeletonTest, APointOfTheWrongKindIsAnError) {
  LayerId layer = Layer().File("etc/passwd", "").Publish();
  EXPECT_NE(ErrorOf(Make({layer}, {{"etc/passwd", true}})).find("not a directory"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Make({layer}, {{"etc", false}})).find("a directory"), std::string::npos);
}

TEST_F(SkeletonTest, PointsThatContradictEachOtherAreAnError) {
  LayerId layer = Layer().File("x", "").Publish();
  ErrorOf(Make({layer}, {{"a", true}, {"a", false}}));
  ErrorOf(Make({layer}, {{"a", false}, {"a/b", true}}));
}

TEST_F(SkeletonTest, TheSamePointsShareOneSkeleton) {
  LayerId one = Layer().File("x", "1").Publish();
  LayerId two = Layer().File("x", "2").Publish();
  const std::string path = Must(Make({one}, {{"a/b"}, {"c"}})).path;
  EXPECT_EQ(Must(Make({two}, {{"c"}, {"a/b"}})).path, path);
  EXPECT_NE(Must(Make({two}, {{"a/b"}})).path, path);
}

TEST_F(SkeletonTest, IsLeasedAsLongAsItLives) {
  Skeleton skeleton = Must(BasicSkeleton(store()));
  auto lock = [&] {
    return FileLock::OnDirectory(store().fd(), skeleton.path, LockMode::kExclusive,
                                 LockWait::kFail);
  };
  EXPECT_FALSE(lock());
  skeleton.lease = FileLock();
  EXPECT_TRUE(lock());
}

}  // namespace
}  // namespace strata
