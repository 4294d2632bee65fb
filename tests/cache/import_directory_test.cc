// SPDX-License-Identifier: Apache-2.0
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <thread>

#include "tests/cache/import_support.h"

namespace strata {
namespace {

class ImportDirectoryTest : public ImportFixture {
 protected:
  void SetUp() override {
    ImportFixture::SetUp();
    source_ = dir_ + "/d";
    ASSERT_EQ(::mkdir(source_.c_str(), 0755), 0);
  }
  std::string source_;
};

TEST_F(ImportDirectoryTest, KeepsTypesContentAndMetadata) {
  Shell(
      "cd d && mkdir -p sub && printf hello >sub/f && chmod 04711 sub/f && ln -s f sub/l && "
      "mkfifo sub/p && touch -d @55.5 sub/f && touch -d @66 sub");
  ImportResult result = Good(source_);
  EXPECT_EQ(result.entries, 4U);
  EXPECT_EQ(result.content_bytes, 5U);
  EXPECT_EQ(Entry("sub/f").mode, 04711U);
  EXPECT_EQ(Entry("sub/f").mtime_nsec, 500000000U);
  EXPECT_EQ(Entry("sub/f").digest, Sha256::Of("hello", 5));
  EXPECT_EQ(Content("sub/f"), "hello");
  EXPECT_EQ(Stat("sub/f").st_mode & 07777, 0711U);
  EXPECT_EQ(Stat("sub").st_mtim.tv_sec, 66);
  EXPECT_EQ(manifest_->target(Entry("sub/l")), "f");
  EXPECT_EQ(Entry("sub/p").type, EntryType::kFifo);
}

TEST_F(ImportDirectoryTest, TheOwnerIsRootUnlessKept) {
  Shell("touch d/f");
  Good(source_);
  EXPECT_EQ(Entry("f").uid, 0U);
  ImportOptions options;
  options.owner = OwnerPolicy::kKeep;
  Good(source_, options);
  EXPECT_EQ(Entry("f").uid, ::geteuid());
}

TEST_F(ImportDirectoryTest, FilesWithSeveralNamesStayOneFile) {
  Shell("cd d && printf x >a && ln a b && mkdir s && ln a s/c && ln -s t l1 && ln l1 l2");
  Good(source_);
  EXPECT_EQ(Stat("a").st_nlink, 3U);
  EXPECT_EQ(Stat("a").st_ino, Stat("s/c").st_ino);
  EXPECT_EQ(Entry("s/c").hardlink, *manifest_->Find("a"));
  EXPECT_EQ(Entry("l2").hardlink, *manifest_->Find("l1"));
  EXPECT_EQ(manifest_->content_size(), 1U);
}

TEST_F(ImportDirectoryTest, TheSourceIsNotTouched) {
  Shell("printf x >d/f && chmod 0444 d/f && touch -d @5 d");
  Good(source_);
  struct stat st;
  ASSERT_EQ(::stat((source_ + "/f").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 1U);
  EXPECT_NE(st.st_ino, Stat("f").st_ino);
}

TEST_F(ImportDirectoryTest, SocketsAreLeftOut) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "{}/s", source_);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ImportResult result = Good(source_);
  EXPECT_EQ(result.entries, 0U);
  EXPECT_EQ(result.warnings, std::vector<std::string>{"s: left out a socket"});
}

TEST_F(ImportDirectoryTest, RefusesForgedWhiteouts) {
  ASSERT_EQ(::mknod((source_ + "/w").c_str(), S_IFCHR, 0), 0) << "needs Linux 5.8";
  Error error = Bad(source_);
  EXPECT_EQ(error.code(), Errc::kHostile);
  EXPECT_NE(error.message().find("w: a 0:0 device would act as a whiteout"), std::string::npos);
}

TEST_F(ImportDirectoryTest, RefusesForgedOverlayAttributes) {
  for (const char* name : {"d", "d/sub", "d/f"}) {
    Shell("mkdir -p d/sub && touch d/f");
    std::string path = dir_ + "/" + name;
    ASSERT_EQ(::setxattr(path.c_str(), "user.overlay.opaque", "y", 1, 0), 0);
    EXPECT_EQ(Bad(source_).code(), Errc::kHostile) << name;
    ::removexattr(path.c_str(), "user.overlay.opaque");
  }
}

TEST_F(ImportDirectoryTest, KeepsUserAttributes) {
  Shell("touch d/f && mkdir d/s");
  ASSERT_EQ(::setxattr((source_ + "/f").c_str(), "user.a", "1", 1, 0), 0);
  ASSERT_EQ(::setxattr((source_ + "/s").c_str(), "user.b", "2", 1, 0), 0);
  Shell("chmod 0444 d/f");
  Good(source_);
  EXPECT_EQ(XattrOnDisk("f", "user.a"), "1");
  EXPECT_EQ(XattrOnDisk("s", "user.b"), "2");
  EXPECT_EQ(manifest_->xattrs(Entry("f")), (std::vector<Xattr>{{"user.a", "1"}}));
}

TEST_F(ImportDirectoryTest, RefusesASourceThatHoldsTheStore) {
  Error error = Bad(dir_);
  EXPECT_EQ(error.code(), Errc::kInvalid);
  EXPECT_NE(error.message().find("store: the store itself is in there"), std::string::npos);
}

TEST_F(ImportDirectoryTest, SaysWhenAFileChangesWhileItIsRead) {
  std::string path = source_ + "/f";
  Shell("head -c 64M /dev/zero >d/f");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::ofstream out(path, std::ios::app);
    while (!stop) out << "more" << std::flush;
  });
  Error error = Bad(source_);
  stop = true;
  writer.join();
  EXPECT_NE(error.message().find("f: changed while it was read"), std::string::npos)
      << error.message();
}

TEST_F(ImportDirectoryTest, NamesTheFileThatMayNotBeRead) {
  Shell("touch d/f && chmod 0 d/f");
  const bool root = ::geteuid() == 0;
  if (root) {  // who may read anything; so become somebody else, as far as files go
    Shell("chown -R 65534 .");
    ::setfsuid(65534);
  }
  Error error = Bad(source_);
  if (root) ::setfsuid(0);
  EXPECT_NE(error.message().find("open f: Permission denied"), std::string::npos);
}

TEST_F(ImportDirectoryTest, DirectoriesWithManyEntriesAndLevelsAreFine) {
  Shell("cd d && mkdir -p $(seq -s/ 300) && mkdir many && cd many && seq 3000 | xargs touch");
  EXPECT_EQ(Good(source_).entries, 3301U);
}

}  // namespace
}  // namespace strata
