// SPDX-License-Identifier: Apache-2.0
//
// Imports are hostile until proved otherwise. The fixture checks after each test that the store has
// no leftovers.
#include <sys/resource.h>

#include <csignal>

#include "tests/cache/import_support.h"

namespace strata {
namespace {

class ImportHostileTest : public ImportFixture {
 protected:
  void Refuses(const TarBuilder& tar, std::string_view message) {
    Error error = BadTar(tar.Finish());
    EXPECT_EQ(error.code(), Errc::kHostile) << error.message();
    EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    EXPECT_TRUE(store_->ListLayers()->empty());
  }
};

TEST_F(ImportHostileTest, RefusesNamesWithDotDot) {
  for (const char* name : {"../x", "a/../x", "a/..", ".."}) {
    Refuses(TarBuilder().File(name, "x"), fmt::format("{}: a path with '..'", name));
  }
}

TEST_F(ImportHostileTest, TakesAbsoluteNamesAsRelative) {
  GoodTar(TarBuilder().File("/etc/x", "x").Hardlink("/y", "/etc/x").Finish());
  EXPECT_EQ(Content("etc/x"), "x");
  EXPECT_EQ(Content("y"), "x");
}

TEST_F(ImportHostileTest, RefusesEntriesBelowASymlink) {
  Refuses(TarBuilder().Symlink("a", "/tmp").File("a/x"),
          "a/x: below a, which is a symlink in the same archive");
  Refuses(TarBuilder().Dir("d").Symlink("d/a", "..").Dir("d/a/x/y"), "below d/a");
}

TEST_F(ImportHostileTest, ASymlinkReplacedByADirectoryLeadsNowhere) {
  Shell("mkdir outside");
  GoodTar(TarBuilder().Symlink("a", dir_ + "/outside").Dir("a").File("a/x", "x").Finish());
  EXPECT_EQ(Content("a/x"), "x");
  EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/outside"));
}

TEST_F(ImportHostileTest, RefusesASymlinkInPlaceOfADirectoryInUse) {
  Refuses(TarBuilder().File("a/x").Symlink("a", "/tmp").File("a/y"), "a directory with entries");
}

TEST_F(ImportHostileTest, AFileReplacesASymlinkAndNotItsTarget) {
  Write("outside", "precious");
  GoodTar(TarBuilder().Symlink("a", dir_ + "/outside").File("a", "x").Finish());
  EXPECT_EQ(Content("a"), "x");
  EXPECT_EQ(*ReadFile(AT_FDCWD, dir_ + "/outside"), "precious");
}

TEST_F(ImportHostileTest, RefusesHardlinksToOutside) {
  Refuses(TarBuilder().Hardlink("a", "../../etc/passwd"), "a: a hardlink: ");
  Refuses(TarBuilder().Hardlink("a", "/etc/passwd"), "which is not in the archive before it");
  Refuses(TarBuilder().Symlink("l", "/etc").Hardlink("a", "l/passwd"), "not in the archive");
  Refuses(TarBuilder().Dir("d").Hardlink("a", "d"), "which is a directory");
}

TEST_F(ImportHostileTest, RefusesEntriesBelowAFile) {
  Refuses(TarBuilder().File("a").File("a/b"), "below a, which is not a directory");
}

TEST_F(ImportHostileTest, RefusesDevicesOutsideDev) {
  Refuses(TarBuilder().Device("sda", '4', 8, 0), "a device node (b 8:0) outside /dev");
  Refuses(TarBuilder().Device("usr/dev/null", '3', 1, 3), "outside /dev");
}

TEST_F(ImportHostileTest, RefusesForgedWhiteouts) {
  Refuses(TarBuilder().Device("gone", '3', 0, 0), "would act as a whiteout");
  Refuses(TarBuilder().Device("dev/gone", '3', 0, 0), "would act as a whiteout");
  EXPECT_EQ(BadTar(TarBuilder().Device("gone", '3', 0, 0).Finish(), Oci()).code(), Errc::kHostile);
}

TEST_F(ImportHostileTest, RefusesForgedOverlayAttributes) {
  for (const char* name : {"user.overlay.opaque", "trusted.overlay.redirect", "user.overlay.x"}) {
    Refuses(TarBuilder().Pax({{std::string("SCHILY.xattr.") + name, "y"}}).Dir("d"),
            fmt::format("d: the attribute {} belongs to overlayfs", name));
  }
}

TEST_F(ImportHostileTest, RefusesNamesThatNoFileSystemHolds) {
  Refuses(TarBuilder().Pax({{"path", std::string(256, 'n')}}).File("x"), "255 is the limit");
  std::string deep;
  for (int i = 0; i < 2100; ++i) deep += "a/";
  Refuses(TarBuilder().Pax({{"path", deep + "f"}}).File("x"), "4095 is the limit");
}

TEST_F(ImportHostileTest, TakesTheDeepestTreeAndRemovesItAgain) {
  std::string deep;
  for (int i = 0; i < 2040; ++i) deep += "a/";
  TarBuilder tar;
  tar.Pax({{"path", deep + "f"}}).File("x", "x");
  GoodTar(tar.Finish());
  EXPECT_TRUE(Has(deep + "f"));
  EXPECT_TRUE(store_->RemoveLayer(manifest_->Id()));
}

TEST_F(ImportHostileTest, RefusesTheRootAsAFile) {
  Refuses(TarBuilder().File(".", "x"), "the root of the archive");
}

TEST_F(ImportHostileTest, RefusesHugeFiles) {
  Refuses(TarBuilder().Pax({{"size", "9000000000000000"}}).File("f", "x"),
          "f: claims to have 9000000000000000 bytes");
}

TEST_F(ImportHostileTest, RefusesTerabytesOfHoles) {
  TarBuilder tar;
  tar.Pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "holes"},
           {"GNU.sparse.realsize", "1099511627776"}})
      .File("GNUSparseFile.0/holes", "1\n1099511627776\n0\n" + std::string(512 - 18, '\0'));
  Refuses(tar, "holes: more than 256 GiB of holes");
}

