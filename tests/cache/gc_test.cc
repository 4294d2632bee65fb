// SPDX-License-Identifier: Apache-2.0
#include "cache/gc.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/io.h"
#include "cache/store_config.h"
#include "cache/usage.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::Must;
namespace fs = std::filesystem;

class GcTest : public testing::StoreFixture {
 protected:
  // Two hours old, unless somebody looks.
  LayerId Layer(const std::string& name, size_t size = 10) {
    LayerId id = testing::LayerMaker(store()).File(name, std::string(size, 'x')).Publish();
    Age("layers/" + id.Hex());
    return id;
  }
  // One that shares its file with the layer, as a segment does.
  std::string Derived(const std::string& name, const LayerId& layer) {
    fs::path tree = Path("store/derived/" + name + "/tree");
    fs::create_directories(tree);
    for (const auto& file : fs::directory_iterator(TreePath(layer))) {
      fs::create_hard_link(file.path(), tree / file.path().filename());
    }
    fs::copy_file(Path("store/layers/" + layer.Hex() + "/manifest"),
                  tree.parent_path() / "manifest");
    Age("derived/" + name);
    return name;
  }
  RootKey Root(const std::vector<LayerId>& layers, const std::vector<std::string>& derived = {},
               int hours = 2) {
    DependencySet set;
    RootContent content;
    for (const LayerId& id : layers) {
      SetItem item;
      item.id = id;
      set.items.push_back(item);
      if (derived.empty()) content.lowers.push_back("layers/" + id.Hex() + "/tree");
    }
    for (const std::string& name : derived) content.lowers.push_back("derived/" + name + "/tree");
    RootKey key = Must(PublishRoot(store(), set.Encode(), content)).key;
    Age("roots/" + key.Hex(), hours);
    return key;
  }
  void Age(const std::string& path, int hours = 2) {
    time_t then = ::time(nullptr) - hours * 3600;
    timespec times[2] = {{then, 0}, {then, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, Path("store/" + path).c_str(), times, 0), 0);
    ::utimensat(AT_FDCWD, Path("store/" + path + "/manifest").c_str(), times, 0);
  }
  GcReport Gc(const GcOptions& options = {}) { return Must(CollectGarbage(store(), options)); }
  static GcOptions All() {
    GcOptions options;
    options.all = true;
    return options;
  }
  bool Has(const LayerId& id) { return fs::exists(Path("store/layers/" + id.Hex())); }
  bool Has(const RootKey& key) { return fs::exists(Path("store/roots/" + key.Hex())); }
  bool HasDerived(const std::string& name) { return fs::exists(Path("store/derived/" + name)); }
};

TEST_F(GcTest, ALayerWithoutANameGoesAndOneWithANameOrPinStays) {
  LayerId unnamed = Layer("unnamed");
  LayerId named = Layer("named");
  LayerId pinned = Layer("pinned");
  Must(store().SetRef("n", named));
  Must(store().Pin(pinned));
  GcReport report = Gc();
  EXPECT_EQ(report.layers, std::vector<LayerId>{unnamed});
  EXPECT_GT(report.freed_bytes, 0U);
  EXPECT_FALSE(Has(unnamed));
  EXPECT_TRUE(Has(named));
  EXPECT_TRUE(Has(pinned));
  EXPECT_TRUE(fs::is_empty(Path("store/trash")));
}

TEST_F(GcTest, NothingYoungGoesUnlessAskedTo) {
  LayerId old = Layer("old");
  LayerId young = Layer("young");
  Age("layers/" + young.Hex(), 0);
  LayerId future = Layer("future");
  Age("layers/" + future.Hex(), -5);
  LayerId again = Layer("again");
  testing::LayerMaker(store()).File("again", std::string(10, 'x')).Publish();
  Gc();
  EXPECT_FALSE(Has(old));
  EXPECT_TRUE(Has(young));
  EXPECT_TRUE(Has(future)) << "the clock was put back";
  EXPECT_TRUE(Has(again)) << "imported once more just now";
  EXPECT_EQ(Gc(All()).layers.size(), 3U);
}

TEST_F(GcTest, ALeasedLayerStays) {
  LayerId id = Layer("a");
  {
    LayerLease lease = Must(store().LeaseLayer(id));
    EXPECT_TRUE(Gc(All()).layers.empty());
    EXPECT_TRUE(Has(id));
  }
  EXPECT_EQ(Gc(All()).layers.size(), 1U);
}

