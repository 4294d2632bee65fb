// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mutex>
#include <set>
#include <thread>

#include "stager/tree_plan.h"
#include "tests/support/overlay_view.h"
#include "tests/support/store_fixture.h"
#include "tests/support/tree_check.h"

namespace strata::testing {
namespace {

// A plan that makes the layer `id` again, whole.
struct WholeLayer {
  WholeLayer(const Store& store, const LayerId& id)
      : source(Must(store.OpenManifest(id))), plan{Must(store.OpenManifest(id)), {}, {}} {
    plan.sources.push_back({"layers/" + id.Hex() + "/tree", &source});
    for (uint32_t i = 0; i < plan.manifest.size(); ++i) {
      EntryType type = plan.manifest.entry(i).type;
      bool origin = type != EntryType::kDirectory && type != EntryType::kWhiteout;
      plan.origins.push_back(origin ? TreePlan::Origin{0, i} : TreePlan::Origin{});
    }
  }
  Manifest source;
  TreePlan plan;
};

class MakeTreeTest : public StoreFixture {
 protected:
  Result<void> Make(const TreePlan& plan, const std::string& name,
                    PlaceFile place = PlaceFile::kLink, unsigned jobs = 2) {
    NewDir(name);
    UniqueFd fd = Must(OpenAt(AT_FDCWD, Path(name), O_RDONLY | O_DIRECTORY));
    MakeTreeOptions options;
    options.place = place;
    options.jobs = jobs;
    return MakeTree(store(), plan, fd.get(), options);
  }

  // The tree `name` is what the manifest says.
  void ExpectTree(const Manifest& manifest, const std::string& name) {
    Tree disk = Must(ReadDirectory(Path(name)));
    size_t seen = 0;
    std::map<uint32_t, std::string> first_names;
    manifest.Walk([&](const std::string& path, uint32_t index) {
      if (index == 0) return;
      ++seen;
      ASSERT_EQ(disk.count(path), 1U) << path;
      const ManifestEntry& e = manifest.entry(index);
      const std::string& facts = disk.at(path).facts;
      EXPECT_EQ(facts.compare(0, 2, "02") == 0 ? "whiteout" : facts, ExpectedFacts(manifest, e))
          << path;
      if (e.hardlink == kNoEntry) return;
      const std::string& first = first_names.try_emplace(e.hardlink, path).first->second;
      EXPECT_EQ(disk.at(path).group, disk.at(first).group) << path;
    });
    EXPECT_EQ(disk.size(), seen);
  }

  struct stat StatOf(const std::string& name) {
    struct stat st {};
    EXPECT_EQ(::lstat(Path(name).c_str(), &st), 0) << name;
    return st;
  }

  LayerId EveryKind() {
    LayerMaker layer(store());
    layer.Dir("etc", 0750).File("etc/passwd", "root", 0600, {{"user.k", "v"}});
    layer.File("usr/bin/su", "su", 04755).Link("usr/bin/su", "usr/sbin/su");
    layer.Symlink("lib", "usr/lib").Fifo("run/fifo").Whiteout("gone").Opaque("usr/share/doc");
    layer.File("usr/share/doc/new\nline \xff", "odd").Dir("tmp", 01777).File("empty", "");
    layer.Dir("usr/ro", 0555).File("usr/ro/inside", "x", 0444);
    return layer.Publish();
  }
};

TEST_F(MakeTreeTest, LinkedTreeHasEveryKindOfEntryAndSharesItsFiles) {
  LayerId id = EveryKind();
  WholeLayer whole(store(), id);
  Must(Make(whole.plan, "t"));
  ExpectTree(whole.plan.manifest, "t");
  for (const char* path : {"etc/passwd", "lib", "run/fifo", "usr/ro/inside"}) {
    struct stat st {};
    ASSERT_EQ(::lstat((TreePath(id) + "/" + path).c_str(), &st), 0);
    EXPECT_EQ(StatOf(std::string("t/") + path).st_ino, st.st_ino) << path;
  }
  EXPECT_EQ(StatOf("t").st_mtime, kRootMtime);
  EXPECT_EQ(StatOf("t").st_mode & 07777, 0755U);
}

TEST_F(MakeTreeTest, CopiedTreeHasEveryKindOfEntryAndSharesNothing) {
  LayerId id = EveryKind();
  WholeLayer whole(store(), id);
  Must(Make(whole.plan, "t", PlaceFile::kCopy));
  ExpectTree(whole.plan.manifest, "t");
  for (const char* path : {"etc/passwd", "lib", "run/fifo"}) {
    EXPECT_EQ(StatOf(std::string("t/") + path).st_nlink, 1U) << path;
  }
  EXPECT_EQ(StatOf("t/usr/bin/su").st_nlink, 2U);
}

TEST_F(MakeTreeTest, CopiesKeepHoles) {
  LayerMaker layer(store());
  layer.File("sparse", std::string(4 << 20, '\0') + "end");
  LayerId id = layer.Publish();
  std::string path = TreePath(id) + "/sparse";
  struct stat before {};
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);  // the same content, with a hole
  ASSERT_EQ(::truncate(path.c_str(), 4 << 20), 0);
  {
    UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_WRONLY | O_APPEND));
    Must(WriteAll(fd.get(), "end", path));
    timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::futimens(fd.get(), times), 0);
  }
  WholeLayer whole(store(), id);
  Must(Make(whole.plan, "t", PlaceFile::kCopy));
  ExpectTree(whole.plan.manifest, "t");
  EXPECT_LT(StatOf("t/sparse").st_blocks * 512, 1 << 20);
}

