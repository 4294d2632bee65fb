// SPDX-License-Identifier: Apache-2.0
#include "cache/roots.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/io.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::Must;

class RootsTest : public testing::StoreFixture {
 protected:
  static LayerId Id(int number) {
    std::string text = fmt::format("{}", number);
    return Sha256::Of(text.data(), text.size());
  }
  static DependencySet Set(std::initializer_list<int> numbers) {
    DependencySet set;
    for (int number : numbers) set.items.push_back({Id(number), ""});
    return set;
  }
  static RootContent Content(const DependencySet& set) {
    RootContent content;
    for (const SetItem& item : set.items) {
      content.lowers.push_back("layers/" + item.id.Hex() + "/tree");
    }
    content.base_count = static_cast<uint32_t>(content.lowers.size());
    content.layer_count = content.base_count;
    return content;
  }
  RootKey Publish(const DependencySet& set) {
    return Must(PublishRoot(store(), set.Encode(), Content(set))).key;
  }
  std::string File(const RootKey& key) { return Path("store/roots/" + key.Hex()); }
  void Overwrite(const RootKey& key, std::string_view bytes) {
    std::filesystem::remove(File(key));
    UniqueFd fd = Must(OpenAt(AT_FDCWD, File(key), O_WRONLY | O_CREAT | O_EXCL, 0600));
    Must(WriteAll(fd.get(), bytes, "root"));
  }
  void SetMtime(const RootKey& key, time_t seconds) {
    timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, File(key).c_str(), times, 0), 0);
  }
  time_t Mtime(const RootKey& key) {
    struct stat st {};
    EXPECT_EQ(::stat(File(key).c_str(), &st), 0);
    return st.st_mtime;
  }
};

TEST_F(RootsTest, WhatWasPublishedIsFound) {
  DependencySet set = Set({1, 2, 3});
  set.items[1].view = "at=/opt";
  set.integration = {"ldconfig", "true"};
  RootContent content = Content(set);
  content.method = RootMethod::kDelta;
  content.base_count = 2;
  content.layer_count = 77;
  content.foreign_lowers = {0, 2};
  content.needs_range = true;
  {
    CachedRoot published = Must(PublishRoot(store(), set.Encode(), content));
    EXPECT_FALSE(published.hit);
    EXPECT_TRUE(published.lease.held());
  }
  auto found = Must(FindRoot(store(), set.Encode()));
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->hit);
  EXPECT_EQ(found->key, KeyOfSet(set.Encode()));
  EXPECT_EQ(found->encoded_set, set.Encode());
  EXPECT_EQ(found->content.lowers, content.lowers);
  EXPECT_EQ(found->content.base_count, 2U);
  EXPECT_EQ(found->content.layer_count, 77U);
  EXPECT_EQ(found->content.foreign_lowers, content.foreign_lowers);
  EXPECT_TRUE(found->content.needs_range);
  EXPECT_EQ(found->content.method, RootMethod::kDelta);
  EXPECT_EQ(Must(OpenRoot(store(), found->key)).content.lowers, content.lowers);
  EXPECT_EQ(Must(ListRoots(store())), std::vector<RootKey>{found->key});
}

TEST_F(RootsTest, AnotherSetIsNotFound) {
  Publish(Set({1, 2}));
  EXPECT_FALSE(Must(FindRoot(store(), Set({2, 1}).Encode())));
  EXPECT_EQ(OpenRoot(store(), KeyOfSet("x")).error().code(), Errc::kNotFound);
  EXPECT_EQ(RemoveRoot(store(), KeyOfSet("x")).error().code(), Errc::kNotFound);
}

TEST_F(RootsTest, TheSetSurvivesItsEncoding) {
  DependencySet set = Set({1, 2, 3});
  set.items[2].view = std::string("only=\0\xff", 7);
  set.integration = {"", "a\nb"};
  set.on_conflict = ConflictPolicy::kSkip;
  DependencySet back = Must(DependencySet::Decode(set.Encode()));
  EXPECT_EQ(back.items, set.items);
  EXPECT_EQ(back.integration, set.integration);
  EXPECT_EQ(back.on_conflict, set.on_conflict);
}

