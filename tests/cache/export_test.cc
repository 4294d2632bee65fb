// SPDX-License-Identifier: Apache-2.0
#include "cache/export.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "cache/import.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::LayerMaker;
using testing::Must;

class ExportTest : public testing::StoreFixture {
 protected:
  ExportTest() : other_(Must(Store::Open(Path("other")))) {}

  std::string Archive(const LayerId& id, ExportFormat format = ExportFormat::kTar) {
    std::string path = Path(fmt::format("{}.tar", archives_++));
    UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    ExportOptions options;
    options.format = format;
    Must(ExportLayer(store(), id, fd.get(), path, options));
    return path;
  }
  Error Refused(const LayerId& id, ExportFormat format) {
    std::string path = Path("refused.tar");
    UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_WRONLY | O_CREAT, 0600));
    ExportOptions options;
    options.format = format;
    auto result = ExportLayer(store(), id, fd.get(), path, options);
    EXPECT_FALSE(result);
    struct stat st;
    EXPECT_EQ(::fstat(fd.get(), &st), 0);
    EXPECT_EQ(st.st_size, 0) << "something was written before the refusal";
    return result ? Error(Errc::kSystem, "") : result.error();
  }
  // Into another store: nothing of the layer is there already.
  LayerId Again(const std::string& archive, SourceFormat format = SourceFormat::kTar) {
    ImportOptions options;
    options.format = format;
    return Must(Import(other_, archive, options)).id;
  }
  // The standard output of a shell command in the test's directory.
  std::string Shell(const std::string& command) {
    std::string line = fmt::format("cd '{}' && ({}) > '{}'", Path("."), command, Path("output"));
    EXPECT_EQ(std::system(line.c_str()), 0) << line;
    return Must(ReadFile(AT_FDCWD, Path("output")));
  }

  Store other_;
  int archives_ = 0;
};

TEST_F(ExportTest, GivesTheSameLayerIdWhenImportedAgain) {
  LayerMaker layer(store());
  layer.File("bin/su", "setuid", 04755).File("etc/shadow", "", 0640).Owner(1000, 4294967294);
  layer.File("home/file", std::string(100000, 'x'), 0600,
             {{"user.a", "b\n"}, {"user.bin", std::string("\0\xff", 2)}});
  layer.Owner(0, 0).Dir("tmp", 01777).Symlink("lib", "usr/lib").Fifo("run/pipe");
  layer.Symlink("long", std::string(300, 't'))
      .File(std::string(90, 'd') + "/" + std::string(250, 'f'), "deep");
  layer.Link("home/file", "home/link").Link("home/file", "a-link-that-comes-first");
  layer.File("odd\n\\ \xff\xfe name", "1")
      .File("\xc3\xa4", "2")
      .File(std::string(120, '\xe4'), "3");
  layer.Mtime(-5, 0).File("old", "").Mtime(-5, 500000000).File("older", "");
  layer.Mtime(5000000000, 1).File("late", "").Mtime(20000000000, 0).File("later", "");
  LayerId id = layer.Publish();
  EXPECT_EQ(Again(Archive(id)), id);
}

TEST_F(ExportTest, GivesTheSameBytesEachTime) {
  LayerId id = LayerMaker(store()).File("a/b", "1").Symlink("c", "a").Publish();
  for (ExportFormat format : {ExportFormat::kTar, ExportFormat::kOci}) {
    EXPECT_EQ(Must(ReadFile(AT_FDCWD, Archive(id, format))),
              Must(ReadFile(AT_FDCWD, Archive(id, format))));
  }
}

TEST_F(ExportTest, IsReadByTarWithOwnersSetuidBitsAndNanoseconds) {
  LayerMaker layer(store());
  layer.Owner(12, 34).File("bin/su", "12345", 04755).Link("bin/su", "bin/sudo");
  std::string archive = Archive(layer.Publish());
  std::string listing = Shell("TZ=UTC tar --full-time --numeric-owner -tvf " + archive);
  EXPECT_NE(listing.find("-rwsr-xr-x 12/34 "), std::string::npos) << listing;
  EXPECT_NE(listing.find("2020-09-13 12:26:40.123456789 bin/su\n"), std::string::npos) << listing;
  EXPECT_NE(listing.find("bin/sudo link to bin/su\n"), std::string::npos) << listing;
}