TEST_F(MakeTreeTest, ReflinkSharesBlocksOrSaysThatTheFileSystemCannot) {
  WholeLayer whole(store(), EveryKind());
  Result<void> made = Make(whole.plan, "t", PlaceFile::kReflink);
  if (made) {
    ExpectTree(whole.plan.manifest, "t");
  } else {
    EXPECT_EQ(made.error().code(), Errc::kUnsupported) << made.error().message();
  }
}

TEST_F(MakeTreeTest, OriginsOfSeveralLayersMeetInOneTree) {
  LayerMaker one(store());
  one.File("usr/bin/a", "1").Link("usr/bin/a", "usr/bin/b");
  LayerMaker two(store());
  two.File("usr/bin/c", "2").File("usr/lib/c", "3");
  WholeLayer a(store(), one.Publish());
  WholeLayer b(store(), two.Publish());
  ManifestBuilder builder;
  std::vector<std::pair<std::string, TreePlan::Origin>> origins;
  auto add = [&](const std::string& name, uint32_t source, const Manifest& from, const char* path) {
    ManifestBuilder::Data& data = builder.At(builder.Add(ManifestBuilder::kRoot, name));
    const ManifestEntry& e = from.entry(*from.Find(path));
    data.type = e.type;
    data.mode = e.mode;
    data.size = e.size;
    data.digest = e.digest;
    data.mtime_sec = e.mtime_sec;
    data.mtime_nsec = e.mtime_nsec;
    origins.push_back({name, {source, *from.Find(path)}});
  };
  add("a", 0, a.source, "usr/bin/a");
  add("c", 1, b.source, "usr/bin/c");
  add("l", 1, b.source, "usr/lib/c");
  TreePlan plan{Must(Manifest::FromBytes(Must(builder.Finish()))), {}, {}};
  plan.sources = {a.plan.sources[0], b.plan.sources[0]};
  plan.origins.resize(plan.manifest.size());
  for (const auto& [name, origin] : origins) plan.origins[*plan.manifest.Find(name)] = origin;
  Must(Make(plan, "t"));
  ExpectTree(plan.manifest, "t");
}

TEST_F(MakeTreeTest, FileWithTooManyLinksIsCopiedWithItsWholeGroup) {
  LayerMaker layer(store());
  layer.File("many", "x", 0640, {{"user.k", "v"}}).Link("many", "group").File("other", "y");
  LayerId id = layer.Publish();
  // ext4 takes 65,000 links; where there is no limit, all are links.
  NewDir("links");
  bool limited = false;
  for (int i = 0; i < 64999 && !limited; ++i) {
    int rc = sys::LinkAt(AT_FDCWD, (TreePath(id) + "/many").c_str(), temp_fd(),
                         fmt::format("links/{}", i).c_str());
    limited = rc == -EMLINK;
  }
  if (!limited) GTEST_SKIP() << "no limit of 65,000 links here: run it with TMPDIR on ext4";
  // Room for one link only: the group must not be torn apart.
  ASSERT_EQ(::unlink(Path("links/0").c_str()), 0);
  WholeLayer whole(store(), id);
  Must(Make(whole.plan, "t"));
  ExpectTree(whole.plan.manifest, "t");
  EXPECT_EQ(StatOf("t/many").st_ino, StatOf("t/group").st_ino);
  EXPECT_EQ(StatOf("t/many").st_nlink, 2U);
  EXPECT_EQ(StatOf("t/other").st_nlink, 2U);
}