TEST_F(RootsTest, ASetWithADirectoryWithoutAKeyIsNotCacheable) {
  DependencySet set = Set({1, 2});
  EXPECT_TRUE(set.cacheable());
  set.items[0].directory = "/srv/with key";
  EXPECT_TRUE(set.cacheable());
  EXPECT_EQ(Must(DependencySet::Decode(set.Encode())).items, set.items);
  EXPECT_NE(set.Encode(), Set({1, 2}).Encode());
  set.items[1] = {LayerId{}, "", "/srv/without"};
  EXPECT_FALSE(set.cacheable());
}

TEST_F(RootsTest, EverythingInASetTellsItsEncoding) {
  DependencySet set = Set({1, 2});
  std::set<std::string> encodings{set.Encode(), Set({2, 1}).Encode(), Set({1}).Encode()};
  set.items[0].view = "at=/a";
  encodings.insert(set.Encode());
  set.on_conflict = ConflictPolicy::kReplace;
  encodings.insert(set.Encode());
  set.integration = {"ab", "c"};
  encodings.insert(set.Encode());
  set.integration = {"a", "bc"};
  encodings.insert(set.Encode());
  set.integration = {"abc"};
  encodings.insert(set.Encode());
  EXPECT_EQ(encodings.size(), 8U);
}

TEST_F(RootsTest, ALayerThatOccursTwiceCountsAtItsTopmostPlace) {
  DependencySet set = Set({1, 2, 1, 3, 2});
  EXPECT_EQ(set.Encode(), Set({1, 3, 2}).Encode());
  set.Deduplicate();
  EXPECT_EQ(set.items, Set({1, 3, 2}).items);
  DependencySet views = Set({1, 1});
  views.items[0].view = "at=/opt";
  views.Deduplicate();
  EXPECT_EQ(views.items.size(), 2U) << "a view is another thing than the whole";
}

TEST_F(RootsTest, ADamagedSetIsRefused) {
  DependencySet set = Set({1, 2});
  set.integration = {"ldconfig"};
  std::string bytes = set.Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DependencySet::Decode(bytes.substr(0, size))) << size;
  }
  EXPECT_FALSE(DependencySet::Decode(bytes + "x"));
  for (size_t i = 0; i < 16; ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x80);
    EXPECT_FALSE(DependencySet::Decode(damaged)) << i;
  }
}

// No set is encoded so; two encodings of one would be two roots.
TEST_F(RootsTest, ASetThatNamesALayerTwiceIsDamaged) {
  DependencySet set;
  set.items.resize(1);
  std::string bytes = set.Encode();
  const std::string item = bytes.substr(16);
  bytes[8] = 2;  // the number of items
  EXPECT_FALSE(DependencySet::Decode(bytes + item));
  bytes[8] = 1;
  EXPECT_TRUE(DependencySet::Decode(bytes));
}

TEST_F(RootsTest, AFlippedByteIsSeenAndTheEntryDropped) {
  DependencySet set = Set({1, 2});
  RootKey key = Publish(set);
  std::string bytes = Must(ReadFile(AT_FDCWD, File(key)));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    Overwrite(key, damaged);
    EXPECT_EQ(OpenRoot(store(), key).error().code(), Errc::kCorrupt) << i;
    EXPECT_FALSE(Must(FindRoot(store(), set.Encode()))) << i;
    EXPECT_FALSE(std::filesystem::exists(File(key))) << i;
  }
  EXPECT_EQ(Publish(set), key);
  EXPECT_TRUE(Must(FindRoot(store(), set.Encode())));
}

TEST_F(RootsTest, ATruncatedFileIsSeen) {
  DependencySet set = Set({1, 2});
  RootKey key = Publish(set);
  std::string bytes = Must(ReadFile(AT_FDCWD, File(key)));
  for (size_t size = 0; size < bytes.size(); ++size) {
    Overwrite(key, bytes.substr(0, size));
    EXPECT_FALSE(Must(FindRoot(store(), set.Encode()))) << size;
    EXPECT_FALSE(std::filesystem::exists(File(key))) << size;
  }
  Overwrite(key, bytes + '\0');
  EXPECT_FALSE(Must(FindRoot(store(), set.Encode())));
}

