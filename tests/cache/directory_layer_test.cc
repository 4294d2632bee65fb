// SPDX-License-Identifier: Apache-2.0
#include "cache/directory_layer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::Must;
using testing::StoreFixture;

class DirectoryLayerTest : public StoreFixture {
 protected:
  DirectoryLayerTest() : directory_(std::filesystem::canonical(NewDir("art"))) {}

  void File(const std::string& name, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(At(name)).parent_path());
    std::ofstream(At(name)) << content;
  }
  std::string At(const std::string& name) { return directory_ + "/" + name; }
  Result<DirectoryLayer> Open(const std::optional<std::string>& key = {}) {
    STRATA_ASSIGN(SetItem item, MakeDirectoryItem(store(), directory_, key));
    return OpenDirectoryLayer(store(), item);
  }
  Error Refused() {
    auto layer = Open();
    EXPECT_FALSE(layer);
    return layer ? Error(Errc::kSystem, "") : std::move(layer).error();
  }
  static const ManifestEntry& Entry(const DirectoryLayer& layer, const std::string& path) {
    auto index = layer.manifest.Find(path);
    EXPECT_TRUE(index) << path;
    return layer.manifest.entry(index.value_or(0));
  }

  std::string directory_;
};

TEST_F(DirectoryLayerTest, TheManifestSaysWhatIsThere) {
  File("usr/bin/tool", "four");
  ::chmod(At("usr/bin/tool").c_str(), 0751);
  ::chmod(At("usr").c_str(), 0710);
  ASSERT_EQ(::setxattr(At("usr/bin/tool").c_str(), "user.note", "x", 1, 0), 0);
  timespec times[2] = {{5, 0}, {1234, 567}};
  ASSERT_EQ(::utimensat(AT_FDCWD, At("usr/bin/tool").c_str(), times, 0), 0);
  ASSERT_EQ(::link(At("usr/bin/tool").c_str(), At("usr/other").c_str()), 0);
  ASSERT_EQ(::symlink("bin", At("usr/sbin").c_str()), 0);
  ASSERT_EQ(::mkfifo(At("fifo").c_str(), 0600), 0);
  File("empty", "");
  ::chmod(At("empty").c_str(), 0);  // no right to read it is needed

  DirectoryLayer layer = Must(Open());
  auto valid = layer.manifest.Validate();
  EXPECT_TRUE(valid) << valid.error().message();
  EXPECT_EQ(layer.manifest.size(), 8U);
  const ManifestEntry& tool = Entry(layer, "usr/bin/tool");
  EXPECT_EQ(tool.type, EntryType::kFile);
  EXPECT_EQ(tool.mode, 0751U);
  EXPECT_EQ(tool.size, 4U);
  EXPECT_EQ(tool.uid, 0U);
  EXPECT_EQ(tool.mtime_sec, 1234);
  EXPECT_EQ(tool.mtime_nsec, 567U);
  EXPECT_EQ(layer.manifest.xattrs(tool), (std::vector<Xattr>{{"user.note", "x"}}));
  EXPECT_EQ(tool.hardlink, Entry(layer, "usr/other").hardlink);
  EXPECT_NE(tool.hardlink, kNoEntry);
  EXPECT_EQ(Entry(layer, "usr").mode, 0710U);
  EXPECT_EQ(layer.manifest.target(Entry(layer, "usr/sbin")), "bin");
  EXPECT_EQ(Entry(layer, "fifo").type, EntryType::kFifo);
  EXPECT_EQ(Entry(layer, "empty").mode, 0U);
  EXPECT_EQ(layer.path, directory_);
  EXPECT_TRUE(layer.same_file_system);
  EXPECT_FALSE(layer.lease.held());
}

TEST_F(DirectoryLayerTest, OnlyHardLinksOfOneFileCountAsTheSame) {
  File("a/one", "same");
  File("a/two", "same");
  File("empty", "");
  std::filesystem::create_directories(At("b"));
  ASSERT_EQ(::link(At("a/one").c_str(), At("b/one").c_str()), 0);
  DirectoryLayer layer = Must(Open());
  EXPECT_TRUE(IsMarkOfFile(Entry(layer, "a/one").digest));
  EXPECT_NE(Entry(layer, "a/one").digest, Entry(layer, "a/two").digest);
  EXPECT_EQ(Entry(layer, "a/one").digest, Entry(layer, "b/one").digest);
  EXPECT_EQ(Entry(layer, "empty").digest, Sha256::Of("", 0));
  EXPECT_FALSE(IsMarkOfFile(Sha256::Of("", 0)));
}

TEST_F(DirectoryLayerTest, WithAKeyItIsReadOnce) {
  File("one", "1");
  DirectoryLayer first = Must(Open("v1"));
  EXPECT_TRUE(first.lease.held());
  File("two", "2");
  EXPECT_EQ(Must(Open("v1")).manifest.size(), 2U);
  EXPECT_EQ(Must(Open("v1")).id, first.id);
  EXPECT_EQ(Must(Open("v2")).manifest.size(), 3U);
  EXPECT_EQ(Must(Open()).manifest.size(), 3U);
  std::string kept = Path("store/derived/dir-" + first.id.Hex());
  EXPECT_TRUE(std::filesystem::is_empty(kept + "/tree"));
  std::filesystem::remove_all(kept);  // collected
  EXPECT_EQ(Must(Open("v1")).manifest.size(), 3U);
}