TEST_F(GcTest, ARootWithANameAPinOrALeaseKeepsAllThatItIsMadeOf) {
  LayerId a = Layer("a");
  std::string segment = Derived("segment-1", a);
  RootKey key = Root({a}, {segment});
  auto stays = [&](const GcOptions& options) {
    GcReport report = Gc(options);
    EXPECT_TRUE(report.layers.empty() && report.roots.empty() && report.derived.empty());
  };
  Must(store().SetRef("r", key));
  stays(All());
  Must(store().RemoveRef("r"));
  Must(store().Pin(key));
  stays(All());
  Must(store().Unpin(key));
  {
    CachedRoot lease = Must(OpenRoot(store(), key));
    stays(All());
  }
  GcOptions held = All();
  held.held = [&](const Store&) -> Result<std::vector<RootKey>> { return std::vector{key}; };
  stays(held);
  Age("roots/" + key.Hex(), 0);
  stays({});
  Age("roots/" + key.Hex(), 2);
  GcReport report = Gc();
  EXPECT_FALSE(Has(key) || Has(a) || HasDerived(segment));
  EXPECT_EQ(report.derived, std::vector<std::string>{segment});
  EXPECT_EQ(report.layers, std::vector<LayerId>{a});
}

TEST_F(GcTest, ACachedRootOfLayersThatStayStays) {
  LayerId a = Layer("a");
  Must(store().SetRef("a", a));
  std::string segment = Derived("segment-1", a);
  std::string other = Derived("segment-2", a);
  RootKey key = Root({a}, {segment});
  EXPECT_EQ(Gc().derived, std::vector<std::string>{other});
  EXPECT_TRUE(Has(key) && HasDerived(segment));
  GcReport report = Gc(All());
  EXPECT_EQ(report.roots, std::vector<RootKey>{key});
  EXPECT_EQ(report.derived, std::vector<std::string>{segment});
  EXPECT_TRUE(Has(a));
}

TEST_F(GcTest, ARootWhosePartsAreMissingGoes) {
  LayerId a = Layer("a");
  Must(store().SetRef("a", a));
  RootKey of_layer = Root({a, Sha256::Of("x", 1)});
  RootKey of_derived = Root({a}, {"gone"});
  RootKey damaged = Root({a});
  fs::resize_file(Path("store/roots/" + damaged.Hex()), 20);
  Age("roots/" + damaged.Hex());
  Gc();
  EXPECT_FALSE(Has(of_layer) || Has(of_derived) || Has(damaged));
  EXPECT_TRUE(Has(a));
}

TEST_F(GcTest, ALeasedDerivedLayerStays) {
  LayerId a = Layer("a");
  Derived("skeleton-1", a);
  FileLock lease = Must(FileLock::OnDirectory(store().fd(), "derived/skeleton-1/tree",
                                              LockMode::kShared, LockWait::kBlock));
  EXPECT_TRUE(Gc().derived.empty());
  lease = FileLock();
  EXPECT_EQ(Gc().derived.size(), 1U);
}

TEST_F(GcTest, ADryRunTellsTheSameAndRemovesNothing) {
  LayerId a = Layer("a", 100000);
  std::string segment = Derived("segment-1", a);
  RootKey key = Root({a}, {segment});
  GcOptions dry;
  dry.dry_run = true;
  GcReport would = Gc(dry);
  EXPECT_TRUE(Has(a) && Has(key) && HasDerived(segment));
  GcReport did = Gc();
  EXPECT_EQ(would.layers, did.layers);
  EXPECT_EQ(would.roots, did.roots);
  EXPECT_EQ(would.derived, did.derived);
  EXPECT_EQ(would.freed_bytes, did.freed_bytes);
  EXPECT_FALSE(Has(a) || Has(key) || HasDerived(segment));
  EXPECT_GT(did.freed_bytes, 100000U);
  EXPECT_LT(did.freed_bytes, 200000U) << "the file that both have is one file";
}

TEST_F(GcTest, TheLeastRecentlyUsedRootsGoUntilTheStoreFits) {
  std::vector<LayerId> layers;
  std::vector<RootKey> roots;
  for (int i = 0; i < 3; ++i) {
    layers.push_back(Layer(fmt::format("l{}", i)));
    Must(store().SetRef(fmt::format("l{}", i), layers.back()));
    fs::path tree = Path(fmt::format("store/derived/segment-{}/tree", i));
    fs::create_directories(tree);
    UniqueFd fd = Must(OpenAt(AT_FDCWD, tree / "big", O_WRONLY | O_CREAT, 0600));
    Must(WriteAll(fd.get(), std::string(1 << 20, 'x'), "big"));
    Age(fmt::format("derived/segment-{}", i));
    roots.push_back(Root({layers.back()}, {fmt::format("segment-{}", i)}, 9 - 2 * i));
  }
  Must(store().SetRef("named", roots[1]));
  GcOptions options;
  options.max_size = Must(MeasureStore(store())).total() - 1000;
  GcReport report = Gc(options);
  EXPECT_EQ(report.roots, std::vector<RootKey>{roots[0]});
  EXPECT_EQ(report.derived, std::vector<std::string>{"segment-0"});
  EXPECT_LE(*report.store_bytes, *options.max_size);
  options.max_size = 1 << 20;
  report = Gc(options);
  EXPECT_EQ(report.roots, std::vector<RootKey>{roots[2]});
  EXPECT_TRUE(Has(roots[1]) && HasDerived("segment-1"));
  EXPECT_GT(*report.store_bytes, *options.max_size) << "it cannot get there, and says so";
}

