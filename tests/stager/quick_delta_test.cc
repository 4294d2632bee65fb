// SPDX-License-Identifier: Apache-2.0
//
// Deltas that are made without looking at every layer: that they show what all the layers do, that
// most changes are made that way, and when it is not gone.
#include "stager/quick_delta.h"

#include <gtest/gtest.h>

#include <random>

#include "cache/fsck.h"
#include "stager/compose.h"
#include "tests/support/composed_view.h"
#include "tests/support/random_stage.h"
#include "tests/support/store_fixture.h"

namespace strata::testing {
namespace {

// Layers that agree about what is a directory (d...), and share much.
class AgreeingLayers {
 public:
  explicit AgreeingLayers(unsigned seed) : random_(seed) {}

  RefLayer Layer() {
    RefLayer layer;
    std::vector<RefPath> files;
    for (unsigned i = 0, count = 1 + Below(8); i < count; ++i) {
      RefPath path;
      while (path.size() < 2 && !One(3)) path.push_back(fmt::format("d{}", Below(3)));
      const bool directory = One(4);
      path.push_back(fmt::format("{}{}", directory ? "d" : "f", Below(5)));
      if (layer.entries.contains(path)) continue;
      RefEntry e;
      e.sec = 1500000000 + Below(2);
      if (directory) {
        e.mode = One(2) ? 0755 : 0700;
      } else if (One(6)) {
        e.type = EntryType::kSymlink;
        e.mode = 0777;
        e.target = fmt::format("d{}", Below(3));  // nobody writes through it
      } else if (!files.empty() && One(3)) {
        RefEntry& first = layer.entries.at(files[Below(files.size())]);
        if (first.group.empty()) first.group = std::to_string(i);
        e = first;
      } else {
        e.type = EntryType::kFile;
        e.mode = 0644;
        e.content = std::string(Below(3), 'x');
      }
      if (e.is(EntryType::kFile)) files.push_back(path);
      layer.entries[path] = e;
    }
    AddImplicitParents(layer);
    if (One(2)) return layer;
    for (auto& [path, entry] : layer.entries) {
      if (!entry.implicit) continue;
      entry.implicit = false;
      entry.sec = 1500000000 + Below(2);
    }
    return layer;
  }

  // Some taken away, some put in, some replaced; or moved.
  std::vector<RefLayer> Changed(std::vector<RefLayer> layers) {
    for (unsigned i = 0, count = 1 + Below(2); i < count; ++i) {
      const auto at = layers.begin() + static_cast<long>(Below(layers.size()));
      switch (Below(6)) {
        case 0:
          layers.erase(at);
          break;
        case 1:
          layers.insert(at, Layer());
          break;
        case 2:
          std::swap(*at, layers[Below(layers.size())]);
          break;
        case 3:
          Edit(*at);
          break;
        default:
          *at = Layer();
      }
    }
    return layers;
  }

  unsigned Below(size_t count) { return Pick(random_, static_cast<unsigned>(count)); }
  bool One(unsigned in) { return Below(in) == 0; }

 private:
  // The next version of a package: most of it stays.
  void Edit(RefLayer& layer) {
    for (auto& [path, entry] : layer.entries) {
      if (!entry.is(EntryType::kFile) || !entry.group.empty() || !One(2)) continue;
      entry.content += "y";
    }
    RefEntry file;
    file.type = EntryType::kFile;
    file.mode = 0644;
    layer.entries[{"f-new"}] = file;
  }

  std::mt19937 random_;
};

class QuickDeltaTest : public StoreFixture {
 protected:
  DependencySet SetOf(const std::vector<RefLayer>& layers) {
    DependencySet set;
    for (const RefLayer& layer : layers) {
      auto [known, is_new] = ids_.try_emplace(layer);
      if (is_new) known->second = PublishLayer(store(), layer);
      set.items.push_back({known->second, ""});
    }
    set.on_conflict = ConflictPolicy::kReplace;
    set.Deduplicate();
    return set;
  }

  CachedRoot PublishBase(const DependencySet& set) {
    ComposeOptions options;
    options.jobs = 1;
    options.max_direct = 1;
    options.delta_part = 0;
    RootDraft draft = Must(DraftRoot(store(), set, options));
    return Must(PublishRoot(store(), set.Encode(), draft.content));
  }
  void Remove(CachedRoot root) {
    const RootKey key = root.key;
    root.lease = FileLock();
    Must(RemoveRoot(store(), key));
  }

