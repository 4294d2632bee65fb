// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/layer_args.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;
using testing::StoreFixture;

class LayerArgsTest : public StoreFixture {
 protected:
  LayerArgsTest() {
    base_ = LayerMaker(store()).File("base", "b").Publish();
    tool_ = LayerMaker(store()).File("tool", "t").Publish();
    Must(store().SetRef("base", base_));
    Must(store().SetRef("gcc:12", tool_));
  }
  Result<DependencySet> Read(std::vector<std::string> layers, const std::string& from = "") {
    return ReadLayerArgs(store(), {std::move(layers), from});
  }
  DependencySet Good(std::vector<std::string> layers, const std::string& from = "") {
    return Must(Read(std::move(layers), from));
  }
  Error Bad(std::vector<std::string> layers, const std::string& from = "") {
    auto set = Read(std::move(layers), from);
    EXPECT_FALSE(set);
    return set ? Error(Errc::kSystem, "") : std::move(set).error();
  }
  std::string WriteFile(const std::string& name, std::string_view content) {
    UniqueFd fd = Must(OpenAt(temp_fd(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    Must(WriteAll(fd.get(), content, name));
    return Path(name);
  }
  DependencySet RootSet() {
    DependencySet set;
    set.items = {{base_, ""}, {tool_, "at=/opt"}};
    set.integration = {"ldconfig"};
    set.on_conflict = ConflictPolicy::kReplace;
    return set;
  }
  RootKey Publish(const DependencySet& set) {
    RootContent content;
    content.lowers = {"layers/" + base_.Hex() + "/tree"};
    content.base_count = content.layer_count = 1;
    return Must(PublishRoot(store(), set.Encode(), content)).key;
  }
  std::string Real(const std::string& path) { return std::filesystem::canonical(path); }

  LayerId base_;
  LayerId tool_;
};

TEST_F(LayerArgsTest, RefsAndIdsGiveLayersInOrder) {
  DependencySet set = Good({"gcc:12", base_.Hex(), tool_.Hex().substr(0, 8)});
  ASSERT_EQ(set.items.size(), 3U);
  EXPECT_EQ(set.items[0], (SetItem{tool_, ""}));
  EXPECT_EQ(set.items[1], (SetItem{base_, ""}));
  EXPECT_EQ(set.items[2], (SetItem{tool_, ""}));
}

TEST_F(LayerArgsTest, AViewStandsBehindARefWithColons) {
  DependencySet set = Good({"gcc:12:only=usr/**:at=/opt", "base:at=/"});
  EXPECT_EQ(set.items[0], (SetItem{tool_, "at=/opt:only=usr/**"}));
  EXPECT_EQ(set.items[1], (SetItem{base_, ""}));
  EXPECT_EQ(Bad({"base:at=opt"}).message(), "base:at=opt: at=opt: not an absolute path");
  EXPECT_EQ(Bad({"bse:at=/opt"}).message(), "bse:at=/opt: no layer or ref named bse");
  EXPECT_EQ(Bad({"bse:at=/opt"}).hint(), "did you mean base?");
}

TEST_F(LayerArgsTest, ARootAloneIsThatVerySet) {
  DependencySet set = RootSet();
  Must(store().SetRef("ready", Publish(set)));
  for (const std::string& name : {std::string("ready"), KeyOfSet(set.Encode()).Hex()}) {
    EXPECT_EQ(Good({name}).Encode(), set.Encode());
  }
}

TEST_F(LayerArgsTest, ARootAmongOthersStandsForItsLayersAndCommands) {
  DependencySet set = RootSet();
  Must(store().SetRef("ready", Publish(set)));
  DependencySet among = Good({"gcc:12", "ready", "base"});
  ASSERT_EQ(among.items.size(), 4U);
  EXPECT_EQ(among.items[0], (SetItem{tool_, ""}));
  EXPECT_EQ(among.items[1], set.items[0]);
  EXPECT_EQ(among.items[2], set.items[1]);
  EXPECT_EQ(among.items[3], (SetItem{base_, ""}));
  EXPECT_EQ(among.integration, set.integration);
  EXPECT_EQ(among.on_conflict, ConflictPolicy::kError);
}

TEST_F(LayerArgsTest, ARootHasNoViews) {
  Must(store().SetRef("ready", Publish(RootSet())));
  EXPECT_EQ(Bad({"ready:at=/x"}).message(),
            "ready:at=/x: ready is a composed root, and only a layer has views");
}

TEST_F(LayerArgsTest, ADirectoryIsNamedByItsRealPathAndKey) {
  std::string directory = Real(NewDir("art"));
  ASSERT_EQ(::symlink("art", Path("link").c_str()), 0);
  DependencySet set = Good({"dir:" + Path("link") + "@v1", "dir:" + Path("art") + "@v1",
                            "dir:" + Path("art") + "@v2", "dir:" + Path("art")});
  EXPECT_EQ(set.items[0].directory, directory);
  EXPECT_EQ(set.items[0], set.items[1]);
  EXPECT_NE(set.items[0].id, set.items[2].id);
  EXPECT_EQ(set.items[3].id, LayerId{});
  EXPECT_FALSE(set.cacheable());
  EXPECT_TRUE(Good({"dir:" + Path("art") + "@v1:at=/x"}).cacheable());
}

TEST_F(LayerArgsTest, ASlashAtTheEndKeepsAnAtSignInThePath) {
  std::string directory = Real(NewDir("art@1"));
  DependencySet set = Good({"dir:" + Path("art@1/"), "dir:" + Path("art@1@k")});
  EXPECT_EQ(set.items[0].directory, directory);
  EXPECT_EQ(set.items[0].id, LayerId{});
  EXPECT_EQ(set.items[1].directory, directory);
  EXPECT_NE(set.items[1].id, LayerId{});
}

TEST_F(LayerArgsTest, BadDirectoriesAreRefused) {
  NewDir("art");
  std::string file = WriteFile("file", "x");
  EXPECT_EQ(Bad({"dir:"}).message(), "dir:: no path after 'dir:'");
  EXPECT_EQ(Bad({"dir:" + Path("art") + "@"}).message(),
            "dir:" + Path("art") + "@: the key after '@' is empty");
  EXPECT_EQ(Bad({"dir:" + file}).message(),
            "dir:" + file + ": " + Real(file) + ": not a directory");
  Error error = Bad({"dir:" + Path("art") + ":at=/x"});
  EXPECT_NE(error.message().find("a view is made once and kept"), std::string::npos);
  EXPECT_NE(error.hint().find("@KEY"), std::string::npos);
  EXPECT_NE(Bad({"dir:/nowhere"}).message().find("No such file"), std::string::npos);
  EXPECT_NE(Bad({"dir:/"}).message().find("the store itself is in there"), std::string::npos);
  EXPECT_NE(Bad({"dir:" + Path("store")}).message().find("it is in the store"), std::string::npos);
  EXPECT_NE(Bad({"dir:" + TreePath(base_)}).message().find("it is in the store"),
            std::string::npos);
}

TEST_F(LayerArgsTest, AFileOfLayersComesBelow) {
  std::string file = WriteFile("layers", "# tools\n\n  gcc:12  \n\tbase:at=/b\r\n");
  DependencySet set = Good({"base"}, file);
  ASSERT_EQ(set.items.size(), 3U);
  EXPECT_EQ(set.items[0], (SetItem{tool_, ""}));
  EXPECT_EQ(set.items[1], (SetItem{base_, "at=/b"}));
  EXPECT_EQ(set.items[2], (SetItem{base_, ""}));
}

TEST_F(LayerArgsTest, AnErrorInAFileNamesTheLine) {
  std::string file = WriteFile("layers", "# tools\nbase\nbase:only=[\nbase\n");
  EXPECT_EQ(Bad({}, file).message(), file + ":3: base:only=[: only=[: a '[' without its ']'");
  file = WriteFile("layers", "nothing-like-it");
  EXPECT_EQ(Bad({}, file).message(), file + ":1: no layer or ref named nothing-like-it");
}

TEST_F(LayerArgsTest, NoLayerAtAllIsAnError) {
  EXPECT_EQ(Bad({}).message(), "no LAYER given");
  EXPECT_EQ(Bad({}, WriteFile("layers", "# none\n")).message(),
            "--layers-from: there is no LAYER in it");
  EXPECT_NE(Bad({}, Path("missing")).message().find("--layers-from: open"), std::string::npos);
}

}  // namespace
}  // namespace strata
