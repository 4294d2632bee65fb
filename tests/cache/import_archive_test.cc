// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <algorithm>
#include <thread>

#include "tests/cache/import_support.h"

namespace strata {
namespace {

class ImportArchiveTest : public ImportFixture {};

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

TEST_F(ImportArchiveTest, KeepsTypesContentAndMetadata) {
  TarBuilder tar;
  tar.uid = 12;
  tar.gid = 34;
  tar.mtime = 1234567;
  tar.Dir("./").Dir("./usr").File("./usr/a", "hello", 0640).Symlink("usr/l", "../x").Fifo("usr/p");
  ImportResult result = GoodTar(tar.Finish());
  EXPECT_EQ(result.entries, 4U);
  EXPECT_EQ(result.content_bytes, 5U);
  EXPECT_FALSE(result.existed);
  EXPECT_TRUE(result.warnings.empty());
  const ManifestEntry& file = Entry("usr/a");
  EXPECT_EQ(file.type, EntryType::kFile);
  EXPECT_EQ(file.mode, 0640U);
  EXPECT_EQ(file.uid, 12U);
  EXPECT_EQ(file.gid, 34U);
  EXPECT_EQ(file.mtime_sec, 1234567);
  EXPECT_EQ(file.digest, Sha256::Of("hello", 5));
  EXPECT_EQ(manifest_->target(Entry("usr/l")), "../x");
  EXPECT_EQ(Entry("usr/p").type, EntryType::kFifo);
  EXPECT_EQ(Content("usr/a"), "hello");
  EXPECT_EQ(Stat("usr/a").st_mode, S_IFREG | 0640U);
  EXPECT_EQ(Stat("usr/a").st_uid, ::geteuid());
  for (const char* path : {"usr", "usr/a", "usr/l", "usr/p"}) {
    EXPECT_EQ(Stat(path).st_mtim.tv_sec, 1234567) << path;
  }
  EXPECT_EQ(Stat("usr/p").st_mode, S_IFIFO | 0644U);
}

TEST_F(ImportArchiveTest, ImportingAgainIsANoOp) {
  std::string tar = TarBuilder().File("a", "x").Finish();
  ImportResult first = GoodTar(tar);
  ImportResult second = GoodTar(tar);
  EXPECT_EQ(first.id, second.id);
  EXPECT_TRUE(second.existed);
}

TEST_F(ImportArchiveTest, TheSameContentGivesTheSameIdFromEverySource) {
  Shell(
      "mkdir -p d/sub/deep && echo one >d/sub/file && ln d/sub/file d/link && ln -s file d/sub/sym"
      " && mkfifo d/fifo && printf '' >d/empty && chmod 0600 d/empty && touch -d @12.345678912 "
      "d/*");
  Shell("tar --format=pax -cf a.tar -C d . && tar --format=pax --sort=name -cf b.tar -C d .");
  Shell(
      "gzip -k a.tar && xz -k a.tar && bzip2 -k a.tar && zstd -q a.tar && lz4 -q a.tar a.tar.lz4");
  ImportOptions options;
  options.owner = OwnerPolicy::kRoot;
  LayerId id = Good(dir_ + "/d", options).id;
  EXPECT_EQ(Entry("link").mtime_nsec, 345678912U);
  for (const char* name :
       {"a.tar", "b.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "a.tar.zst", "a.tar.lz4"}) {
    EXPECT_EQ(Good(dir_ + "/" + name, options).id, id) << name;
  }
}

TEST_F(ImportArchiveTest, TheOrderOfTheArchiveDoesNotMatter) {
  auto id = [&](bool forward) {
    TarBuilder tar;
    std::vector<std::string> names = {"b/2", "b/1", "a/x/y", "c", "a/z"};
    if (!forward) std::reverse(names.begin(), names.end());
    for (const std::string& name : names) tar.File(name, name);
    return GoodTar(tar.Finish()).id;
  };
  EXPECT_EQ(id(true), id(false));
}

TEST_F(ImportArchiveTest, TheNumberOfJobsAndTheUmaskDoNotMatter) {
  TarBuilder tar;
  for (int i = 0; i < 500; ++i) {
    tar.File(fmt::format("d{}/f{}", i % 7, i), Pattern(static_cast<size_t>(i)), 0666);
  }
  mode_t old = ::umask(077);
  ImportOptions options;
  options.jobs = 1;
  LayerId id = GoodTar(tar.Finish(), options).id;
  EXPECT_EQ(Stat("d0/f0").st_mode & 07777, 0666U);
  EXPECT_EQ(Stat("d0").st_mode & 07777, 0755U);
  EXPECT_EQ(::umask(old), 077U) << "the caller's umask changed";
  options.jobs = 7;
  EXPECT_EQ(GoodTar(tar.Finish(), options).id, id);
}

TEST_F(ImportArchiveTest, OwnersAndTimesFollowTheOptions) {
  TarBuilder tar;
  tar.uid = 1000;
  tar.gid = 1001;
  tar.File("a");
  GoodTar(tar.Finish());
  EXPECT_EQ(Entry("a").uid, 1000U);
  ImportOptions options;
  options.owner = OwnerPolicy::kRoot;
  options.mtime = 99;
  GoodTar(tar.Finish(), options);
  EXPECT_EQ(Entry("a").uid, 0U);
  EXPECT_EQ(Entry("a").gid, 0U);
  EXPECT_EQ(Entry("a").mtime_sec, 99);
  EXPECT_EQ(Stat("a").st_mtim.tv_sec, 99);
}

TEST_F(ImportArchiveTest, IntegrationCommandsArePartOfTheId) {
  std::string tar = TarBuilder().File("a").Finish();
  LayerId plain = GoodTar(tar).id;
  ImportOptions options;
  options.integration_commands = {"ldconfig"};
  EXPECT_NE(GoodTar(tar, options).id, plain);
  EXPECT_EQ(manifest_->integration_commands(), options.integration_commands);
}

TEST_F(ImportArchiveTest, MissingParentsAreImplicit) {
  GoodTar(TarBuilder().File("a/b/c").Dir("a", 0700).Finish());
  EXPECT_FALSE(Entry("a").implicit());
  EXPECT_EQ(Entry("a").mode, 0700U);
  EXPECT_TRUE(Entry("a/b").implicit());
  EXPECT_EQ(Entry("a/b").mtime_sec, kRootMtime);
  EXPECT_EQ(Stat("a/b").st_mtim.tv_sec, kRootMtime);
  EXPECT_EQ(Stat("a/b").st_mode & 07777, 0755U);
}

TEST_F(ImportArchiveTest, ALaterFileReplacesAnEarlierOne) {
  GoodTar(TarBuilder().File("a", "old").Symlink("a", "x").File("a", "new").Finish());
  EXPECT_EQ(Content("a"), "new");
  EXPECT_EQ(Entry("a").size, 3U);
  EXPECT_EQ(manifest_->size(), 2U);
}

TEST_F(ImportArchiveTest, ALaterDirectoryMerges) {
  GoodTar(TarBuilder().Dir("d", 0755).File("d/f", "x").Dir("d", 0711).Finish());
  EXPECT_EQ(Content("d/f"), "x");
  EXPECT_EQ(Entry("d").mode, 0711U);
  EXPECT_EQ(Stat("d").st_mode & 07777, 0711U);
}

TEST_F(ImportArchiveTest, DirectoriesAndOthersReplaceEachOtherWhereTarWould) {
  GoodTar(TarBuilder().File("a", "x").Dir("a").Dir("b").File("b", "y").Finish());
  EXPECT_TRUE(Entry("a").is_directory());
  EXPECT_EQ(Content("b"), "y");
}

TEST_F(ImportArchiveTest, RefusesAFileInPlaceOfADirectoryWithEntries) {
  Error error = BadTar(TarBuilder().File("d/f").File("d").Finish());
  EXPECT_EQ(error.code(), Errc::kHostile);
  EXPECT_NE(error.message().find("d: not a directory, but a directory with entries before"),
            std::string::npos);
}

TEST_F(ImportArchiveTest, HardlinksShareOneFile) {
  GoodTar(TarBuilder().File("b", "x").Hardlink("a", "b").Hardlink("c", "./a").Finish());
  EXPECT_EQ(Stat("a").st_ino, Stat("b").st_ino);
  EXPECT_EQ(Stat("c").st_nlink, 3U);
  EXPECT_EQ(Entry("b").hardlink, *manifest_->Find("a"));
  EXPECT_EQ(Entry("c").digest, Sha256::Of("x", 1));
  EXPECT_EQ(manifest_->content_size(), 1U);
}

TEST_F(ImportArchiveTest, AHardlinkKeepsWhatItsTargetWas) {
  GoodTar(TarBuilder().File("b", "old").Hardlink("a", "b").File("b", "new").Finish());
  EXPECT_EQ(Content("a"), "old");
  EXPECT_EQ(Content("b"), "new");
  EXPECT_EQ(Entry("a").digest, Sha256::Of("old", 3));
  EXPECT_EQ(Entry("a").hardlink, kNoEntry);
}

TEST_F(ImportArchiveTest, AHardlinkToItselfIsNothing) {
  GoodTar(TarBuilder().File("a", "x").Hardlink("a", "a").Finish());
  EXPECT_EQ(Content("a"), "x");
}

TEST_F(ImportArchiveTest, NamesAreBytes) {
  const std::string names[] = {"caf\xc3\xa9", "e\xcc\x81 decomposed", "bad\xff\xfe", "new\nline",
                               "long" + std::string(200, 'x') + "\xc3\xa9\xff"};
  TarBuilder gnu;
  TarBuilder pax;
  for (const std::string& name : names) {
    gnu.File(name, "x");
    pax.Pax({{"path", name}}).File("short", "x");
  }
  LayerId id = GoodTar(gnu.Finish()).id;
  for (const std::string& name : names) {
    EXPECT_TRUE(Has(name)) << QuotePath(name);
    EXPECT_EQ(Content(name), "x") << QuotePath(name);
  }
  ImportResult result = GoodTar(pax.Finish());
  EXPECT_EQ(result.id, id);
  EXPECT_TRUE(result.warnings.empty());
}

TEST_F(ImportArchiveTest, LinkTargetsAreBytes) {
  GoodTar(TarBuilder()
              .Pax({{"path", "n\xc3\xa9"}})
              .File("x", "x")
              .Pax({{"linkpath", "n\xc3\xa9"}})
              .Hardlink("hard", "x")
              .Pax({{"linkpath", "e\xcc\x81\xff"}})
              .Symlink("soft", "x")
              .Finish());
  EXPECT_EQ(Content("hard"), "x");
  EXPECT_EQ(manifest_->target(Entry("soft")), "e\xcc\x81\xff");
}

TEST_F(ImportArchiveTest, ModesThatWouldStopItDoNot) {
  GoodTar(TarBuilder()
              .Dir("ro", 0555)
              .File("ro/f", "x", 0)
              .Dir("none", 0)
              .Dir("none/none", 0)
              .File("none/none/f", "y")
              .Finish());
  EXPECT_EQ(Stat("ro").st_mode & 07777, 0555U);
  EXPECT_EQ(Stat("ro/f").st_mode & 07777, 0U);
  EXPECT_EQ(Stat("none").st_mode & 07777, 0U);
  EXPECT_EQ(Entry("none/none").mode, 0U);
  EXPECT_EQ(Stat("ro").st_mtim.tv_sec, 1000);
}

TEST_F(ImportArchiveTest, SetuidIsInTheManifestOnly) {
  GoodTar(TarBuilder().File("su", "x", 06755).Dir("sg", 03775).Finish());
  EXPECT_EQ(Entry("su").mode, 06755U);
  EXPECT_EQ(Stat("su").st_mode & 07777, 0755U);
  EXPECT_EQ(Entry("sg").mode, 03775U);
  EXPECT_EQ(Stat("sg").st_mode & 07777, 01775U);
}

TEST_F(ImportArchiveTest, KeepsUserAttributesAndCapabilities) {
  std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  ImportResult result = GoodTar(TarBuilder()
                                    .Pax({{"SCHILY.xattr.user.one", "1"},
                                          {"SCHILY.xattr.security.capability", capability},
                                          {"SCHILY.xattr.security.selinux", "label"}})
                                    .File("f", "x", 0444)
                                    .Pax({{"SCHILY.xattr.user.two", "2"}})
                                    .Dir("d", 0555)
                                    .Finish());
  EXPECT_EQ(manifest_->xattrs(Entry("f")),
            (std::vector<Xattr>{{"security.capability", capability}, {"user.one", "1"}}));
  EXPECT_EQ(XattrOnDisk("f", "user.one"), "1");
  EXPECT_EQ(XattrOnDisk("f", "security.capability"), "(none)");
  EXPECT_EQ(XattrOnDisk("d", "user.two"), "2");
  EXPECT_EQ(Stat("f").st_mode & 07777, 0444U);
  ASSERT_EQ(result.warnings.size(), 1U);
  EXPECT_EQ(result.warnings[0], "f: left out the attribute security.selinux");
}

TEST_F(ImportArchiveTest, LargeFilesAreStreamed) {
  std::string large = Pattern(3'000'001);
  GoodTar(TarBuilder().File("before", "b").File("large", large).File("after", "a").Finish());
  EXPECT_EQ(Content("large"), large);
  EXPECT_EQ(Entry("large").digest, Sha256::Of(large.data(), large.size()));
  EXPECT_EQ(Content("after"), "a");
}

// More than may wait at once, so that the reader waits for them as well.
TEST_F(ImportArchiveTest, LargeFilesThatWaitTogetherKeepTheirContent) {
  TarBuilder tar;
  std::map<std::string, std::string> files;
  for (size_t i = 0; i < 6; ++i) {
    const std::string name = fmt::format("large{}", i);
    files[name] = std::string(5'000'000 + i, static_cast<char>('a' + i));
    tar.File(name, files[name]);
  }
  GoodTar(tar.Finish());
  for (const auto& [name, content] : files) {
    EXPECT_TRUE(Content(name) == content) << name;
    EXPECT_EQ(Entry(name).digest, Sha256::Of(content.data(), content.size())) << name;
  }
}

TEST_F(ImportArchiveTest, HolesStayHoles) {
  Shell(
      "mkdir d && truncate -s 20M d/sparse && printf end | dd of=d/sparse bs=1 seek=10000000 "
      "conv=notrunc status=none && truncate -s 40k d/hollow");
  ImportOptions options;
  options.owner = OwnerPolicy::kRoot;
  LayerId id = Good(dir_ + "/d", options).id;
  EXPECT_LT(Stat("sparse").st_blocks * 512, 1 << 20);
  for (const char* format :
       {"gnu", "posix", "posix --sparse-version=0.0", "posix --sparse-version=0.1"}) {
    Shell(fmt::format("tar --format={} -S -cf s.tar -C d .", format));
    ImportOptions same = options;
    same.mtime = 7;
    LayerId from_tar = Good(dir_ + "/s.tar", same).id;
    EXPECT_EQ(Stat("sparse").st_size, 20 << 20) << format;
    EXPECT_LT(Stat("sparse").st_blocks * 512, 1 << 20) << format;
    EXPECT_EQ(from_tar, Good(dir_ + "/d", same).id) << format;
  }
  EXPECT_EQ(Good(dir_ + "/d", options).id, id);
}

TEST_F(ImportArchiveTest, DevicesOfDevAreLeftOut) {
  ImportResult result =
      GoodTar(TarBuilder().Dir("dev").Device("dev/null", '3', 1, 3).File("f").Finish());
  EXPECT_FALSE(Has("dev/null"));
  EXPECT_EQ(result.entries, 2U);
  EXPECT_EQ(result.warnings, std::vector<std::string>{"dev/null: left out a device node"});
}

TEST_F(ImportArchiveTest, WarningsAreCounted) {
  TarBuilder tar;
  for (int i = 0; i < 50; ++i) tar.Device(fmt::format("dev/{}", i), '4', 1, 1);
  ImportResult result = GoodTar(tar.Finish());
  ASSERT_EQ(result.warnings.size(), 21U);
  EXPECT_EQ(result.warnings.back(), "30 more warnings");
}

TEST_F(ImportArchiveTest, WhiteoutNamesMeanNothingInAPlainTar) {
  GoodTar(TarBuilder().File(".wh.x", "1").File("d/.wh..wh..opq", "2").Finish());
  EXPECT_EQ(Content(".wh.x"), "1");
  EXPECT_FALSE(Entry("d").opaque());
}

TEST_F(ImportArchiveTest, AnArchiveWithoutEntriesIsAnEmptyLayer) {
  ImportResult result = GoodTar(TarBuilder().Finish());
  EXPECT_EQ(result.entries, 0U);
}

TEST_F(ImportArchiveTest, ReadsStandardInput) {
  std::string path = Write("s.tar", TarBuilder().File("a", "x").Finish());
  LayerId id = Good(path).id;
  UniqueFd saved(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10));
  FILE* pipe = ::popen(("cat " + path).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  ASSERT_EQ(::dup2(::fileno(pipe), STDIN_FILENO), STDIN_FILENO);
  ImportResult result = Good("-");
  if (saved.valid()) {
    ::dup2(saved.get(), STDIN_FILENO);
  } else {
    ::close(STDIN_FILENO);
  }
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_EQ(result.id, id);
}

TEST_F(ImportArchiveTest, ReportsProgress) {
  Progress progress;
  ImportOptions options;
  options.progress = &progress;
  std::string tar = TarBuilder().Dir("d").File("d/f", "x").Finish();
  GoodTar(tar, options);
  EXPECT_EQ(progress.entries, 2U);
  EXPECT_EQ(progress.bytes, tar.size());
  EXPECT_EQ(progress.total_bytes, tar.size());
}

TEST_F(ImportArchiveTest, ManyImportsAtOnceGiveOneLayer) {
  TarBuilder tar;
  for (int i = 0; i < 200; ++i) tar.File(fmt::format("f{}", i), "x");
  std::string path = Write("many.tar", tar.Finish());
  std::atomic<int> fresh{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      auto result = Import(*store_, path, {});
      ASSERT_TRUE(result) << result.error().message();
      if (!result->existed) ++fresh;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fresh, 1);
  EXPECT_EQ(store_->ListLayers()->size(), 1U);
}

// --- OCI layers

using ImportOciTest = ImportArchiveTest;

TEST_F(ImportOciTest, WhiteoutFilesBecomeWhiteouts) {
  GoodTar(TarBuilder().Dir("d").File("d/.wh.gone").File("d/f", "x").Finish(), Oci());
  EXPECT_EQ(Entry("d/gone").type, EntryType::kWhiteout);
  EXPECT_FALSE(Has("d/.wh.gone"));
  EXPECT_EQ(Stat("d/gone").st_mode & S_IFMT, static_cast<mode_t>(S_IFCHR));
  EXPECT_EQ(Stat("d/gone").st_rdev, 0U);
}

TEST_F(ImportOciTest, TheOpaqueMarkerMarksItsDirectory) {
  GoodTar(TarBuilder().Dir("d", 0555).File("d/.wh..wh..opq").File("d/f", "x").Finish(), Oci());
  EXPECT_TRUE(Entry("d").opaque());
  EXPECT_EQ(XattrOnDisk("d", "user.overlay.opaque"), "y");
  EXPECT_EQ(manifest_->size(), 3U);
}

TEST_F(ImportOciTest, TheRootCanBeOpaque) {
  GoodTar(TarBuilder().File(".wh..wh..opq").Finish(), Oci());
  EXPECT_TRUE(manifest_->entry(0).opaque());
  EXPECT_EQ(XattrOnDisk("", "user.overlay.opaque"), "y");
}

TEST_F(ImportOciTest, AWhiteoutAndAnEntryOfOneNameDoNotDependOnOrder) {
  LayerId id =
      GoodTar(TarBuilder().File(".wh.d").File("d/f").File(".wh.f").File("f").Finish(), Oci()).id;
  EXPECT_TRUE(Entry("d").opaque());
  EXPECT_TRUE(Entry("d").implicit());
  EXPECT_EQ(Entry("f").type, EntryType::kFile);
  EXPECT_EQ(
      GoodTar(TarBuilder().File("f").File(".wh.f").File("d/f").File(".wh.d").Finish(), Oci()).id,
      id);
}

TEST_F(ImportOciTest, AufsBookkeepingIsLeftOut) {
  ImportResult result = GoodTar(
      TarBuilder().Dir(".wh..wh.plnk").File("d/.wh..wh.plnk/1.2").File("f").Finish(), Oci());
  EXPECT_EQ(result.entries, 1U);
  EXPECT_EQ(result.warnings.size(), 2U);
}

TEST_F(ImportOciTest, RefusesWhiteoutsThatNameNothing) {
  for (const char* name : {".wh.", ".wh..", "d/.wh...", ".wh.d/f", "d/.wh..wh..opq/f"}) {
    EXPECT_EQ(BadTar(TarBuilder().File(name).Finish(), Oci()).code(), Errc::kHostile) << name;
  }
}

}  // namespace
}  // namespace strata