  bool IsQuick(const DependencySet& set) {
    return PlanQuickDelta(store(), set, Must(FindNearRoots(store(), set)), 1).has_value();
  }
  Result<RootDraft> Draft(const DependencySet& set) {
    ComposeOptions options;
    options.jobs = 1;
    options.max_direct = 1;
    options.delta_part = 1;
    return DraftRoot(store(), set, options);
  }

  // Whether the delta was a quick one; what is wrong with it goes to `problem`.
  bool Compare(const std::vector<RefLayer>& before, const std::vector<RefLayer>& after,
               std::string& problem) {
    CachedRoot base = PublishBase(SetOf(before));
    const DependencySet set = SetOf(after);
    const bool quick = IsQuick(set);
    Result<RootDraft> draft = Draft(set);
    if (!draft) {
      problem = draft.error().message();
    } else {
      const RefTree expected = ReferenceStager::Stage(after, ConflictPolicy::kReplace).tree;
      const auto facts = MergedFacts(store(), draft->content);
      problem = facts ? Difference(*facts, ExpectedFactsOf(expected)) : facts.error().message();
      if (problem.empty() && quick) {
        seen_.push_back(draft->content);
        expected_.push_back(ExpectedTreeOf(expected));
      }
    }
    Remove(std::move(base));
    return quick;
  }

  // The first of what was Compare()d that does not look right when it is mounted.
  std::string DifferenceInMounts() {
    std::vector<std::function<Result<UniqueFd>()>> openers;
    const std::string empty = NewDir("empty");
    for (const RootContent& content : seen_) {
      openers.push_back([&]() -> Result<UniqueFd> {
        OverlayDirs dirs;
        dirs.lower.push_back(empty);
        for (const std::string& lower : content.lowers) {
          dirs.lower.push_back(store().path() + "/" + lower);
        }
        STRATA_ASSIGN(UniqueFd mount, MountOverlay(dirs));
        return OpenAt(mount.get(), ".", O_RDONLY | O_DIRECTORY);
      });
    }
    const std::vector<Tree> trees = Must(ReadRoots(openers));
    for (size_t i = 0; i < trees.size(); ++i) {
      std::string difference = Difference(trees[i], expected_[i]);
      if (!difference.empty()) return difference;
    }
    return {};
  }

  // Ten packages that have a directory in common, and one of each other's.
  std::vector<RefLayer> Packages() {
    std::vector<RefLayer> layers;
    for (int i = 0; i < 10; ++i) {
      layers.push_back(ParseLayer(fmt::format("usr/ usr/p{}/ usr/p{}/f=1 usr/f{}={}", i, i, i, i)));
    }
    return layers;
  }

  std::map<RefLayer, LayerId> ids_;
  std::vector<RootContent> seen_;
  std::vector<Tree> expected_;
};

TEST_F(QuickDeltaTest, ShowsWhatAllTheLayersDo) {
  constexpr unsigned kRounds = 80;
  unsigned quick = 0;
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    AgreeingLayers random(seed);
    std::vector<RefLayer> before;
    while (before.size() < 6) before.push_back(random.Layer());
    std::string problem;
    quick += Compare(before, random.Changed(before), problem) ? 1 : 0;
    ASSERT_EQ(problem, "") << "seed " << seed;
  }
  EXPECT_GT(quick, kRounds / 3);  // else this compared something else
  EXPECT_EQ(DifferenceInMounts(), "");
}

TEST_F(QuickDeltaTest, OfLayersThatDisagreeEveryOneIsLookedAt) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const std::vector<RefLayer> before = RandomStage(seed).Layers();
    std::vector<RefLayer> after = before;
    after[seed % after.size()] = RandomStage(seed + 1000000).Layers()[0];
    std::string problem;
    Compare(before, after, problem);
    ASSERT_EQ(problem, "") << "seed " << seed;
  }
  EXPECT_EQ(DifferenceInMounts(), "");
}

