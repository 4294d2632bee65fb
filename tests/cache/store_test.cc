// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <thread>

#include "base/sys.h"
#include "tests/cache/import_support.h"

namespace strata {
namespace {

class StoreTest : public ImportFixture {
 protected:
  LayerId Layer(const std::string& content) {
    return GoodTar(TarBuilder().File("f", content).Finish()).id;
  }
  bool Exists(const std::string& path) {
    return std::filesystem::exists(std::filesystem::symlink_status(dir_ + "/store/" + path));
  }
};

TEST_F(StoreTest, IsPrivateAndHasItsFormatWrittenDown) {
  struct stat st;
  ASSERT_EQ(::stat((dir_ + "/store").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  EXPECT_EQ(*ReadFile(AT_FDCWD, dir_ + "/store/format"), "strata store 1\n");
}

TEST_F(StoreTest, OpensAgainAndWithParentsMissing) {
  EXPECT_TRUE(Store::Open(dir_ + "/store"));
  EXPECT_TRUE(Store::Open(dir_ + "/a/b/store"));
}

TEST_F(StoreTest, RefusesAnotherFormatWithAdvice) {
  Write("store/format", "strata store 2\n");
  auto store = Store::Open(dir_ + "/store");
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code(), Errc::kUnsupported);
  EXPECT_NE(store.error().message().find("'strata store 2'"), std::string::npos);
  EXPECT_FALSE(store.error().hint().empty());
}

TEST_F(StoreTest, RefusesADirectoryOfSomethingElse) {
  Shell("mkdir mine && touch mine/thesis");
  auto store = Store::Open(dir_ + "/mine");
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("not a strata store, and not empty"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/mine/layers"));
}

TEST_F(StoreTest, ManyMayMakeItAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto store = Store::Open(dir_ + "/fresh");
      EXPECT_TRUE(store) << store.error().message();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(StoreTest, APendingLayerInheritsNothingOfItsPlace) {
  ASSERT_EQ(::chmod((dir_ + "/store/tmp").c_str(), 02770), 0);
  mode_t old = ::umask(0);
  auto pending = store_->NewLayer();
  ::umask(old);
  ASSERT_TRUE(pending);
  struct stat st;
  ASSERT_EQ(::fstat(pending->tree_fd(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755U);
}

TEST_F(StoreTest, ALeaseKeepsALayer) {
  LayerId id = Layer("x");
  auto lease = store_->LeaseLayer(id);
  ASSERT_TRUE(lease);
  auto removed = store_->RemoveLayer(id);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code(), Errc::kBusy);
  EXPECT_TRUE(*store_->HasLayer(id));
  UniqueFd tree = std::move(*lease).Release();
  EXPECT_FALSE(store_->RemoveLayer(id)) << "the released descriptor holds the lease";
  tree.reset();
  EXPECT_TRUE(store_->RemoveLayer(id));
  EXPECT_FALSE(*store_->HasLayer(id));
  EXPECT_EQ(store_->LeaseLayer(id).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->OpenManifest(id).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->RemoveLayer(id).error().code(), Errc::kNotFound);
}

TEST_F(StoreTest, RefsAreSetReadListedAndRemoved) {
  LayerId one = Layer("1");
  LayerId two = Layer("2");
  EXPECT_TRUE(store_->SetRef("gcc:12", one));
  EXPECT_TRUE(store_->SetRef("app/libfoo", two));
  EXPECT_TRUE(store_->SetRef("gcc:12", two));
  EXPECT_EQ(*store_->ReadRef("gcc:12"), two);
  EXPECT_EQ(*store_->ReadTarget("gcc:12"), Target(two));
  auto refs = store_->ListRefs();
  ASSERT_TRUE(refs);
  ASSERT_EQ(refs->size(), 2U);
  EXPECT_EQ((*refs)[0].name, "app/libfoo");
  EXPECT_EQ((*refs)[1].name, "gcc:12");
  EXPECT_TRUE(store_->RemoveRef("gcc:12"));
  EXPECT_EQ(store_->RemoveRef("gcc:12").error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->ReadRef("gcc:12").error().code(), Errc::kNotFound);
}

TEST_F(StoreTest, ARefNeverLeadsToNothing) {
  LayerId id = Layer("1");
  EXPECT_TRUE(store_->RemoveLayer(id));
  EXPECT_EQ(store_->SetRef("gone", id).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->SetRef("gone", Key128{1, 2}).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->Pin(id).error().code(), Errc::kNotFound);
  EXPECT_TRUE(store_->ListRefs()->empty());
}

TEST_F(StoreTest, WhatWasPublishedStaysUntilItHasAName) {
  auto imported = Import(*store_, Write("a.tar", TarBuilder().File("f", "x").Finish()), {});
  ASSERT_TRUE(imported);
  auto again = Import(*store_, dir_ + "/a.tar", {});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->existed);
  imported->lease = LayerLease();
  EXPECT_EQ(store_->RemoveLayer(again->id).error().code(), Errc::kBusy);
  EXPECT_TRUE(store_->SetRef("a", again->id));
  again->lease = LayerLease();
  Error error = store_->RemoveLayer(again->id).error();
  EXPECT_EQ(error.code(), Errc::kExists);
  EXPECT_EQ(error.message(), fmt::format("layer {:.12} has another name: a", again->id.Hex()));
  EXPECT_TRUE(store_->RemoveLayer(again->id, {"a"}));
  EXPECT_TRUE(store_->ListRefs()->empty());
}

TEST_F(StoreTest, PinsAreSetListedAndRemoved) {
  LayerId id = Layer("1");
  EXPECT_TRUE(store_->Pin(id));
  EXPECT_TRUE(store_->Pin(id));
  EXPECT_EQ(*store_->ListPins(), std::vector<Target>{id});
  Error error = store_->RemoveLayer(id).error();
  EXPECT_EQ(error.code(), Errc::kExists);
  EXPECT_EQ(error.hint(), fmt::format("strata unpin {:.12}", id.Hex()));
  EXPECT_TRUE(store_->Unpin(id));
  EXPECT_EQ(store_->Unpin(id).error().code(), Errc::kNotFound);
  EXPECT_TRUE(store_->RemoveLayer(id));
}

TEST_F(StoreTest, RefusesRefNamesThatWouldConfuse) {
  for (const char* name : {"", "-x", "a b", "98fc1c149afbf4c8996fb92427ae41e4", "..", "a/../b", "a//b", "/a", "a/", "dir:x", "%2F",
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}) {
    EXPECT_EQ(Store::CheckRefName(name).error().code(), Errc::kInvalid) << name;
  }
  for (const char* name : {"a", "base", "gcc:12", "app/libfoo", "v1.2~rc+3@x_y-z"}) {
    EXPECT_TRUE(Store::CheckRefName(name)) << name;
  }
}

TEST_F(StoreTest, ResolvesRefsAndPrefixes) {
  LayerId id = Layer("x");
  EXPECT_TRUE(store_->SetRef("base", id));
  EXPECT_EQ(*store_->Resolve("base"), id);
  EXPECT_EQ(*store_->Resolve(id.Hex()), id);
  EXPECT_EQ(*store_->Resolve(id.Hex().substr(0, 4)), id);
  Error short_prefix = store_->Resolve(id.Hex().substr(0, 3)).error();
  EXPECT_EQ(short_prefix.code(), Errc::kNotFound);
  EXPECT_EQ(store_->Resolve("bsae").error().hint(), "did you mean base?");
}

TEST_F(StoreTest, AnAmbiguousPrefixNamesItsCandidates) {
  std::filesystem::create_directory(dir_ + "/store/layers/" + std::string(64, 'a'));
  std::filesystem::create_directory(dir_ + "/store/layers/" + std::string(63, 'a') + "b");
  Error error = store_->Resolve("aaaa").error();
  EXPECT_EQ(error.code(), Errc::kAmbiguous);
  EXPECT_EQ(error.message(), "the id prefix aaaa fits 2 layers");
  EXPECT_EQ(*store_->Resolve(std::string(64, 'a')), *Digest::FromHex(std::string(64, 'a')));
}

TEST_F(StoreTest, ADamagedRefSaysSo) {
  Write("store/refs/base", "nonsense");
  Error error = store_->Resolve("base").error();
  EXPECT_EQ(error.code(), Errc::kCorrupt);
  EXPECT_NE(error.hint().find("strata tag"), std::string::npos);
}

TEST_F(StoreTest, LeftoversGoAndWhatIsInUseStays) {
  auto pending = store_->NewLayer();
  ASSERT_TRUE(pending);
  Shell(
      "mkdir -p store/tmp/dead/tree/d store/stages/dead/upper store/trash/x/y && "
      "chmod 0555 store/tmp/dead/tree/d && touch -d '1 hour ago' store/tmp/* store/stages/*");
  EXPECT_TRUE(store_->CleanLeftovers());
  EXPECT_FALSE(Exists("tmp/dead"));
  EXPECT_FALSE(Exists("stages/dead"));
  EXPECT_FALSE(Exists("trash/x"));
  EXPECT_TRUE(Exists(pending->dir().name()));
}

TEST_F(StoreTest, AnImportKilledAtAnyMomentLeavesNothingVisible) {
  TarBuilder tar;
  for (int i = 0; i < 2000; ++i) tar.File(fmt::format("d{}/f{}", i / 10, i), std::string(100, 'x'));
  std::string path = Write("many.tar", tar.Finish());
  for (int i = 0; i < 10; ++i) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      static_cast<void>(Import(*store_, path, {}));
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(2000 * i));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    auto layers = store_->ListLayers();
    ASSERT_TRUE(layers);
    for (const LayerId& id : *layers) {  // it may have been in time
      auto manifest = store_->OpenManifest(id);
      ASSERT_TRUE(manifest);
      EXPECT_EQ(manifest->Id(), id);
      EXPECT_EQ(manifest->size(), 2201U);
      EXPECT_TRUE(store_->RemoveLayer(id));
    }
  }
  Shell("find store/tmp -mindepth 1 -maxdepth 1 -exec touch -d '1 hour ago' {} +");
  EXPECT_TRUE(store_->CleanLeftovers());
  EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/store/tmp"));
}

}  // namespace
}  // namespace strata