TEST_F(RootsTest, BytesWithARightChecksumAreCheckedAllTheSame) {
  // Counts, sizes and methods that cannot be, under a key that fits.
  DependencySet set = Set({1});
  RootKey key = Publish(set);
  std::string bytes = Must(ReadFile(AT_FDCWD, File(key)));
  int refused = 0;
  for (size_t i = 0; i + 8 < bytes.size(); ++i) {
    for (unsigned flip : {0x01U, 0x80U, 0xffU}) {
      std::string damaged = bytes.substr(0, bytes.size() - 8);
      damaged[i] = static_cast<char>(static_cast<unsigned char>(damaged[i]) ^ flip);
      uint64_t sum = Xxh3Short(damaged);
      for (int shift = 0; shift < 64; shift += 8) damaged += static_cast<char>(sum >> shift);
      Overwrite(key, damaged);
      auto root = OpenRoot(store(), key);
      if (!root) ++refused;
      if (root) {
        EXPECT_EQ(root->encoded_set, set.Encode());
      }
    }
  }
  EXPECT_GT(refused, 200);
}

TEST_F(RootsTest, AnEntryOfAnotherSetWithTheSameKeyIsNotUsed) {
  DependencySet wanted = Set({1});
  RootKey key = KeyOfSet(wanted.Encode());
  RootKey other = Publish(Set({2}));
  std::filesystem::rename(File(other), File(key));
  EXPECT_FALSE(Must(FindRoot(store(), wanted.Encode())));
  EXPECT_FALSE(std::filesystem::exists(File(key)));
}

TEST_F(RootsTest, ADamagedEntryThatIsInUseIsBusy) {
  DependencySet set = Set({1});
  CachedRoot root = Must(PublishRoot(store(), set.Encode(), Content(set)));
  UniqueFd fd = Must(OpenAt(AT_FDCWD, File(root.key), O_WRONLY));
  ASSERT_EQ(::pwrite(fd.get(), "X", 1, 0), 1);
  auto found = FindRoot(store(), set.Encode());
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::kBusy);
  EXPECT_NE(found.error().message().find("which cannot be used: root"), std::string::npos)
      << found.error().message();
}

TEST_F(RootsTest, ALeaseKeepsARoot) {
  DependencySet set = Set({1});
  std::optional<CachedRoot> root = Must(PublishRoot(store(), set.Encode(), Content(set)));
  RootKey key = root->key;
  EXPECT_EQ(RemoveRoot(store(), key).error().code(), Errc::kBusy);
  UniqueFd held = root->lease.Release();
  root.reset();
  EXPECT_EQ(RemoveRoot(store(), key).error().code(), Errc::kBusy);
  held.reset();
  EXPECT_TRUE(RemoveRoot(store(), key));
  EXPECT_TRUE(Must(ListRoots(store())).empty());
}

TEST_F(RootsTest, AnEntryThatDoesNotKnowOwnersHasThemLookedAt) {
  DependencySet set = Set({1, 2});
  RootContent content = Content(set);
  content.lowers[1] = "/srv/elsewhere";
  const RootKey key = Must(PublishRoot(store(), set.Encode(), content)).key;
  // As version 1 was: no owners at the end of the content.
  std::string bytes = Must(ReadFile(AT_FDCWD, File(key), 1 << 20));
  bytes.resize(bytes.size() - sizeof(uint64_t) - 2 * sizeof(uint32_t));
  bytes[8] = 1;
  const size_t content_at = 16 + set.Encode().size();
  bytes[content_at] = static_cast<char>(bytes[content_at] - 8);
  const uint64_t sum = Xxh3Short(bytes);
  bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  Must(ReplaceFile(AT_FDCWD, File(key), bytes));
  auto found = Must(FindRoot(store(), set.Encode()));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->content.lowers, content.lowers);
  EXPECT_EQ(found->content.foreign_lowers, std::vector<uint32_t>{0}) << "of the store's own, all";
}

TEST_F(RootsTest, OwnersOfLowersThatAreNotThereAreDamage) {
  DependencySet set = Set({1, 2});
  for (std::vector<uint32_t> wrong : {std::vector<uint32_t>{2}, {1, 1}, {1, 0}, {0, 1, 2}}) {
    RootContent content = Content(set);
    content.foreign_lowers = wrong;
    { Must(PublishRoot(store(), set.Encode(), content)); }
    EXPECT_FALSE(Must(FindRoot(store(), set.Encode())));
  }
}

