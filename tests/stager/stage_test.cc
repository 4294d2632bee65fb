// SPDX-License-Identifier: Apache-2.0
#include "stager/stage.h"

#include <filesystem>

#include "stager/overlay.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;
using Upper = StageOptions::Upper;

class StageTest : public testing::StoreFixture {
 protected:
  LayerMaker Layer() { return LayerMaker(store()); }
  LayerId Simple(const std::string& name) { return Layer().File(name, name).Publish(); }
  Result<Stage> Prepare(const std::vector<LayerId>& layers, StageOptions options = {},
                        std::vector<int> leases = {}) {
    RootContent root;
    for (const LayerId& id : layers) root.lowers.push_back(Tree(id));
    return Stage::Prepare(store(), root, std::move(leases), options);
  }
  static std::string Tree(const LayerId& id) { return "layers/" + id.Hex() + "/tree"; }
  std::string InStore(const std::string& path) { return store().path() + "/" + path; }
  bool Exists(const std::string& path) { return std::filesystem::exists(InStore(path)); }
  using Strings = std::vector<std::string>;
};

TEST_F(StageTest, LowersAreTheLayersBottomFirstAndTheSkeletonOnTop) {
  LayerId one = Simple("one");
  LayerId two = Simple("two");
  Stage stage = Must(Prepare({one, two}));
  EXPECT_EQ(stage.lowers(), (Strings{Tree(one), Tree(two), "derived/skeleton-basic/tree"}));
}

TEST_F(StageTest, NoLayersAreRefused) {
  auto stage = Prepare({});
  ASSERT_FALSE(stage);
  EXPECT_EQ(stage.error().code(), Errc::kInvalid);
}

TEST_F(StageTest, MoreLayersThanOverlayfsTakesAreRefusedWithTheNumbers) {
  std::vector<LayerId> layers(kMaxOverlayLowers);
  for (size_t i = 0; i < layers.size(); ++i) layers[i] = Sha256::Of(&i, sizeof i);
  auto stage = Prepare(layers);
  ASSERT_FALSE(stage);
  EXPECT_EQ(stage.error().code(), Errc::kUnsupported);
  EXPECT_NE(stage.error().message().find("500 layers"), std::string::npos)
      << stage.error().message();
  EXPECT_NE(stage.error().message().find("at most 499"), std::string::npos)
      << stage.error().message();
}

TEST_F(StageTest, LooksAtNoLayer) {
  EXPECT_TRUE(Prepare({Sha256::Of("x", 1)}));
}

TEST_F(StageTest, ALayerThatIsGoneIsNamedWhenItsManifestIsNeeded) {
  LayerId gone = Sha256::Of("x", 1);
  auto stage = Prepare({gone}, {.mount_points = {{"opt/src"}}});
  ASSERT_FALSE(stage);
  EXPECT_NE(stage.error().message().find(gone.Hex()), std::string::npos) << stage.error().message();
}

TEST_F(StageTest, TheSandboxHoldsTheLeasesOfTheRootOfTheSkeletonAndOfTheScratch) {
  LayerId one = Simple("one");
  LayerLease lease = Must(store().LeaseLayer(one));
  Stage stage = Must(Prepare({one}, {}, {lease.tree_fd()}));
  std::vector<int> held = stage.Held();
  EXPECT_EQ(held.size(), 3U);
  EXPECT_EQ(held[0], lease.tree_fd());
}

// --- upper and work

TEST_F(StageTest, AReadOnlyStageHasNoUpper) {
  Stage stage = Must(Prepare({Simple("one")}, {.upper = Upper::kNone}));
  EXPECT_EQ(stage.upper(), "");
  EXPECT_EQ(stage.work(), "");
}