TEST_F(QuickDeltaTest, ANewVersionOfOnePackageOpensNoOtherManifest) {
  std::vector<RefLayer> layers = Packages();
  const CachedRoot base = PublishBase(SetOf(layers));
  const DependencySet before = SetOf(layers);
  layers[4] = ParseLayer("usr/ usr/p4/ usr/p4/f=2 usr/p4/g=2");
  const DependencySet set = SetOf(layers);
  // Only who opens them would see it.
  const std::string manifest = store().path() + "/layers/" + before.items[7].id.Hex() + "/manifest";
  MustSys(::truncate(manifest.c_str(), 3), manifest);
  const RootDraft draft = Must(Draft(set));
  EXPECT_EQ(draft.content.method, RootMethod::kDelta);
  ASSERT_EQ(draft.content.lowers.size(), 2u);
  EXPECT_EQ(draft.content.lowers[0], base.content.lowers[0]);
  const Facts facts = Must(MergedFacts(store(), draft.content));
  EXPECT_TRUE(facts.contains({"usr", "p4", "g"}));
  EXPECT_FALSE(facts.contains({"usr", "f4"}));
  EXPECT_TRUE(facts.contains({"usr", "p7", "f"}));
}

TEST_F(QuickDeltaTest, WhatIsLeftToALayerFurtherDownIsLookedUp) {
  std::vector<RefLayer> layers = Packages();
  layers[2] = ParseLayer("usr/ usr/shared=2");
  layers[6] = ParseLayer("usr/ usr/shared=6");
  const CachedRoot base = PublishBase(SetOf(layers));
  layers.erase(layers.begin() + 6);
  EXPECT_FALSE(IsQuick(SetOf(layers)));
  layers.insert(layers.begin() + 6, ParseLayer("usr/ usr/shared=7"));
  EXPECT_TRUE(IsQuick(SetOf(layers)));
}

TEST_F(QuickDeltaTest, AConflictIsStillFound) {
  std::vector<RefLayer> layers = Packages();
  DependencySet set = SetOf(layers);
  set.on_conflict = ConflictPolicy::kError;
  const CachedRoot base = PublishBase(set);
  layers[9] = ParseLayer("usr/ usr/p3=file");
  set = SetOf(layers);
  set.on_conflict = ConflictPolicy::kError;
  const auto draft = Draft(set);
  ASSERT_FALSE(draft);
  EXPECT_NE(draft.error().message().find("/usr/p3: "), std::string::npos);
}

TEST_F(QuickDeltaTest, CommandsOfTheLayersThatStayAreNotForgotten) {
  std::vector<LayerId> ids;
  for (int i = 0; i < 10; ++i) {
    LayerMaker maker(store());
    maker.File(fmt::format("f{}", i), "1");
    if (i % 4 == 0) maker.Integrate(fmt::format("run {}", i));
    ids.push_back(maker.Publish());
  }
  auto set_of = [&] {
    DependencySet set;
    for (const LayerId& id : ids) set.items.push_back({id, ""});
    return set;
  };
  const CachedRoot base = PublishBase(set_of());
  ids[2] = LayerMaker(store()).File("f2", "2").Integrate("run 2").Publish();
  ids[8] = LayerMaker(store()).File("f8", "2").Publish();
  DependencySet set = set_of();
  set.integration = {"last"};
  ASSERT_TRUE(IsQuick(set));
  EXPECT_EQ(Must(Draft(set)).commands,
            (std::vector<std::string>{"run 0", "run 2", "run 4", "last"}));
}

TEST_F(QuickDeltaTest, DamagedProvidersAreFoundAndNotUsed) {
  std::vector<RefLayer> layers = Packages();
  const CachedRoot base = PublishBase(SetOf(layers));
  const std::string tree = base.content.lowers[0];
  const std::string path = store().path() + "/" + tree.substr(0, tree.rfind('/')) + "/providers";
  UniqueFd file = Must(OpenAt(AT_FDCWD, path, O_WRONLY));
  MustSys(static_cast<int>(::pwrite(file.get(), "\1", 1, 40)), path);
  layers[4] = ParseLayer("usr/ usr/p4/ usr/p4/f=2");
  EXPECT_FALSE(IsQuick(SetOf(layers)));
  const FsckReport report = Must(Fsck(store(), {}));
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].damages[0].path, "providers");
}

}  // namespace
}  // namespace strata::testing