TEST_F(RootsTest, TheSecondToPublishGetsWhatTheFirstDid) {
  DependencySet set = Set({1, 2});
  RootContent first = Content(set);
  RootContent second = Content(set);
  second.lowers = {"derived/other/tree"};
  second.base_count = 1;
  CachedRoot a = Must(PublishRoot(store(), set.Encode(), first));
  CachedRoot b = Must(PublishRoot(store(), set.Encode(), second));
  EXPECT_FALSE(b.hit) << "its caller composed one";
  EXPECT_EQ(b.content.lowers, first.lowers);
  EXPECT_TRUE(std::filesystem::is_empty(Path("store/tmp")));
}

// A set of layers that exist.
class RootNamesTest : public RootsTest {
 protected:
  RootNamesTest() {
    for (const char* name : {"a", "b"}) {
      layers_.push_back(testing::LayerMaker(store()).File(name, name).Publish());
      set_.items.push_back({layers_.back(), ""});
    }
    key_ = Publish(set_);
  }
  bool Exists(const RootKey& key) { return std::filesystem::exists(File(key)); }

  std::vector<LayerId> layers_;
  DependencySet set_;
  RootKey key_;
};

TEST_F(RootNamesTest, ARootHasNamesAndPrefixesAsALayerHas) {
  Must(store().SetRef("root", key_));
  Must(store().SetRef("layer", layers_[0]));
  EXPECT_EQ(Must(store().ResolveTarget("root")), Target(key_));
  EXPECT_EQ(Must(store().ResolveTarget("layer")), Target(layers_[0]));
  EXPECT_EQ(Must(store().ResolveTarget(key_.Hex())), Target(key_));
  EXPECT_EQ(Must(store().ResolveTarget(key_.Hex().substr(0, 6))), Target(key_));
  EXPECT_EQ(store().ResolveTarget(key_.Hex().substr(0, 3)).error().code(), Errc::kNotFound);
  EXPECT_EQ(store().ResolveTarget(std::string(32, '0')).error().code(), Errc::kNotFound);
  Error error = store().Resolve("root").error();
  EXPECT_EQ(error.message(), "root is a composed root, not a layer");
  EXPECT_EQ(error.hint(), fmt::format("its layers: strata show {:.12}", key_.Hex()));
  EXPECT_EQ(store().ReadRef("root").error().code(), Errc::kInvalid);
  EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("store/refs/root"))),
            fmt::format("root {}\n", key_.Hex()));
}

TEST_F(RootNamesTest, ALayerOfALeasedRootStays) {
  {
    CachedRoot lease = Must(OpenRoot(store(), key_));
    Error error = store().RemoveLayer(layers_[0]).error();
    EXPECT_EQ(error.code(), Errc::kBusy);
    EXPECT_NE(error.message().find(fmt::format("root {:.12} is in use", key_.Hex())),
              std::string::npos);
  }
  auto held = [&](const Store&) -> Result<std::vector<RootKey>> { return std::vector{key_}; };
  EXPECT_EQ(store().RemoveLayer(layers_[0], {}, held).error().code(), Errc::kBusy);
  EXPECT_EQ(RemoveRootAndNames(store(), key_, {}, held).error().code(), Errc::kBusy);
  EXPECT_TRUE(store().RemoveLayer(layers_[0]));
  EXPECT_FALSE(Exists(key_)) << "a root goes with its layers";
}

TEST_F(RootNamesTest, ALayerOfARootWithANameOrAPinStays) {
  Must(store().SetRef("keep", key_));
  Error error = store().RemoveLayer(layers_[1]).error();
  EXPECT_EQ(error.code(), Errc::kExists);
  EXPECT_EQ(error.message(),
            fmt::format("layer {:.12} is needed by root {:.12}, which has a name: keep",
                        layers_[1].Hex(), key_.Hex()));
  Must(store().RemoveRef("keep"));
  Must(store().Pin(key_));
  EXPECT_EQ(store().RemoveLayer(layers_[1]).error().code(), Errc::kExists);
  EXPECT_TRUE(Exists(key_));
  Must(store().Unpin(key_));
  EXPECT_TRUE(store().RemoveLayer(layers_[1]));
}