TEST_F(StageTest, TheUpperIsAnEmptyDirectoryWithTheRootsMetadata) {
  ::umask(077);
  Stage stage = Must(Prepare({Simple("one")}));
  ::umask(022);
  struct stat st;
  ASSERT_EQ(::stat(InStore(stage.upper()).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0755U);
  EXPECT_EQ(st.st_mtim.tv_sec, kRootMtime);
  EXPECT_TRUE(std::filesystem::is_empty(InStore(stage.upper())));
  EXPECT_TRUE(std::filesystem::is_empty(InStore(stage.work())));
}

TEST_F(StageTest, TwoStagesHaveTwoUppers) {
  LayerId one = Simple("one");
  Stage first = Must(Prepare({one}));
  Stage second = Must(Prepare({one}));
  EXPECT_NE(first.upper(), second.upper());
}

TEST_F(StageTest, AnUpperThatWasWrittenToIsGoneWithIt) {
  LayerId one = Simple("one");
  std::string upper;
  {
    Stage stage = Must(Prepare({one}));
    upper = stage.upper();
    Must(ReplaceFile(AT_FDCWD, InStore(upper + "/x"), "x"));
  }
  EXPECT_FALSE(Exists(upper + "/x"));
  Stage stage = Must(Prepare({one}));
  EXPECT_TRUE(std::filesystem::is_empty(InStore(stage.upper())));
}

TEST_F(StageTest, AnUpperElsewhereIsTakenAwayAgain) {
  const std::string elsewhere = NewDir("elsewhere");
  {
    Stage stage =
        Must(Prepare({Simple("one")}, {.upper = Upper::kDirectory, .directory = elsewhere}));
    EXPECT_EQ(stage.upper().compare(0, elsewhere.size(), elsewhere), 0) << stage.upper();
    EXPECT_TRUE(std::filesystem::is_directory(stage.upper()));
    EXPECT_TRUE(std::filesystem::is_directory(stage.work()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere));
}

TEST_F(StageTest, AMissingScratchDirectoryIsNamed) {
  auto stage = Prepare({Simple("one")}, {.upper = Upper::kDirectory, .directory = Path("nowhere")});
  ASSERT_FALSE(stage);
  EXPECT_NE(stage.error().message().find("nowhere"), std::string::npos) << stage.error().message();
}

TEST_F(StageTest, MakesNamedDirectoriesBesideTheUpper) {
  std::string output;
  {
    Stage stage = Must(Prepare({Simple("one")}, {.upper = Upper::kNone}));
    output = Must(stage.MakeDirectory("output"));
    EXPECT_TRUE(std::filesystem::is_directory(InStore(output)));
  }
  EXPECT_FALSE(Exists(output));
}

// --- workspaces

TEST_F(StageTest, AWorkspaceStays) {
  LayerId one = Simple("one");
  StageOptions options{.upper = Upper::kWorkspace, .workspace = "w"};
  {
    Stage stage = Must(Prepare({one}, options));
    EXPECT_EQ(stage.upper(), "workspaces/w/upper");
    Must(ReplaceFile(AT_FDCWD, InStore("workspaces/w/upper/x"), "x"));
    Must(stage.EndWorkspace());
  }
  Stage stage = Must(Prepare({one}, options));
  EXPECT_TRUE(Exists("workspaces/w/upper/x"));
}

TEST_F(StageTest, AWorkspaceIsForOneAtATime) {
  LayerId one = Simple("one");
  StageOptions options{.upper = Upper::kWorkspace, .workspace = "w"};
  std::optional<Stage> first = Must(Prepare({one}, options));
  auto second = Prepare({one}, options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  first.reset();
  EXPECT_TRUE(Prepare({one}, options));
}

// What the kernel leaves where a volatile mount was not unmounted by its user.
void LeaveMark(const std::string& work) {
  std::filesystem::create_directories(work + "/work/incompat/volatile");
}

TEST_F(StageTest, AWorkspaceOfThisBootIsUsedAgainAfterAnUncleanEnd) {
  LayerId one = Simple("one");
  StageOptions options{.upper = Upper::kWorkspace, .workspace = "w"};
  static_cast<void>(Must(Prepare({one}, options)));
  LeaveMark(InStore("workspaces/w/work"));
  Stage stage = Must(Prepare({one}, options));
  EXPECT_FALSE(Exists("workspaces/w/work/work/incompat"));
}

TEST_F(StageTest, AWorkspaceThatTheMachineWentDownWithIsRefusedWithAHint) {
  LayerId one = Simple("one");
  StageOptions options{.upper = Upper::kWorkspace, .workspace = "w"};
  static_cast<void>(Must(Prepare({one}, options)));
  LeaveMark(InStore("workspaces/w/work"));
  Must(ReplaceFile(AT_FDCWD, InStore("workspaces/w/boot"), "another\n"));
  for (int i = 0; i < 2; ++i) {
    auto stage = Prepare({one}, options);
    ASSERT_FALSE(stage);
    EXPECT_EQ(stage.error().code(), Errc::kCorrupt);
    EXPECT_FALSE(stage.error().hint().empty());
  }
}

TEST_F(StageTest, AnUpperCanBeMountedAgainWhenTheMarkOfTheLastMountIsGone) {
  Stage stage = Must(Prepare({Simple("one")}));
  LeaveMark(InStore(stage.work()));
  ASSERT_EQ(::chmod(InStore(stage.work() + "/work").c_str(), 0), 0);
  Must(ReplaceFile(AT_FDCWD, InStore(stage.upper() + "/x"), "x"));
  Must(stage.MakeMountableAgain());
  EXPECT_TRUE(std::filesystem::is_empty(InStore(stage.work())));
  EXPECT_TRUE(Exists(stage.upper() + "/x"));
  EXPECT_TRUE(stage.MakeMountableAgain());
}

TEST_F(StageTest, KeepsItsUpperAsAWorkspace) {
  LayerId one = Simple("one");
  {
    Stage stage = Must(Prepare({one}));
    Must(ReplaceFile(AT_FDCWD, InStore(stage.upper() + "/x"), "x"));
    Must(stage.KeepAsWorkspace("failed"));
  }
  EXPECT_TRUE(Exists("workspaces/failed/upper/x"));
  EXPECT_TRUE(Prepare({one}, {.upper = Upper::kWorkspace, .workspace = "failed"}));
}

TEST_F(StageTest, AWorkspaceNameHasNoSlash) {
  EXPECT_FALSE(Prepare({Simple("one")}, {.upper = Upper::kWorkspace, .workspace = "a/b"}));
}

// --- after the run

TEST_F(StageTest, TheChainShowsTheLayersAndTheSkeleton) {
  Stage stage = Must(Prepare({Layer().File("a", "").Publish(), Layer().Whiteout("a").Publish()}));
  const LowerChain* chain = Must(stage.Chain());
  EXPECT_FALSE(chain->Lookup("a"));
  EXPECT_TRUE(chain->Lookup("proc"));
}

TEST_F(StageTest, TheChainIsTheSameWhetherMountPointsWereAskedForOrNot) {
  LayerId one = Layer().File("opt/a", "").Publish();
  Stage stage = Must(Prepare({one}, {.mount_points = {{"opt/src"}}}));
  const LowerChain* chain = Must(stage.Chain());
  EXPECT_TRUE(chain->Lookup("opt/a"));
  EXPECT_TRUE(chain->Lookup("opt/src"));
}

TEST_F(StageTest, MovesTheUpperToWhereACaptureWantsIt) {
  Stage stage = Must(Prepare({Simple("one")}));
  Must(ReplaceFile(AT_FDCWD, InStore(stage.upper() + "/x"), "x"));
  PendingLayer pending = Must(stage.TakeForCapture(stage.upper()));
  EXPECT_EQ(Must(ReadFile(pending.dir_fd(), "tree/x", 10)), "x");
  EXPECT_FALSE(Exists(stage.upper()));
}

}  // namespace
}  // namespace strata
