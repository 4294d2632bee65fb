// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "stager/capture.h"
#include "tests/support/capture_fixture.h"

namespace strata::testing {
namespace {

using CaptureDirectoryTest = CaptureFixture;

TEST_F(CaptureDirectoryTest, EverythingInItBecomesTheLayer) {
  Dir("usr", 0750);
  File("usr/f", "x", 0600);
  Attribute("usr/f", "user.k", "v");
  ::symlinkat("f", tree(), "usr/l");
  ::linkat(tree(), "usr/f", tree(), "g", 0);
  CaptureOptions options;
  options.uid = 5;
  Plain(options);
  EXPECT_EQ(result().entries, 4U);
  EXPECT_EQ(result().content_bytes, 1U);
  EXPECT_EQ(Entry("usr").mode, 0750U);
  EXPECT_EQ(Entry("usr/f").uid, 5U);
  EXPECT_EQ(Entry("usr/f").hardlink, Entry("g").hardlink);
  EXPECT_EQ(manifest().target(Entry("usr/l")), "f");
}

TEST_F(CaptureDirectoryTest, ForgedOverlayAttributesAreRemovedWithAWarning) {
  Dir("d");
  Attribute("d", "user.overlay.opaque", "y");
  File("f", "", 0400);
  Attribute("f", "user.overlay.redirect", "/etc");
  Plain();
  EXPECT_FALSE(Entry("d").opaque());  // that the disk has none: ExpectSoundLayer
  EXPECT_EQ(result().warnings.size(), 2U);
}

TEST_F(CaptureDirectoryTest, DevicesThatWouldActAsWhiteoutsAreRemovedWithAWarning) {
  Dir("d");
  Whiteout("d/w");
  Stamp("d");
  Plain();
  EXPECT_EQ(result().entries, 1U);
  EXPECT_EQ(Entry("d").mtime_sec, kTime);
  ASSERT_EQ(result().warnings.size(), 1U);
  EXPECT_EQ(result().warnings[0], "d/w left out: a device node");
}

TEST_F(CaptureDirectoryTest, SetuidBitsAreInTheManifestAndNotOnDisk) {
  File("f", "x", 04755);
  Plain();
  EXPECT_EQ(Entry("f").mode, 04755U);
}

TEST_F(CaptureDirectoryTest, NamesOfAnyBytesAreKept) {
  const std::string name = "new\nline \xff";
  File(name, "x");
  Plain();
  EXPECT_TRUE(Has(name));
}

TEST_F(CaptureDirectoryTest, PathTooLongForALayerIsAnError) {
  PendingLayer pending = Must(store().NewLayer());
  UniqueFd at = Must(OpenAt(pending.tree_fd(), ".", O_RDONLY | O_DIRECTORY));
  const std::string name(250, 'n');
  for (int i = 0; i < 17; ++i) {
    MustSys(::mkdirat(at.get(), name.c_str(), 0755), "mkdirat");
    at = Must(OpenAt(at.get(), name, O_RDONLY | O_DIRECTORY));
  }
  Result<CaptureResult> captured = CaptureDirectory(store(), std::move(pending), {});
  ASSERT_FALSE(captured);
  EXPECT_EQ(captured.error().code(), Errc::kInvalid);
  EXPECT_NE(captured.error().message().find("longer than 4095 bytes"), std::string::npos);
  EXPECT_TRUE(Must(store().ListLayers()).empty());
}

}  // namespace
}  // namespace strata::testing