TEST_F(RootNamesTest, ARootIsRemovedWithItsNames) {
  Must(store().SetRef("a", key_));
  Must(store().SetRef("b", key_));
  EXPECT_EQ(RemoveRootAndNames(store(), key_, {"a"}).error().message(),
            fmt::format("root {:.12} has another name: b", key_.Hex()));
  EXPECT_TRUE(RemoveRootAndNames(store(), key_, {"a", "b"}));
  EXPECT_TRUE(Must(store().ListRefs()).empty());
  EXPECT_FALSE(Exists(key_));
  EXPECT_TRUE(Must(store().HasLayer(layers_[0])));
}

TEST_F(RootNamesTest, ReadingARootLeavesItsStampAlone) {
  SetMtime(key_, 1600000000);
  RootInfo info = Must(ReadRoot(store(), key_));
  EXPECT_EQ(info.last_used, 1600000000);
  EXPECT_EQ(info.set.items, set_.items);
  EXPECT_EQ(Mtime(key_), 1600000000);
  Overwrite(KeyOfSet("x"), "damaged");
  EXPECT_EQ(Must(ListRoots(store())).size(), 2U);
  EXPECT_EQ(Must(ReadRoots(store())).size(), 1U);
}

TEST_F(RootsTest, TheStampIsWrittenOnceAnHour) {
  DependencySet set = Set({1});
  RootKey key = Publish(set);
  time_t now = ::time(nullptr);
  SetMtime(key, now - 3000);
  Must(FindRoot(store(), set.Encode()));
  EXPECT_EQ(Mtime(key), now - 3000);
  for (time_t off : {-4000, 4000}) {  // the latter: the clock was put back
    SetMtime(key, now + off);
    Must(FindRoot(store(), set.Encode()));
    EXPECT_GE(Mtime(key), now);
    EXPECT_LE(Mtime(key), now + 600);
  }
}

TEST_F(RootsTest, AStoreWithoutTheDirectoryGetsOne) {
  std::filesystem::remove(Path("store/roots"));
  EXPECT_FALSE(Must(FindRoot(store(), Set({1}).Encode())));
  EXPECT_TRUE(Must(ListRoots(store())).empty());
  Publish(Set({1}));
  EXPECT_TRUE(Must(FindRoot(store(), Set({1}).Encode())));
}

TEST_F(RootsTest, ManyPublishAndRemoveTheSameOne) {
  DependencySet set = Set({1});
  std::string encoded = set.Encode();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        auto root = PublishRoot(store(), encoded, Content(set));
        ASSERT_TRUE(root) << root.error().message();
        struct stat leased {};
        struct stat named {};
        ASSERT_EQ(::fstat(root->lease.fd(), &leased), 0);
        ASSERT_EQ(::stat(File(root->key).c_str(), &named), 0);
        EXPECT_EQ(leased.st_ino, named.st_ino);
        root->lease.Release().reset();
        if (i % 2 == 0) static_cast<void>(RemoveRoot(store(), KeyOfSet(encoded)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(std::filesystem::is_empty(Path("store/tmp")));
}

// In a process of its own: what is mounted or given up there ends with it.
template <typename Body>
int InChild(const Body& body) {
  pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST_F(RootsTest, AReadOnlyStoreStillHasItsRoots) {
  DependencySet set = Set({1});
  RootKey key = Publish(set);
  SetMtime(key, 1600000000);
  EXPECT_EQ(InChild([&] {
              std::string path = Path("store");
              if (::geteuid() == 0) {
                // Modes do not stop root.
                ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
                ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
                ASSERT_EQ(::mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr), 0);
                ASSERT_EQ(::mount(nullptr, path.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY,
                                  nullptr),
                          0);
              } else {
                for (const char* name : {"/roots", "/tmp", ""})
                  ::chmod((path + name).c_str(), 0500);
              }
              Store readonly = Must(Store::Open(path));
              EXPECT_TRUE(Must(FindRoot(readonly, set.Encode())));
              EXPECT_TRUE(OpenRoot(readonly, key));
              auto published = PublishRoot(readonly, Set({2}).Encode(), Content(Set({2})));
              ASSERT_FALSE(published);
              EXPECT_NE(published.error().hint().find("cannot be written to"), std::string::npos);
            }),
            0);
  for (const char* name : {"", "/roots", "/tmp"}) {
    ::chmod((Path("store") + name).c_str(), 0700);
  }
}

}  // namespace
}  // namespace strata
