// SPDX-License-Identifier: Apache-2.0
#include "stager/materialise.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/ask_in_mapping.h"
#include "base/remove_tree.h"
#include "cache/fsck.h"
#include "cache/gc.h"
#include "cache/verify.h"
#include "stager/stage.h"
#include "tests/support/capture_fixture.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;
using testing::MustSys;

// The first `count` ids of the caller's range.
IdMapping FirstIds(uint32_t count) {
  IdMapping mapping = Must(SubordinateIds());
  for (std::vector<IdRange>* ranges : {&mapping.uids, &mapping.gids}) {
    std::erase_if(*ranges, [&](const IdRange& range) { return range.inside >= count; });
    IdRange& last = ranges->back();
    last.count = std::min(last.count, count - last.inside);
  }
  return mapping;
}

class MaterialiseTest : public testing::CaptureFixture {
 protected:
  MaterialiseTest() : mapping_(FirstIds(1000)) {}

  static std::string Tree(const LayerId& id) { return "layers/" + id.Hex() + "/tree"; }
  // A layer with all that there can be, of several owners.
  LayerId Mixed() {
    LayerMaker maker = Layer();
    maker.Dir("etc").File("etc/passwd", "root").File("etc/shadow", "secret", 0600);
    maker.Owner(0, 42).File("etc/gshadow", "group", 0640).File("usr/bin/su", "su", 04755);
    maker.Owner(33, 33).Dir("var/www", 0700).File("var/www/index", "html", 0400);
    maker.File("var/www/none", "", 0000, {{"user.note", "kept"}}).Symlink("var/www/l", "index");
    maker.Link("var/www/index", "var/www/again").Fifo("var/www/fifo").Opaque("var/www/opaque");
    maker.Owner(0, 0).File("var/www/of-root", "root").Whiteout("var/www/gone");
    return maker.Publish();
  }
  DerivedLayer Make(const LayerId& id, const MaterialiseOptions& options = {}) {
    return Must(Materialise(store(), Tree(id), mapping_, options));
  }
  std::string Name(const LayerId& id, bool lacking = false) const {
    return MaterialisationName("layers/" + id.Hex(), mapping_, lacking);
  }
  bool Exists(const std::string& path) const {
    return std::filesystem::exists(store().path() + "/" + path);
  }
  // "33:33 links" of an entry, as it is seen with the mapping.
  std::string OwnerOf(const std::string& path) const {
    return Must(AskInMapping(mapping_, [&]() -> Result<std::string> {
      struct stat st;
      if (::fstatat(store().fd(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return FailSys(errno, "stat", path);
      }
      return fmt::format("{}:{}", st.st_uid, st.st_gid);
    }));
  }
  std::vector<TreeDamage> Verify(const std::string& name) const {
    return Must(VerifyInMapping(store().fd(), "derived/" + name, std::nullopt, mapping_,
                                {.owners = &mapping_}));
  }

  const IdMapping mapping_;
};

TEST_F(MaterialiseTest, EntriesHaveTheirOwnersAndTheRestOfTheirManifest) {
  const LayerId id = Mixed();
  DerivedLayer made = Make(id);
  EXPECT_FALSE(made.existed);
  EXPECT_EQ(made.path, "derived/" + Name(id) + "/tree");
  EXPECT_TRUE(made.lease.held());
  EXPECT_EQ(OwnerOf(made.path + "/etc/gshadow"), "0:42");
  EXPECT_EQ(OwnerOf(made.path + "/var/www"), "33:33");
  EXPECT_EQ(OwnerOf(made.path + "/var/www/l"), "33:33");
  EXPECT_EQ(OwnerOf(made.path + "/var/www/of-root"), "0:0");
  for (const TreeDamage& damage : Verify(Name(id))) ADD_FAILURE() << damage.path << damage.problem;
  testing::ExpectSoundLayer(store(), id);
}

TEST_F(MaterialiseTest, OnlyWhatBelongsToRootIsAHardLink) {
  const LayerId id = Mixed();
  DerivedLayer made = Make(id);
  auto inode = [&](const std::string& path) {
    return std::stoull(Must(AskInMapping(mapping_, [&]() -> Result<std::string> {
      struct stat st;
      if (::fstatat(store().fd(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return FailSys(errno, "stat", path);
      }
      return std::to_string(st.st_ino);
    })));
  };
  for (const char* path : {"/etc/passwd", "/etc/shadow", "/var/www/of-root"}) {
    EXPECT_EQ(inode(made.path + path), inode(Tree(id) + path)) << path;
  }
  for (const char* path : {"/etc/gshadow", "/usr/bin/su", "/var/www/index"}) {
    EXPECT_NE(inode(made.path + path), inode(Tree(id) + path)) << path;
  }
  EXPECT_EQ(inode(made.path + "/var/www/index"), inode(made.path + "/var/www/again"));
}

TEST_F(MaterialiseTest, ALayerOfRootsAloneIsUsedAsItIs) {
  const LayerId id = Layer().File("a", "a").Publish();
  DerivedLayer same = Make(id);
  EXPECT_EQ(same.path, Tree(id));
  EXPECT_FALSE(same.lease.held());
  EXPECT_FALSE(Exists("derived/" + Name(id)));
}

TEST_F(MaterialiseTest, ItIsMadeOnceForEachMapping) {
  const LayerId id = Mixed();
  const std::string path = Make(id).path;
  EXPECT_TRUE(Make(id).existed);
  DerivedLayer other = Must(Materialise(store(), Tree(id), FirstIds(500), {}));
  EXPECT_FALSE(other.existed);
  EXPECT_NE(other.path, path);
}

#ifndef __SANITIZE_ADDRESS__  // whose allocator (gcc 12) does not let go of its locks at a fork
TEST_F(MaterialiseTest, OfSeveralThatNeedItAtOnceOneMakesIt) {
  const LayerId id = Mixed();
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { made += Make(id).existed ? 0 : 1; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
}
#endif

TEST_F(MaterialiseTest, AnOwnerThatTheMappingLacksIsAnErrorOrTheCaller) {
  const LayerId id = Layer().Dir("opt").Owner(70000, 0).File("opt/big", "big").Publish();
  auto failed = Materialise(store(), Tree(id), mapping_, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(),
            fmt::format("give layer {:.12} its owners: opt/big belongs to uid 70000, which is not "
                        "among the ids that are mapped",
                        id.Hex()));
  EXPECT_NE(failed.error().hint().find("/etc/subuid"), std::string::npos);
  DerivedLayer made = Make(id, {.unmapped = UnmappedOwner::kCaller});
  EXPECT_EQ(made.path, "derived/" + Name(id, true) + "/tree");
  EXPECT_EQ(OwnerOf(made.path + "/opt/big"), "0:0");
  EXPECT_TRUE(Verify(Name(id, true)).empty());
  EXPECT_TRUE(Make(id, {.unmapped = UnmappedOwner::kCaller}).existed);
  EXPECT_FALSE(Materialise(store(), Tree(id), mapping_, {}))
      << "that one is not what was asked for";
}

TEST_F(MaterialiseTest, ALostTreeIsMadeAgain) {
  const LayerId id = Mixed();
  { Make(id); }
  Must(RemoveTree(store().fd(), "derived/" + Name(id) + "/tree"));
  EXPECT_FALSE(Make(id).existed);
  EXPECT_TRUE(Verify(Name(id)).empty());
}

TEST_F(MaterialiseTest, ItGoesWithItsLayer) {
  const LayerId id = Mixed();
  { Make(id); }
  Must(store().RemoveLayer(id));
  EXPECT_FALSE(Exists("derived/" + Name(id)));
  EXPECT_TRUE(std::filesystem::is_empty(Path("store/trash")));
}

TEST_F(MaterialiseTest, TheCollectorTakesItUnlessItIsMounted) {
  const LayerId id = Mixed();
  Must(store().SetRef("mixed", id));
  GcOptions all;
  all.all = true;
  {
    DerivedLayer held = Make(id);
    EXPECT_TRUE(Must(CollectGarbage(store(), all)).derived.empty());
    EXPECT_TRUE(Exists(held.path));
  }
  EXPECT_TRUE(Must(CollectGarbage(store(), {})).derived.empty()) << "it is young";
  EXPECT_EQ(Must(CollectGarbage(store(), all)).derived, std::vector<std::string>{Name(id)});
  EXPECT_TRUE(std::filesystem::is_empty(Path("store/trash")));
  EXPECT_TRUE(Exists(Tree(id)));
}

TEST_F(MaterialiseTest, WithAMaximalSizeTheOneThatWasNotUsedForLongGoesFirst) {
  const LayerId id = Mixed();
  DependencySet set;
  set.items.push_back({id, ""});
  RootContent root;
  root.lowers = {Tree(id)};
  root.foreign_lowers = {0};
  root.base_count = root.layer_count = 1;
  { Must(PublishRoot(store(), set.Encode(), root)); }
  { Make(id); }
  const timespec long_ago[2] = {{1600000000, 0}, {1600000000, 0}};
  const std::string directory = "derived/" + Name(id);
  MustSys(::utimensat(store().fd(), directory.c_str(), long_ago, 0), "utimensat");
  EXPECT_TRUE(Must(CollectGarbage(store(), {})).derived.empty()) << "a root may need it again";
  GcOptions small;
  small.max_size = 1;
  const GcReport report = Must(CollectGarbage(store(), small));
  EXPECT_EQ(report.derived, std::vector<std::string>{Name(id)});
  EXPECT_TRUE(report.roots.empty()) << "that is younger than an hour";
  { Make(id); }
  MustSys(::utimensat(store().fd(), directory.c_str(), long_ago, 0), "utimensat");
  { Make(id); }
  EXPECT_TRUE(Must(CollectGarbage(store(), small)).derived.empty()) << "it was just used";
}

TEST_F(MaterialiseTest, AWrongOwnerIsDamage) {
  const LayerId id = Mixed();
  { Make(id); }
  const std::string index = "derived/" + Name(id) + "/tree/var/www/index";
  Must(RunInMapping(mapping_, [&]() -> Result<void> {
    if (::fchownat(store().fd(), index.c_str(), 34, 33, 0) != 0) return FailSys(errno, "chown");
    return {};
  }));
  std::vector<TreeDamage> damages = Verify(Name(id));
  ASSERT_EQ(damages.size(), 2U);  // it has two names
  EXPECT_EQ(damages[1].path, "var/www/index");
  EXPECT_EQ(damages[1].problem, "belongs to 34:33, not 33:33");
}

TEST_F(MaterialiseTest, FsckVerifiesTheOnesOfTheCallersMapping) {
  const LayerId id = Mixed();
  const IdMapping full = Must(SubordinateIds());
  std::string path = Must(Materialise(store(), Tree(id), full, {})).path;
  EXPECT_TRUE(Must(Fsck(store(), {})).findings.empty());
  Must(RunInMapping(full, [&]() -> Result<void> {
    if (::unlinkat(store().fd(), (path + "/var/www/index").c_str(), 0) != 0) {
      return FailSys(errno, "unlink");
    }
    return {};
  }));
  FsckOptions repair;
  repair.repair = FsckRepair::kYes;
  FsckReport report = Must(Fsck(store(), repair));
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].outcome, FsckFinding::Outcome::kRepaired);
  EXPECT_FALSE(Exists(path));
  EXPECT_FALSE(Must(Materialise(store(), Tree(id), full, {})).existed);
}

TEST_F(MaterialiseTest, AStageMountsAndHoldsIt) {
  const LayerId plain = Layer().File("a", "a").Publish();
  const LayerId mixed = Mixed();
  RootContent root;
  root.lowers = {Tree(plain), Tree(mixed)};
  root.foreign_lowers = {1};
  StageOptions options;
  options.mapping = mapping_;
  options.mount_points = {{"var/www/cache", true}};  // below a directory of 33's
  Stage stage = Must(Stage::Prepare(store(), root, {}, options));
  ASSERT_EQ(stage.lowers().size(), 3U);
  EXPECT_EQ(stage.lowers()[0], Tree(plain));
  EXPECT_EQ(stage.lowers()[1], "derived/" + Name(mixed) + "/tree");
  EXPECT_EQ(OwnerOf(stage.lowers()[2] + "/var/www"), "33:33");
  EXPECT_EQ(stage.Held().size(), 4U);  // two of them, the skeleton and the scratch
  EXPECT_EQ(Must(stage.Chain())->size(), 3U);
  options.mapping = SingleId();
  Stage single = Must(Stage::Prepare(store(), root, {}, options));
  EXPECT_EQ(single.lowers()[1], Tree(mixed));
}

// What a sandbox with a range of ids left in an upper directory.
class CaptureOwnersTest : public MaterialiseTest {
 protected:
  void Chown(const std::string& path, uint32_t uid, uint32_t gid) {
    Must(RunInMapping(mapping_, [&]() -> Result<void> {
      if (::fchownat(tree(), path.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) == 0) return {};
      return FailSys(errno, "chown", path);
    }));
  }
  std::string Owner(const std::string& path) {
    const ManifestEntry& e = manifest().entry(manifest().Find(path).value());
    return fmt::format("{}:{} {:04o}", e.uid, e.gid, e.mode);
  }
  CaptureOptions Options() const {
    CaptureOptions options;
    options.mapping = &mapping_;
    return options;
  }
};

TEST_F(CaptureOwnersTest, OwnersAreThoseInsideAndTheTreeBelongsToTheCaller) {
  Dir("www", 0700);
  File("www/secret", "secret", 0400);
  File("www/none", "", 0000);
  MustSys(::symlinkat("secret", tree(), "www/link"), "symlink");
  File("root", "root");
  for (const char* path : {"www/secret", "www/none", "www/link", "www"}) Chown(path, 33, 34);
  Plain(Options());
  EXPECT_EQ(Owner("www"), "33:34 0700");
  EXPECT_EQ(Owner("www/secret"), "33:34 0400");
  EXPECT_EQ(Owner("www/link"), "33:34 0777");
  EXPECT_EQ(Owner("root"), "0:0 0644");
  const LayerId captured = result().id;
  struct stat st;
  ASSERT_EQ(::fstatat(store().fd(), (Tree(captured) + "/www/secret").c_str(), &st, 0), 0);
  EXPECT_EQ(st.st_uid, ::geteuid());
  EXPECT_EQ(OwnerOf(Make(captured).path + "/www/secret"), "33:34");
}

TEST_F(CaptureOwnersTest, AChangeOfOwnerIsAChangeAndACopyUpIsNone) {
  const LayerId lower = Layer()
                            .Owner(33, 33)
                            .File("same", "same")
                            .File("other", "other", 04755)
                            .File("kept", "kept", 04755)
                            .Publish();
  for (const char* name : {"same", "other", "kept"}) {
    File(name, name, std::string(name) == "same" ? 0644 : 0755);
    Stamp(name);
    Chown(name, std::string(name) == "other" ? 0 : 33, 33);
  }
  Over({lower}, Options());
  EXPECT_FALSE(manifest().Find("same"));
  EXPECT_FALSE(manifest().Find("kept")) << "setuid as below, which no tree shows";
  EXPECT_EQ(Owner("other"), "0:33 0755") << "chown takes the setuid bit away";
}

TEST_F(CaptureOwnersTest, WhatTheMappingLacksIsInherited) {
  const LayerId lower = Layer().Owner(70000, 5).File("big", "big").File("given", "x").Publish();
  File("big", "bigger");
  Chown("big", 0, 5);
  File("given", "y");
  Chown("given", 7, 5);
  Over({lower}, Options());
  EXPECT_EQ(Owner("big"), "70000:5 0644");
  EXPECT_EQ(Owner("given"), "7:5 0644");
}

}  // namespace
}  // namespace strata
