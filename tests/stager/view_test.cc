// SPDX-License-Identifier: Apache-2.0
#include "stager/view.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cache/directory_layer.h"
#include "stager/compose.h"
#include "tests/support/overlay_view.h"
#include "tests/support/store_fixture.h"
#include "tests/support/tree_check.h"

namespace strata {
namespace {

using testing::ExpectedFacts;
using testing::LayerMaker;
using testing::Must;
using testing::ReadDirectory;
using testing::StoreFixture;
using testing::Tree;

class StagerViewTest : public StoreFixture {
 protected:
  ViewLayer Open(const LayerId& layer, const std::string& view) {
    return Must(OpenView(store(), {layer, Must(ParseView(view)).Canonical()}));
  }
  // "d usr", "f usr/bin/cc", with "!" behind what is opaque and "~" behind what is implicit.
  static std::vector<std::string> Lines(const Manifest& manifest) {
    std::vector<std::string> lines;
    manifest.Walk([&](const std::string& path, uint32_t index) {
      const ManifestEntry& e = manifest.entry(index);
      if (index == 0 && !e.opaque()) return;
      lines.push_back(fmt::format("{} {}{}{}", "?dflpw"[static_cast<int>(e.type)], path,
                                  e.opaque() ? "!" : "", e.implicit() ? "~" : ""));
    });
    return lines;
  }
  std::vector<std::string> Lines(const LayerId& layer, const std::string& view) {
    ViewLayer opened = Open(layer, view);
    ExpectSound(opened);
    return Lines(opened.manifest);
  }
  // The tree is what the manifest says.
  void ExpectSound(const ViewLayer& view) {
    auto valid = view.manifest.Validate();
    EXPECT_TRUE(valid) << valid.error().message();
    Tree disk = Must(ReadDirectory(store().path() + "/" + view.path));
    std::map<uint32_t, std::string> groups;
    size_t entries = 0;
    view.manifest.Walk([&](const std::string& path, uint32_t index) {
      if (index == 0) return;
      ++entries;
      const ManifestEntry& e = view.manifest.entry(index);
      ASSERT_TRUE(disk.contains(path)) << path;
      std::string facts = disk[path].facts.starts_with("02") ? "whiteout" : disk[path].facts;
      EXPECT_EQ(facts, ExpectedFacts(view.manifest, e)) << path;
      if (e.hardlink == kNoEntry) return;
      const std::string& first = groups.try_emplace(e.hardlink, path).first->second;
      EXPECT_EQ(disk[path].group, first);
    });
    EXPECT_EQ(disk.size(), entries);
  }
  ino_t Inode(const std::string& path) {
    struct stat st {};
    EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path;
    return st.st_ino;
  }