TEST_F(DirectoryLayerTest, AttributesOfOverlayfsAreRefused) {
  File("dir/file", "x");
  ASSERT_EQ(::setxattr(At("dir").c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  Error error = Refused();
  EXPECT_EQ(error.code(), Errc::kHostile);
  EXPECT_EQ(
      error.message(),
      fmt::format("dir:{}: dir: the attribute user.overlay.opaque is overlayfs's own", directory_));
  ::removexattr(At("dir").c_str(), "user.overlay.opaque");
  ASSERT_EQ(::setxattr(directory_.c_str(), "user.overlay.opaque", "y", 1, 0), 0);
  EXPECT_EQ(Refused().code(), Errc::kHostile);
}

TEST_F(DirectoryLayerTest, WhiteoutNodesAndSocketsAreRefused) {
  // Anybody may make a 0:0 device.
  ASSERT_EQ(::mknod(At("node").c_str(), S_IFCHR | 0600, ::makedev(0, 0)), 0);
  EXPECT_NE(Refused().message().find("node: a 0:0 device would act as a whiteout"),
            std::string::npos);
  ::unlink(At("node").c_str());
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  At("s").copy(address.sun_path, sizeof address.sun_path - 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_NE(Refused().message().find("s: a socket, which no layer can have"), std::string::npos);
}

TEST_F(DirectoryLayerTest, SetuidFilesAreRefused) {
  File("su", "x");
  ASSERT_EQ(::chmod(At("su").c_str(), 04755), 0);
  EXPECT_NE(Refused().message().find("su: a setuid or setgid file"), std::string::npos);
  ASSERT_EQ(::chmod(At("su").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(directory_.c_str(), 02755), 0);  // what many a shared directory has
  EXPECT_TRUE(Open());
}

// Root can make files of others, and nobody else can make what they cannot read.
TEST_F(DirectoryLayerTest, WhatBelongsToOthersOrCannotBeListedIsRefused) {
  File("dir/file", "x");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(At("dir/file").c_str(), 12345, 0), 0);
    Error error = Refused();
    EXPECT_NE(
        error.message().find("dir/file: it belongs to 12345:0, and a sandbox of yours maps 0:0"),
        std::string::npos)
        << error.message();
    EXPECT_NE(error.hint().find("import"), std::string::npos);
    ASSERT_EQ(::chown(At("dir/file").c_str(), 0, 12345), 0);
    EXPECT_FALSE(Open());
    return;
  }
  ::chmod(At("dir").c_str(), 0);
  Error error = Refused();
  ::chmod(At("dir").c_str(), 0755);
  EXPECT_NE(error.message().find("dir: Permission denied"), std::string::npos) << error.message();
}

TEST_F(DirectoryLayerTest, NeitherTheStoreNorWhatHoldsItIsTaken) {
  auto item = [&](const std::string& path) { return MakeDirectoryItem(store(), path, {}); };
  EXPECT_NE(item(Path("store/layers")).error().message().find("it is in the store"),
            std::string::npos);
  EXPECT_NE(item(Path("")).error().message().find("the store itself is in there"),
            std::string::npos);
  EXPECT_NE(item("/").error().message().find("the store itself is in there"), std::string::npos);
  // A name that merely starts alike.
  NewDir("store-of-artifacts");
  EXPECT_TRUE(item(Path("store-of-artifacts")));
}

TEST_F(DirectoryLayerTest, AnotherFileSystemIsTold) {
  struct stat shm {};
  struct stat here {};
  if (::stat("/dev/shm", &shm) != 0 || ::stat(directory_.c_str(), &here) != 0 ||
      shm.st_dev == here.st_dev) {
    GTEST_SKIP() << "needs a /dev/shm on another file system than TMPDIR";
  }
  std::string template_path = "/dev/shm/strata-test-XXXXXX";
  ASSERT_NE(::mkdtemp(template_path.data()), nullptr);
  SetItem item = Must(MakeDirectoryItem(store(), template_path, {}));
  EXPECT_FALSE(Must(OpenDirectoryLayer(store(), item)).same_file_system);
  ::rmdir(template_path.c_str());
}

TEST_F(DirectoryLayerTest, ManyEntriesInOneDirectoryAreAllThere) {
  for (int i = 0; i < 1000; ++i) File(fmt::format("many/{}", i), "x");
  for (int i = 0; i < 200; ++i) File(fmt::format("deep/{}/x", i), "x");
  EXPECT_EQ(Must(Open()).manifest.size(), 1U + 1 + 1000 + 1 + 400);
}

}  // namespace
}  // namespace strata