TEST_F(ExportTest, LeavesImplicitDirectoriesToTheNextImport) {
  ManifestBuilder builder;
  PendingLayer pending = Must(store().NewLayer());
  testing::MustSys(::mkdirat(pending.tree_fd(), "usr", 0755), "mkdir");
  UniqueFd file = Must(OpenAt(pending.tree_fd(), "usr/file", O_WRONLY | O_CREAT, 0644));
  ManifestBuilder::Node usr = builder.Add(ManifestBuilder::kRoot, "usr");
  ManifestBuilder::Data& data = builder.At(usr);
  data.flags = kImplicit;
  data.mode = 0755;
  data.mtime_sec = kRootMtime;
  ManifestBuilder::Node node = builder.Add(usr, "file");
  builder.At(node).type = EntryType::kFile;
  builder.At(node).mode = 0644;
  builder.At(node).digest = Sha256::Of("", 0);
  LayerId id = Must(store().Publish(std::move(pending), Must(builder.Finish()))).id;
  std::string archive = Archive(id);
  EXPECT_EQ(Shell("tar -tf " + archive), "usr/file\n");
  EXPECT_EQ(Again(archive), id);
}

TEST_F(ExportTest, RefusesATarOfALayerWithWhiteoutsOrOpaqueDirectories) {
  LayerId whiteout = LayerMaker(store()).Whiteout("usr/gone").Publish();
  Error error = Refused(whiteout, ExportFormat::kTar);
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_EQ(error.message(), "/usr/gone: a tar archive cannot hold a whiteout");
  EXPECT_EQ(error.hint(), "an OCI image can: --format oci");
  LayerId opaque = LayerMaker(store()).Opaque("etc").Publish();
  EXPECT_EQ(Refused(opaque, ExportFormat::kTar).message(),
            "/etc: a tar archive cannot hold an opaque directory");
}

TEST_F(ExportTest, RefusesAnOciImageWithANameThatWouldBeAWhiteout) {
  LayerId id = LayerMaker(store()).File("x/.wh.y", "").Publish();
  EXPECT_EQ(Refused(id, ExportFormat::kOci).message(),
            "/x/.wh.y: in an OCI layer this name would be a whiteout");
}

TEST_F(ExportTest, WritesAnOciLayoutWhoseLayerHasTheWhiteouts) {
  LayerMaker layer(store());
  LayerId id = layer.Whiteout("usr/gone").Opaque("etc").File("etc/new", "1").Publish();
  std::string archive = Archive(id, ExportFormat::kOci);
  Shell("mkdir oci && tar -C oci -xf " + archive);
  EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("oci/oci-layout"))), R"({"imageLayoutVersion":"1.0.0"})");
  // Every blob is named by its digest.
  EXPECT_EQ(
      Shell("cd oci/blobs/sha256 && for f in *; do echo \"$f  $f\"; done | sha256sum -c --quiet"),
      "");
  std::string blob = Shell("cd oci/blobs/sha256 && ls -S | head -n 1");
  ASSERT_EQ(blob.size(), 65U);
  blob.pop_back();
  EXPECT_EQ(Shell(fmt::format("tar -tf oci/blobs/sha256/{}", blob)),
            "etc/\netc/.wh..wh..opq\netc/new\nusr/\nusr/.wh.gone\n");
  EXPECT_EQ(Again(Path("oci/blobs/sha256/" + blob), SourceFormat::kOci), id);
}

TEST_F(ExportTest, ReportsAFileThatIsNotAsLongAsTheManifestSays) {
  LayerId id = LayerMaker(store()).File("a", "12345").Publish();
  std::string file = TreePath(id) + "/a";
  for (off_t size : {3, 7}) {
    ASSERT_EQ(::truncate(file.c_str(), size), 0);
    UniqueFd fd = Must(OpenAt(AT_FDCWD, "/dev/null", O_WRONLY));
    auto result = ExportLayer(store(), id, fd.get(), "/dev/null", {});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::kCorrupt);
  }
}

TEST_F(ExportTest, FailsWhenTheDiskIsFull) {
  LayerId id = LayerMaker(store()).File("a", "12345").Publish();
  UniqueFd fd = Must(OpenAt(AT_FDCWD, "/dev/full", O_WRONLY));
  auto result = ExportLayer(store(), id, fd.get(), "out.tar", {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "write out.tar: No space left on device");
}

TEST_F(ExportTest, KnowsWhichTreesAnOrdinaryUserCannotRead) {
  auto needs = [&](LayerMaker& layer) {
    return NeedsUserNamespace(Must(store().OpenManifest(layer.Publish())));
  };
  LayerMaker plain(store());
  EXPECT_FALSE(needs(plain.File("a", "", 0400).Dir("b", 0500).Symlink("c", "a").Whiteout("d")));
  LayerMaker file(store());
  EXPECT_TRUE(needs(file.File("a", "", 0)));
  LayerMaker directory(store());
  EXPECT_TRUE(needs(directory.Dir("a", 0300)));
}

}  // namespace
}  // namespace strata