  LayerId Toolchain() {
    return LayerMaker(store())
        .Dir("usr", 0711)
        .Dir("usr/bin", 0750)
        .File("usr/bin/cc", "compiler", 0755, {{"user.note", "x"}})
        .File("usr/bin/ld", "linker", 04755)
        .Link("usr/bin/cc", "usr/bin/gcc")
        .File("usr/include/sys/stat.h", "stat")
        .File("usr/include/stdio.h", "stdio")
        .Symlink("usr/lib64", "lib")
        .File("etc/cc.conf", "conf")
        .Publish();
  }
};

TEST_F(StagerViewTest, ARootThatIsMovedKeepsEverythingBelowImplicitParents) {
  LayerId layer = LayerMaker(store())
                      .File("bin/a", "a")
                      .Link("bin/a", "bin/b")
                      .Symlink("link", "bin")
                      .Fifo("fifo")
                      .Publish();
  EXPECT_EQ(Lines(layer, "at=/opt/tool"),
            (std::vector<std::string>{"d opt~", "d opt/tool~", "d opt/tool/bin", "f opt/tool/bin/a",
                                      "f opt/tool/bin/b", "p opt/tool/fifo", "l opt/tool/link"}));
  ViewLayer view = Open(layer, "at=/opt/tool");
  EXPECT_EQ(Inode(Path("store/" + view.path + "/opt/tool/bin/a")),
            Inode(TreePath(layer) + "/bin/a"));
}

TEST_F(StagerViewTest, GlobsKeepWhatTheyMatchAndItsParents) {
  LayerId layer = Toolchain();
  EXPECT_EQ(Lines(layer, "only=usr/include"),
            (std::vector<std::string>{"d usr", "d usr/include", "f usr/include/stdio.h",
                                      "d usr/include/sys", "f usr/include/sys/stat.h"}));
  EXPECT_EQ(Lines(layer, "only=**/*.h"),
            (std::vector<std::string>{"d usr", "d usr/include", "f usr/include/stdio.h",
                                      "d usr/include/sys", "f usr/include/sys/stat.h"}));
  EXPECT_EQ(
      Lines(layer, "only=usr/bin/c*:only=etc/*"),
      (std::vector<std::string>{"d etc", "f etc/cc.conf", "d usr", "d usr/bin", "f usr/bin/cc"}));
  ViewLayer view = Open(layer, "only=usr/bin/ld");
  EXPECT_EQ(view.manifest.entry(*view.manifest.Find("usr/bin")).mode, 0750U);
  EXPECT_EQ(view.manifest.entry(*view.manifest.Find("usr/bin/ld")).mode, 04755U);
}

TEST_F(StagerViewTest, OnlyFiltersTheLayersOwnPathsAndThenAtMovesThem) {
  LayerId layer = Toolchain();
  EXPECT_EQ(Lines(layer, "at=/cross:only=usr/lib64"),
            (std::vector<std::string>{"d cross~", "d cross/usr", "l cross/usr/lib64"}));
  EXPECT_FALSE(OpenView(store(), {layer, "at=/cross:only=cross/**"}));
}

TEST_F(StagerViewTest, NamesOfOneFileStayLinkedWhereBothAreThere) {
  LayerId layer = Toolchain();
  ViewLayer both = Open(layer, "only=usr/bin");
  ExpectSound(both);
  EXPECT_EQ(both.manifest.entry(*both.manifest.Find("usr/bin/gcc")).hardlink,
            *both.manifest.Find("usr/bin/cc"));
  ViewLayer one = Open(layer, "only=usr/bin/gcc");  // not the first of its group
  ExpectSound(one);
  EXPECT_EQ(one.manifest.entry(*one.manifest.Find("usr/bin/gcc")).hardlink, kNoEntry);
}

TEST_F(StagerViewTest, WhiteoutsAndOpaqueMarksComeAlong) {
  LayerId layer = LayerMaker(store())
                      .Whiteout("gone")
                      .Opaque("dir")
                      .File("dir/sub/file", "x")
                      .File("dir/other", "x")
                      .Publish();
  EXPECT_EQ(Lines(layer, "at=/a"),
            (std::vector<std::string>{"d a~", "d a/dir!", "f a/dir/other", "d a/dir/sub",
                                      "f a/dir/sub/file", "w a/gone"}));
  EXPECT_EQ(Lines(layer, "only=gone"), (std::vector<std::string>{"w gone"}));
  EXPECT_EQ(Lines(layer, "only=dir"),
            (std::vector<std::string>{"d dir!", "f dir/other", "d dir/sub", "f dir/sub/file"}));
  // What `dir` hides is not in this view, but what `dir/sub` would have shown of lower layers is.
  EXPECT_EQ(Lines(layer, "only=dir/sub"),
            (std::vector<std::string>{"d dir", "d dir/sub!", "f dir/sub/file"}));
}

TEST_F(StagerViewTest, AnOpaqueRootBecomesAnOpaquePrefix) {
  LayerMaker maker(store());
  maker.File("file", "x");
  ManifestBuilder builder;
  builder.At(ManifestBuilder::kRoot).flags = kOpaque;
  auto node = builder.Add(ManifestBuilder::kRoot, "file");
  builder.At(node).type = EntryType::kFile;
  Manifest manifest = Must(Manifest::FromBytes(Must(builder.Finish())));
  TreePlan plan = Must(PlanView({"x", &manifest}, Must(ParseView("at=/a/b"))));
  EXPECT_EQ(Lines(plan.manifest), (std::vector<std::string>{"d a~", "d a/b!~", "f a/b/file"}));
  EXPECT_TRUE(plan.manifest.Validate());
}

TEST_F(StagerViewTest, IntegrationCommandsStay) {
  ManifestBuilder builder;
  builder.At(builder.Add(ManifestBuilder::kRoot, "d")).mode = 0755;
  builder.AddIntegrationCommand("ldconfig");
  Manifest manifest = Must(Manifest::FromBytes(Must(builder.Finish())));
  TreePlan plan = Must(PlanView({"x", &manifest}, Must(ParseView("at=/a"))));
  EXPECT_EQ(plan.manifest.integration_commands(), std::vector<std::string>{"ldconfig"});
}

TEST_F(StagerViewTest, GlobsThatMatchNothingAreAnError) {
  LayerId layer = Toolchain();
  auto view = OpenView(store(), {layer, "only=usr/inlcude/**"});
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().code(), Errc::kNotFound);
  EXPECT_EQ(view.error().message(),
            fmt::format("only=usr/inlcude/** of layer {:.12}: no path matches", layer.Hex()));
  EXPECT_EQ(view.error().hint(),
            fmt::format("`strata files {:.12}` shows what there is", layer.Hex()));
}

TEST_F(StagerViewTest, AViewIsMadeOnce) {
  LayerId layer = Toolchain();
  ViewLayer first = Open(layer, "at=/x");
  ino_t inode = Inode(Path("store/" + first.path));
  ViewLayer second = Open(layer, "at=/x");
  EXPECT_EQ(first.id, second.id);
  EXPECT_EQ(Inode(Path("store/" + second.path)), inode);
  EXPECT_TRUE(second.lease.held());
  EXPECT_NE(Open(layer, "at=/y").id, first.id);
}

TEST_F(StagerViewTest, AKeyedDirectoryHasViewsToo) {
  std::string directory = NewDir("art");
  {
    UniqueFd fd = Must(OpenAt(temp_fd(), "art/file", O_WRONLY | O_CREAT, 0644));
    Must(WriteAll(fd.get(), "x", "file"));
  }
  SetItem item = Must(MakeDirectoryItem(store(), directory, "v1"));
  item.view = "at=/opt";
  ViewLayer view = Must(OpenView(store(), item));
  EXPECT_EQ(Lines(view.manifest), (std::vector<std::string>{"d opt~", "f opt/file"}));
  EXPECT_EQ(Inode(Path("store/" + view.path + "/opt/file")), Inode(directory + "/file"));
}

TEST_F(StagerViewTest, ASetOfViewsAndDirectoriesIsDrafted) {
  LayerId layer = Toolchain();
  std::string directory = std::filesystem::canonical(NewDir("art"));
  DependencySet set;
  set.items.push_back({layer, "at=/opt"});
  set.items.push_back(Must(MakeDirectoryItem(store(), directory, std::nullopt)));
  RootDraft draft = Must(DraftRoot(store(), set, {}));
  ASSERT_EQ(draft.content.lowers.size(), 2U);
  EXPECT_EQ(draft.content.lowers[0], Open(layer, "at=/opt").path);
  EXPECT_EQ(draft.content.lowers[1], directory);
}

}  // namespace
}  // namespace strata
