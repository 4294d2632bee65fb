// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "stager/capture.h"
#include "tests/support/capture_fixture.h"

namespace strata::testing {
namespace {

using CaptureUpperTest = CaptureFixture;

std::string Capability() {
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2;
  data.data[0].permitted = 1U << CAP_NET_RAW;
  return std::string(reinterpret_cast<const char*>(&data), sizeof data);
}

TEST_F(CaptureUpperTest, UntouchedUpperGivesALayerWithoutEntries) {
  Over({Layer().File("a", "x").Publish()});
  EXPECT_EQ(result().entries, 0U);
  EXPECT_EQ(manifest().size(), 1U);
}

TEST_F(CaptureUpperTest, NewEntriesBelongToTheCommandsUser) {
  Dir("d");
  File("d/f", "x");
  CaptureOptions options;
  options.uid = 7;
  options.gid = 8;
  Over({Layer().Owner(3, 4).File("other", "").Publish()}, options);
  for (const char* path : {"d", "d/f"}) {
    EXPECT_EQ(Entry(path).uid, 7U) << path;
    EXPECT_EQ(Entry(path).gid, 8U) << path;
  }
  EXPECT_EQ(result().entries, 2U);
  EXPECT_EQ(result().content_bytes, 1U);
}

TEST_F(CaptureUpperTest, ChangedEntriesInheritTheOwnerBelow) {
  Dir("d");
  File("d/f", "new");
  ::symlinkat("new", tree(), "l");
  Over({Layer().Owner(3, 4).Dir("d").File("d/f", "old").Symlink("l", "old").Publish()});
  for (const char* path : {"d", "d/f", "l"}) {
    EXPECT_EQ(Entry(path).uid, 3U) << path;
    EXPECT_EQ(Entry(path).gid, 4U) << path;
  }
}

TEST_F(CaptureUpperTest, EntryOfAnotherTypeDoesNotInherit) {
  File("d", "x");
  Over({Layer().Owner(3, 4).Dir("d", 02755).Publish()});
  EXPECT_EQ(Entry("d").uid, 0U);
  EXPECT_EQ(Entry("d").mode, 0644U);
}

TEST_F(CaptureUpperTest, SetuidBitAndCapabilityAreInheritedWhereTheContentIsUnchanged) {
  File("prog", "program", 0755);
  Stamp("prog", 1700000000);
  Dir("shared", 0700);
  Over({Layer()
            .File("prog", "program", 04755, {{"security.capability", Capability()}})
            .Dir("shared", 02775)
            .Publish()});
  EXPECT_EQ(Entry("prog").mode, 04755U);
  ASSERT_EQ(manifest().xattrs(Entry("prog")).size(), 1U);
  EXPECT_EQ(manifest().xattrs(Entry("prog"))[0].value, Capability());
  EXPECT_EQ(Entry("shared").mode, 02700U);
}

TEST_F(CaptureUpperTest, SetuidBitAndCapabilityAreLostWithTheContent) {
  File("prog", "another", 0755);
  Over({Layer().File("prog", "program", 04755, {{"security.capability", Capability()}}).Publish()});
  EXPECT_EQ(Entry("prog").mode, 0755U);
  EXPECT_TRUE(manifest().xattrs(Entry("prog")).empty());
}

TEST_F(CaptureUpperTest, SetuidBitSetByTheCommandIsInTheManifestAndNotOnDisk) {
  File("prog", "x", 06755);
  Dir("d", 02755);
  Over({});
  EXPECT_EQ(Entry("prog").mode, 06755U);
  EXPECT_EQ(Entry("d").mode, 02755U);  // that the disk has neither: ExpectSoundLayer
}

TEST_F(CaptureUpperTest, CapabilitySetInTheSandboxIsInTheManifestAndNotOnDisk) {
  File("prog", "x", 0755);
  const std::string value = Capability();
  Result<std::string> set = InNamespace([&]() -> Result<std::string> {
    UniqueFd fd = Must(OpenAt(tree(), "prog", O_RDONLY));
    if (::fsetxattr(fd.get(), "security.capability", value.data(), value.size(), 0) != 0) {
      return FailSys(errno, "fsetxattr");
    }
    return std::string();
  });
  ASSERT_TRUE(set) << set.error().message();
  Over({});
  ASSERT_EQ(manifest().xattrs(Entry("prog")).size(), 1U);
  EXPECT_EQ(manifest().xattrs(Entry("prog"))[0].value, value);
  UniqueFd fd = Must(OpenAt(AT_FDCWD, TreePath(result().id) + "/prog", O_RDONLY));
  EXPECT_LT(::fgetxattr(fd.get(), "security.capability", nullptr, 0), 0);
}

TEST_F(CaptureUpperTest, UnchangedCopiesAndTheirDirectoriesAreDropped) {
  LayerId below = Layer()
                      .Owner(3, 4)
                      .Dir("d")
                      .File("d/f", "same", 04755, {{"user.k", "v"}})
                      .Symlink("d/l", "to")
                      .Fifo("d/p")
                      .Publish();
  Dir("d");
  File("d/f", "same", 0755);
  Attribute("d/f", "user.k", "v");
  Attribute("d/f", "user.overlay.origin", "");
  ::symlinkat("to", tree(), "d/l");
  ::mknodat(tree(), "d/p", S_IFIFO | 0600, 0);
  for (const char* path : {"d/f", "d/l", "d/p", "d"}) Stamp(path);
  Over({below});
  EXPECT_EQ(result().entries, 0U);
  EXPECT_EQ(result().dropped, 4U);
}

TEST_F(CaptureUpperTest, EachKindOfChangeKeepsAFile) {
  LayerMaker below = Layer();
  for (const char* name : {"content", "mode", "mtime", "attribute"}) {
    below.File(name, "same", 0644, {{"user.k", "v"}});
  }
  File("content", "eman");
  File("mode", "same", 0600);
  File("mtime", "same");
  File("attribute", "same");
  for (const char* name : {"content", "mode", "mtime"}) Attribute(name, "user.k", "v");
  Attribute("attribute", "user.k", "w");
  for (const char* name : {"content", "mode", "attribute"}) Stamp(name);
  Stamp("mtime", kTime, kNsec + 1);
  Over({below.Publish()});
  EXPECT_EQ(result().entries, 4U);
}

TEST_F(CaptureUpperTest, DroppingLeavesTheMtimeOfTheDirectory) {
  Dir("d");
  File("d/f", "same");
  File("d/new", "");
  Stamp("d/f");
  Stamp("d", 1234567890, 5);
  Over({Layer().File("d/f", "same").Publish()});
  EXPECT_FALSE(Has("d/f"));
  EXPECT_EQ(Entry("d").mtime_sec, 1234567890);
  EXPECT_EQ(Entry("d").mtime_nsec, 5U);
}

TEST_F(CaptureUpperTest, UnchangedCopyIsKeptWhileItIsLinkedToANewName) {
  File("f", "same");
  Stamp("f");
  ::linkat(tree(), "f", tree(), "g", 0);
  Over({Layer().Owner(3, 4).File("f", "same", 04644).Publish()});
  EXPECT_NE(Entry("f").hardlink, kNoEntry);
  EXPECT_EQ(Entry("f").hardlink, Entry("g").hardlink);
  EXPECT_EQ(Entry("g").uid, 3U);
  EXPECT_EQ(Entry("g").mode, 04644U);
}

TEST_F(CaptureUpperTest, NamesThatBecameOneInodeAreKept) {
  File("f", "same");
  Stamp("f");
  ::linkat(tree(), "f", tree(), "g", 0);
  Over({Layer().File("f", "same").File("g", "same").Publish()});
  EXPECT_EQ(result().entries, 2U);
}

TEST_F(CaptureUpperTest, UnchangedNamesThatAreOneInodeBelowAreDropped) {
  File("f", "same");
  Stamp("f");
  ::linkat(tree(), "f", tree(), "g", 0);
  Over({Layer().File("f", "same").Link("f", "g").Publish()});
  EXPECT_EQ(result().entries, 0U);
}

TEST_F(CaptureUpperTest, WhiteoutStaysOnlyWhereItHidesSomething) {
  Whiteout("gone");
  ::linkat(tree(), "gone", tree(), "nothing", 0);
  Dir("d");
  ::linkat(tree(), "gone", tree(), "d/gone", 0);  // overlayfs makes all of them from one inode
  Over({Layer().File("gone", "").File("d/gone", "").Publish()});
  EXPECT_EQ(Entry("gone").type, EntryType::kWhiteout);
  EXPECT_EQ(Entry("d/gone").type, EntryType::kWhiteout);
  EXPECT_EQ(Entry("gone").hardlink, kNoEntry);
  EXPECT_FALSE(Has("nothing"));
  EXPECT_EQ(result().dropped, 1U);
}

TEST_F(CaptureUpperTest, WhiteoutOfWhatALayerAboveRemovedIsDropped) {
  Whiteout("f");
  Over({Layer().File("f", "").Publish(), Layer().Whiteout("f").Publish()});
  EXPECT_EQ(result().entries, 0U);
}

TEST_F(CaptureUpperTest, FreshDirectoryMovedIntoPlaceIsNotOpaque) {
  Dir("d");
  Attribute("d", "user.overlay.opaque", "y");
  File("d/f", "");
  Over({Layer().File("other", "").Publish()});
  EXPECT_FALSE(Entry("d").opaque());
}

TEST_F(CaptureUpperTest, DirectoryInPlaceOfAFileIsNotOpaque) {
  Dir("d");
  Attribute("d", "user.overlay.opaque", "y");
  Over({Layer().File("d/hidden", "").Publish(), Layer().File("d", "").Publish()});
  EXPECT_EQ(Entry("d").type, EntryType::kDirectory);
  EXPECT_FALSE(Entry("d").opaque());
}

TEST_F(CaptureUpperTest, DirectoryThatReplacedOneWithEntriesIsOpaque) {
  Dir("d");
  Attribute("d", "user.overlay.opaque", "y");
  File("d/f", "same");
  Stamp("d/f");
  Stamp("d");
  Over({Layer().File("d/f", "same").File("d/old", "").Publish()});
  EXPECT_TRUE(Entry("d").opaque());
  EXPECT_TRUE(Has("d/f"));  // nothing below shows it any more
}

TEST_F(CaptureUpperTest, DirectoryThatReplacedAnEmptyOneIsNotOpaque) {
  Dir("d");
  Attribute("d", "user.overlay.opaque", "y");
  File("d/f", "");
  Over({Layer().File("d/old", "").Publish(), Layer().Whiteout("d/old").Publish()});
  EXPECT_FALSE(Entry("d").opaque());
  EXPECT_TRUE(Has("d/f"));
}

TEST_F(CaptureUpperTest, OverlaysOwnAttributesAreStrippedSilently) {
  Dir("d");
  File("d/f", "x", 0444);
  for (const char* name : {"user.overlay.origin", "user.overlay.uuid", "user.overlay.nlink"}) {
    Attribute("d/f", name, "1");
  }
  Attribute("d", "user.overlay.impure", "y");
  Over({});
  EXPECT_TRUE(manifest().xattrs(Entry("d/f")).empty());
  EXPECT_TRUE(result().warnings.empty());
}

TEST_F(CaptureUpperTest, EscapedOverlayAttributesAreLeftOutWithAWarning) {
  File("f", "x");
  Attribute("f", "user.overlay.overlay.opaque", "y");
  Attribute("f", "user.mine", "kept");
  Over({});
  EXPECT_EQ(manifest().xattrs(Entry("f")).size(), 1U);
  ASSERT_EQ(result().warnings.size(), 1U);
  EXPECT_NE(result().warnings[0].find("f: "), std::string::npos);
}

TEST_F(CaptureUpperTest, SocketsAreLeftOutWithAWarningAndFifosKept) {
  Dir("d");
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/d/s", tree());
  MustSys(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  ::mknodat(tree(), "d/p", S_IFIFO | 0640, 0);
  Stamp("d");
  Over({});
  EXPECT_FALSE(Has("d/s"));
  EXPECT_EQ(Entry("d/p").type, EntryType::kFifo);
  EXPECT_EQ(Entry("d").mtime_sec, kTime);
  ASSERT_EQ(result().warnings.size(), 1U);
  EXPECT_EQ(result().warnings[0], "d/s left out: a socket");
}

TEST_F(CaptureUpperTest, MoreThanTwentyWarningsAreCounted) {
  for (int i = 0; i < 30; ++i) {
    File(fmt::format("f{}", i), "");
    Attribute(fmt::format("f{}", i), "user.overlay.overlay.x", "");
  }
  Over({});
  ASSERT_EQ(result().warnings.size(), 21U);
  EXPECT_EQ(result().warnings.back(), "and 10 more of the kind");
}

TEST_F(CaptureUpperTest, LeaveOutPathsAreRemoved) {
  Dir("work");
  Dir("work/out");
  Dir("work/out/deep", 0000);
  File("work/kept", "");
  Stamp("work");
  Dir("proc");
  CaptureOptions options;
  options.leave_out = {"work/out", "proc", "not/there"};
  Over({}, options);
  EXPECT_EQ(result().entries, 2U);
  EXPECT_TRUE(Has("work/kept"));
  EXPECT_EQ(Entry("work").mtime_sec, kTime);
}

TEST_F(CaptureUpperTest, NameOfALinkedFileThatStaysInTheLayerStandsAlone) {
  Dir("out");
  File("out/f", "x");
  ::linkat(tree(), "out/f", tree(), "f", 0);
  CaptureOptions options;
  options.leave_out = {"out"};
  Over({}, options);
  EXPECT_EQ(Entry("f").hardlink, kNoEntry);
  EXPECT_EQ(Entry("f").digest, Sha256::Of("x", 1));
}

TEST_F(CaptureUpperTest, ModesThatDenyTheOwnerAreKept) {
  File("f", "secret", 0000);
  Dir("d");
  File("d/f", "x", 0444);
  Whiteout("d/nothing");
  ::fchmodat(tree(), "d", 0555, 0);
  Dir("closed");
  File("closed/f", "y", 0200);
  ::fchmodat(tree(), "closed", 0000, 0);
  Over({});
  EXPECT_EQ(Entry("f").mode, 0000U);
  EXPECT_EQ(Entry("f").digest, Sha256::Of("secret", 6));
  EXPECT_EQ(Entry("d").mode, 0555U);
  EXPECT_FALSE(Has("d/nothing"));
  EXPECT_EQ(Entry("closed").mode, 0000U);
  EXPECT_EQ(Entry("closed/f").mode, 0200U);
}

TEST_F(CaptureUpperTest, MtimeOptionAppliesToNewAndChangedEntriesOnly) {
  LayerId below = Layer().File("same/changed/f", "old").File("same/f", "").Publish();
  Dir("same");
  Dir("same/changed");
  File("same/changed/f", "new");
  ::symlinkat("f", tree(), "same/changed/l");
  ::mknodat(tree(), "same/changed/p", S_IFIFO | 0600, 0);
  File("linked", "x");
  ::linkat(tree(), "linked", tree(), "also", 0);
  Stamp("same");  // as below: it is there for what is in it
  CaptureOptions options;
  options.mtime = 1000;
  Over({below}, options);
  for (const char* path :
       {"same/changed", "same/changed/f", "same/changed/l", "same/changed/p", "linked", "also"}) {
    EXPECT_EQ(Entry(path).mtime_sec, 1000) << path;
    EXPECT_EQ(Entry(path).mtime_nsec, 0U) << path;
  }
  EXPECT_EQ(Entry("same").mtime_sec, kTime);
}

TEST_F(CaptureUpperTest, SameUpperAgainIsTheSameLayer) {
  LayerId below = Layer().File("f", "").Publish();
  for (int i = 0; i < 2; ++i) {
    Whiteout("f");
    Dir("d");
    File("d/g", "x");
    ::linkat(tree(), "d/g", tree(), "d/h", 0);
    CaptureOptions options;
    options.mtime = 1000;
    Over({below}, options);
    EXPECT_EQ(result().existed, i == 1);
  }
}

TEST_F(CaptureUpperTest, ContentOfEverySizeIsHashedInFull) {
  const size_t sizes[] = {0, 1, 131071, 131072, 131073, 1000003};
  for (size_t size : sizes) File(std::to_string(size), std::string(size, 'a'));
  Over({});
  for (size_t size : sizes) {
    std::string content(size, 'a');
    EXPECT_EQ(Entry(std::to_string(size)).digest, Sha256::Of(content.data(), size)) << size;
    EXPECT_EQ(Entry(std::to_string(size)).size, size);
  }
}

TEST_F(CaptureUpperTest, AttributesOfTheRootAreLeftOut) {
  Attribute(".", "user.overlay.uuid", "1");
  Attribute(".", "user.k", "v");
  ::fchmod(tree(), 0700);
  Over({});
  EXPECT_EQ(Entry("").mode, 0755U);
  EXPECT_EQ(result().warnings.size(), 1U);
  UniqueFd fd = Must(OpenAt(AT_FDCWD, TreePath(result().id), O_RDONLY));
  EXPECT_EQ(AttributesOf(fd.get()), "[]");
}

TEST_F(CaptureUpperTest, ManyDirectoriesNeedFewDescriptors) {
  for (int i = 0; i < 1500; ++i) {
    Dir(fmt::format("d{}", i));
    File(fmt::format("d{}/f", i), "x");
  }
  rlimit old;
  ::getrlimit(RLIMIT_NOFILE, &old);
  rlimit few = old;
  few.rlim_cur = 256;
  ::setrlimit(RLIMIT_NOFILE, &few);
  Over({});
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(result().entries, 3000U);
}

}  // namespace
}  // namespace strata::testing