TEST_F(ImportHostileTest, RefusesSparseMapsThatGoBackOrBeyond) {
  for (const char* map : {"2\n4096\n512\n0\n512\n", "1\n8192\n512\n"}) {
    TarBuilder tar;
    std::string content = map;
    content.resize(512);
    content.resize(1536, 'x');
    tar.Pax({{"GNU.sparse.major", "1"},
             {"GNU.sparse.minor", "0"},
             {"GNU.sparse.name", "f"},
             {"GNU.sparse.realsize", "5000"}})
        .File("GNUSparseFile.0/f", content);
    Error error = BadTar(tar.Finish());
    EXPECT_EQ(error.code(), Errc::kCorrupt) << error.message();
  }
}

TEST_F(ImportHostileTest, RefusesOwnersOutOfRange) {
  Error error = BadTar(TarBuilder().Pax({{"uid", "4294967295"}}).File("f").Finish());
  EXPECT_EQ(error.code(), Errc::kCorrupt);
  EXPECT_NE(error.message().find("f: owner 4294967295:0 is out of range"), std::string::npos);
}

TEST_F(ImportHostileTest, SaysTruncatedWhereverAnArchiveIsCut) {
  TarBuilder tar;
  tar.Dir("d").File("d/small", "x").Pax({{"path", "d/" + std::string(120, 'n')}}).File("n", "y");
  std::string large(300'000, 'l');
  tar.File("large", large);
  const std::string& whole = tar.Unfinished();
  for (size_t size = 512; size <= whole.size(); size += size < 5000 ? 256 : 50'000) {
    Error error = BadTar(whole.substr(0, size));
    EXPECT_EQ(error.code(), Errc::kCorrupt) << size;
    EXPECT_NE(error.message().find("truncated"), std::string::npos)
        << size << ": " << error.message();
  }
}

TEST_F(ImportHostileTest, SaysTruncatedWhereLargeFilesWaitForEachOther) {
  const std::string large(9'000'000, 'l');
  TarBuilder tar;
  for (const char* name : {"a", "b", "c"}) tar.File(name, large);
  Error error = Bad(Write("source.tar", tar.Unfinished().substr(0, 25'000'000)));
  EXPECT_NE(error.message().find("truncated"), std::string::npos) << error.message();
}

TEST_F(ImportHostileTest, SaysTruncatedForEveryCompression) {
  std::string content(400'000, '\0');
  uint32_t state = 1;
  for (char& c : content) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  Write("t.tar", TarBuilder().File("a", content).Finish());
  Shell(
      "gzip -k t.tar && xz -k t.tar && bzip2 -k t.tar && zstd -q t.tar && lz4 -q t.tar t.tar.lz4");
  for (const char* suffix : {"gz", "xz", "bz2", "zst", "lz4"}) {
    Shell(fmt::format("head -c 200000 t.tar.{} >cut", suffix));
    Error error = Bad(dir_ + "/cut");
    EXPECT_NE(error.message().find("truncated"), std::string::npos)
        << suffix << ": " << error.message();
  }
}

TEST_F(ImportHostileTest, SaysDamagedWhereAHeaderIsWrong) {
  TarBuilder tar;
  tar.File("a", "x");
  std::string bytes = tar.Unfinished() + std::string(512, 'j') + std::string(4096, '\0');
  EXPECT_NE(BadTar(bytes).message().find("damaged archive"), std::string::npos);
}

TEST_F(ImportHostileTest, SaysWhatIsNotATar) {
  auto message = [&](std::string_view bytes) { return BadTar(std::string(bytes)).message(); };
  EXPECT_NE(message("").find("empty: not a tar archive"), std::string::npos);
  EXPECT_NE(message("PK\3\4zip").find("not a tar archive (it looks like a zip file)"),
            std::string::npos);
  EXPECT_NE(message("hello").find("not a tar archive"), std::string::npos);
  Shell("echo hello | gzip >h.gz");
  EXPECT_NE(Bad(dir_ + "/h.gz").message().find("not a tar archive (it is gzip data"),
            std::string::npos);
}

TEST_F(ImportHostileTest, SaysWhatIsMissingOrOfTheWrongKind) {
  Error missing = Bad(dir_ + "/nope");
  EXPECT_EQ(missing.message(),
            fmt::format("import {0}/nope: open {0}/nope: No such file or directory", dir_));
  ImportOptions options;
  options.format = SourceFormat::kTar;
  EXPECT_NE(Bad(dir_, options).message().find("a directory, not a tar archive"), std::string::npos);
  options.format = SourceFormat::kDirectory;
  EXPECT_NE(Bad(Write("f", "x"), options).message().find("not a directory"), std::string::npos);
}

TEST_F(ImportHostileTest, AFullDiskLeavesTheStoreAsItWas) {
  // A file size limit acts like one, without a file system of its own.
  std::string tar = Write("big.tar", TarBuilder().File("f", std::string(1 << 20, 'x')).Finish());
  struct rlimit old;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit low = {1 << 16, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  Error error = Bad(tar);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(error.sys_errno(), EFBIG) << error.message();
  EXPECT_TRUE(store_->ListLayers()->empty());
}

}  // namespace
}  // namespace strata