TEST_F(GcTest, TreesThatTheirOwnerMayNotEnterGo) {
  testing::LayerMaker maker(store());
  maker.Dir("closed", 0).File("d/f", "x").Dir("d", 0555);
  LayerId id = maker.Publish();
  Age("layers/" + id.Hex());
  Gc();
  EXPECT_FALSE(Has(id));
  EXPECT_TRUE(fs::is_empty(Path("store/trash")));
}

TEST_F(GcTest, LeftoversOfNamesGo) {
  UniqueFd(Must(OpenAt(AT_FDCWD, Path("store/refs/a#1"), O_CREAT | O_WRONLY, 0600))).reset();
  EXPECT_EQ(Gc().leftovers, 0U);
  Age("refs/a#1");
  EXPECT_EQ(Gc().leftovers, 1U);
  EXPECT_FALSE(fs::exists(Path("store/refs/a#1")));
}

TEST_F(GcTest, ByItselfItCollectsOnlyWhatIsTooLargeAndNotAllTheTime) {
  LayerId a = Layer("a", 1 << 20);
  auto configure = [&](std::string_view text) { Must(ReplaceFile(store().fd(), "config", text)); };
  EXPECT_FALSE(Must(CollectIfTooLarge(store(), {})));
  configure("# as large as it likes\n\n max-size = 1G\n");
  EXPECT_FALSE(Must(CollectIfTooLarge(store(), {})));
  configure("max-size=1K");
  EXPECT_FALSE(Must(CollectIfTooLarge(store(), {}))) << "it has just looked";
  EXPECT_TRUE(Has(a));
  Age("gc-stamp", 1);
  EXPECT_TRUE(Must(CollectIfTooLarge(store(), {})));
  EXPECT_FALSE(Has(a));
  Age("gc-stamp", -1);
  EXPECT_TRUE(Must(CollectIfTooLarge(store(), {}))) << "the clock was put back";
}

TEST_F(GcTest, ALineOfTheConfigurationThatMakesNoSenseIsNamed) {
  Must(ReplaceFile(store().fd(), "config", "\nmax-size = much\n"));
  EXPECT_NE(
      ReadStoreConfig(store()).error().message().find("/config, line 2: 'much' is not a size"),
      std::string::npos);
  Must(ReplaceFile(store().fd(), "config", "min-size = 1\n"));
  EXPECT_NE(
      ReadStoreConfig(store()).error().message().find("line 1: there is no setting 'min-size'"),
      std::string::npos);
  Must(ReplaceFile(store().fd(), "config", "max-size"));
  EXPECT_FALSE(ReadStoreConfig(store()));
}

TEST_F(GcTest, WhoPublishesAndNamesIsNeverLeftWithNothing) {
  std::atomic<bool> done{false};
  std::thread collector([&] {
    while (!done) {
      auto report = CollectGarbage(store(), All());
      EXPECT_TRUE(report) << report.error().message();
    }
  });
  for (int i = 0; i < 150; ++i) {
    testing::LayerMaker maker(store());
    maker.File("same", fmt::format("{}", i % 3));
    // What LayerMaker::Publish does, and the lease kept.
    LayerId id = maker.Publish();
    auto lease = store().LeaseLayer(id);
    if (!lease) continue;  // the collector was faster
    DependencySet set;
    set.items.push_back({});
    set.items.back().id = id;
    RootContent content;
    content.lowers = {"layers/" + id.Hex() + "/tree"};
    CachedRoot root = Must(PublishRoot(store(), set.Encode(), content));
    lease = LayerLease();
    EXPECT_TRUE(Has(id)) << "a leased root keeps its layers";
    Must(store().SetRef("root", root.key));
    root.lease = FileLock();
    EXPECT_TRUE(Has(id) && Has(root.key)) << "and so does a named one";
    Must(store().RemoveRef("root"));
  }
  done = true;
  collector.join();
}

}  // namespace
}  // namespace strata