// As an ordinary user the kernel stops us at such modes; ReadDirectory too, so the names are looked
// at.
TEST_F(MakeTreeTest, ModesThatShutTheOwnerOutAreNoObstacle) {
  LayerMaker layer(store());
  layer.File("shut/inside/f", "x", 0)
      .Dir("shut/inside", 0)
      .Dir("shut", 0)
      .File("unreadable", "y", 0);
  WholeLayer whole(store(), layer.Publish());
  for (PlaceFile place : {PlaceFile::kLink, PlaceFile::kCopy}) {
    std::string name = place == PlaceFile::kLink ? "linked" : "copied";
    Must(Make(whole.plan, name, place));
    EXPECT_EQ(StatOf(name + "/shut").st_mode & 07777, 0U);
    ASSERT_EQ(::chmod(Path(name + "/shut").c_str(), 0700), 0);
    EXPECT_EQ(StatOf(name + "/shut/inside").st_mode & 07777, 0U);
    ASSERT_EQ(::chmod(Path(name + "/shut/inside").c_str(), 0700), 0);
    EXPECT_EQ(StatOf(name + "/shut/inside/f").st_mode & 07777, 0U);
    EXPECT_EQ(StatOf(name + "/unreadable").st_size, 1);
  }
}

TEST_F(MakeTreeTest, WorksWithFewDescriptors) {
  LayerMaker layer(store());
  for (int i = 0; i < 100; ++i) layer.File(fmt::format("d{}/e/f", i), "x");
  WholeLayer whole(store(), layer.Publish());
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 64;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  Result<void> made = Make(whole.plan, "t", PlaceFile::kLink, 4);
  Result<void> copied = Make(whole.plan, "c", PlaceFile::kCopy, 4);
  ::setrlimit(RLIMIT_NOFILE, &before);
  Must(std::move(made));
  Must(std::move(copied));
  ExpectTree(whole.plan.manifest, "t");
  ExpectTree(whole.plan.manifest, "c");
}

TEST_F(MakeTreeTest, LongestPathsAreMade) {
  std::string path;
  for (int i = 0; i < 16; ++i) path += std::string(250, 'd') + "/";  // 4016 bytes
  path += std::string(70, 'f');
  LayerMaker layer(store());
  layer.File(path, "deep");
  WholeLayer whole(store(), layer.Publish());
  Must(Make(whole.plan, "t"));
  UniqueFd tree = Must(OpenAt(AT_FDCWD, Path("t"), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(Must(ReadFile(tree.get(), path)), "deep");
}

TEST_F(MakeTreeTest, MissingFileFailsAndPublishesNothing) {
  LayerMaker layer(store());
  layer.File("a/f", "x");
  LayerId id = layer.Publish();
  WholeLayer whole(store(), id);
  ASSERT_EQ(::unlink((TreePath(id) + "/a/f").c_str()), 0);
  Result<DerivedLayer> made = PublishTree(store(), whole.plan, "segment-x", {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message(), "make segment-x: link a/f: No such file or directory");
  EXPECT_TRUE(Must(ReadDirectory(Path("store/tmp"))).empty());
  EXPECT_FALSE(Must(FindDerived(store(), "segment-x")).has_value());
}

#ifndef __SANITIZE_ADDRESS__  // whose allocator (gcc 12) does not let go of its locks at a fork
TEST_F(MakeTreeTest, WhoPublishesTheSameNameGetsWhatIsThere) {
  WholeLayer whole(store(), EveryKind());
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::set<ino_t> trees;
  size_t existed = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      DerivedLayer derived = Must(PublishTree(store(), whole.plan, "segment-y", {}));
      std::lock_guard lock(mutex);
      struct stat st {};
      ::fstat(derived.lease.fd(), &st);
      trees.insert(st.st_ino);
      existed += derived.existed ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(trees.size(), 1U);
  EXPECT_EQ(existed, 3U);
  EXPECT_TRUE(Must(ReadDirectory(Path("store/tmp"))).empty());
  ExpectTree(whole.plan.manifest, "store/derived/segment-y/tree");
}
#endif

}  // namespace
}  // namespace strata::testing
