// SPDX-License-Identifier: Apache-2.0
#include "cache/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "cache/manifest_layout.h"

namespace strata {
namespace {

using Node = ManifestBuilder::Node;

Node AddFile(ManifestBuilder& builder, Node parent, const std::string& name,
             const std::string& content = "x") {
  Node node = builder.Add(parent, name);
  ManifestBuilder::Data& data = builder.At(node);
  data.type = EntryType::kFile;
  data.mode = 0644;
  data.size = content.size();
  data.digest = Sha256::Of(content.data(), content.size());
  return node;
}

Node AddDirectory(ManifestBuilder& builder, Node parent, const std::string& name) {
  Node node = builder.Add(parent, name);
  builder.At(node).mode = 0755;
  return node;
}

// Everything that a manifest can hold.
ManifestBuilder Sample() {
  ManifestBuilder builder;
  Node usr = AddDirectory(builder, ManifestBuilder::kRoot, "usr");
  Node bin = AddDirectory(builder, usr, "bin");
  builder.At(bin).flags = kOpaque;
  Node cc = AddFile(builder, bin, "cc", "compiler");
  builder.At(cc).xattrs = {{"user.z", "1"}, {"user.a", std::string("\0\1", 2)}};
  Node link = builder.Add(usr, "a-link");
  builder.At(link).hardlink_to = cc;
  builder.At(link).type = EntryType::kFile;
  Node symlink = builder.Add(usr, "lib64");
  builder.At(symlink).type = EntryType::kSymlink;
  builder.At(symlink).target = "lib";
  builder.At(builder.Add(usr, "gone")).type = EntryType::kWhiteout;
  builder.At(builder.Add(usr, "pipe")).type = EntryType::kFifo;
  Node etc = builder.Add(ManifestBuilder::kRoot, "etc");
  builder.At(etc).flags = kImplicit;
  AddFile(builder, etc, "empty", "");
  builder.AddIntegrationCommand("ldconfig");
  builder.AddIntegrationCommand("true");
  return builder;
}

Manifest Built(const ManifestBuilder& builder) {
  auto manifest = Manifest::FromBytes(*builder.Finish());
  EXPECT_TRUE(manifest) << manifest.error().message();
  auto valid = manifest->Validate();
  EXPECT_TRUE(valid) << valid.error().message();
  return std::move(*manifest);
}

TEST(ManifestTest, GivesBackWhatWasBuilt) {
  Manifest manifest = Built(Sample());
  EXPECT_EQ(manifest.size(), 10U);
  EXPECT_EQ(manifest.content_size(), 8U);
  const ManifestEntry& cc = manifest.entry(*manifest.Find("usr/bin/cc"));
  EXPECT_EQ(cc.digest, Sha256::Of("compiler", 8));
  EXPECT_EQ(manifest.xattrs(cc),
            (std::vector<Xattr>{{"user.a", std::string("\0\1", 2)}, {"user.z", "1"}}));
  EXPECT_EQ(cc.hardlink, *manifest.Find("usr/a-link"));
  EXPECT_TRUE(manifest.entry(*manifest.Find("usr/bin")).opaque());
  EXPECT_TRUE(manifest.entry(*manifest.Find("etc")).implicit());
  EXPECT_EQ(manifest.target(manifest.entry(*manifest.Find("usr/lib64"))), "lib");
  EXPECT_EQ(manifest.integration_commands(), (std::vector<std::string>{"ldconfig", "true"}));
  EXPECT_FALSE(manifest.Find("usr/none"));
  EXPECT_FALSE(manifest.Find("usr/bin/cc/x"));
  EXPECT_EQ(manifest.Find(""), 0U);
}

TEST(ManifestTest, TheRootIsAlwaysTheSame) {
  ManifestBuilder builder;
  builder.At(ManifestBuilder::kRoot).mode = 0700;
  builder.At(ManifestBuilder::kRoot).uid = 5;
  builder.At(ManifestBuilder::kRoot).xattrs = {{"user.x", "y"}};
  EXPECT_EQ(Built(builder).Id(), Built(ManifestBuilder()).Id());
}

TEST(ManifestTest, TheOrderOfBuildingDoesNotMatter) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back(fmt::format("n{}", i));
  std::mt19937 random(1);
  std::optional<LayerId> id;
  for (int round = 0; round < 5; ++round) {
    std::shuffle(names.begin(), names.end(), random);
    ManifestBuilder builder;
    Node directories[2] = {AddDirectory(builder, 0, round % 2 == 0 ? "a" : "b"),
                           AddDirectory(builder, 0, round % 2 == 0 ? "b" : "a")};
    for (const std::string& name : names) {
      AddFile(builder, directories[round % 2], name);  // "a"
    }
    LayerId now = Built(builder).Id();
    EXPECT_EQ(id.value_or(now), now);
    id = now;
  }
}

TEST(ManifestTest, WhichNameOfAHardlinkGroupCameFirstDoesNotMatter) {
  auto id = [](bool swap) {
    ManifestBuilder builder;
    Node first = AddFile(builder, 0, swap ? "b" : "a");
    Node second = builder.Add(0, swap ? "a" : "b");
    builder.At(second).hardlink_to = first;
    Node third = builder.Add(0, "c");
    builder.At(third).hardlink_to = swap ? second : first;
    return Built(builder).Id();
  };
  EXPECT_EQ(id(false), id(true));
}

TEST(ManifestTest, WhatIsRemovedLeavesNoTrace) {
  ManifestBuilder builder;
  AddFile(builder, 0, "keep");
  Node directory = AddDirectory(builder, 0, "d");
  AddFile(builder, directory, "f");
  EXPECT_EQ(builder.size(), 4U);
  builder.Remove(directory);
  EXPECT_EQ(builder.size(), 2U);
  EXPECT_FALSE(builder.Find(0, "d"));
  ManifestBuilder plain;
  AddFile(plain, 0, "keep");
  EXPECT_EQ(Built(builder).Id(), Built(plain).Id());
  EXPECT_FALSE(builder.HasChildren(AddDirectory(builder, 0, "d"))) << "a new node, and empty";
}

TEST(ManifestTest, ALinkToWhatWasRemovedKeepsItsData) {
  ManifestBuilder builder;
  Node first = AddFile(builder, 0, "a", "content");
  Node second = builder.Add(0, "b");
  builder.At(second).hardlink_to = first;
  builder.Remove(first);
  Manifest manifest = Built(builder);
  EXPECT_EQ(manifest.entry(1).size, 7U);
  EXPECT_EQ(manifest.entry(1).hardlink, kNoEntry) << "alone, it is no group";
}

TEST(ManifestTest, NodesStayWhereTheyAre) {
  ManifestBuilder builder;
  Node node = AddFile(builder, 0, "first");
  ManifestBuilder::Data* data = &builder.At(node);
  for (int i = 0; i < 20000; ++i) AddFile(builder, 0, fmt::format("{}", i));
  EXPECT_EQ(data, &builder.At(node));
  EXPECT_EQ(builder.Find(0, "12345").has_value(), true);
  EXPECT_EQ(builder.Path(node), "first");
}

TEST(ManifestTest, WalkGoesDepthFirstInOrder) {
  std::vector<std::string> paths;
  Manifest manifest = Built(Sample());
  manifest.Walk([&](const std::string& path, uint32_t index) {
    paths.push_back(path);
    EXPECT_EQ(manifest.Path(index), path);
    EXPECT_EQ(manifest.Find(path), index);
  });
  EXPECT_EQ(paths, (std::vector<std::string>{"", "etc", "etc/empty", "usr", "usr/a-link", "usr/bin",
                                             "usr/bin/cc", "usr/gone", "usr/lib64", "usr/pipe"}));
}

TEST(ManifestTest, NamesSortAsBytes) {
  ManifestBuilder builder;
  for (const char* name : {"\xff", "a", "\xc3\xa9", "Z", "a\n"}) AddFile(builder, 0, name);
  Manifest manifest = Built(builder);
  std::vector<std::string> names;
  for (uint32_t i = 1; i < manifest.size(); ++i)
    names.emplace_back(manifest.name(manifest.entry(i)));
  EXPECT_EQ(names, (std::vector<std::string>{"Z", "a", "a\n", "\xc3\xa9", "\xff"}));
}

TEST(ManifestTest, RefusesAnotherVersionWithAdvice) {
  std::vector<uint8_t> bytes = *Sample().Finish();
  bytes[8] = 2;
  auto manifest = Manifest::FromBytes(bytes);
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code(), Errc::kUnsupported);
  EXPECT_FALSE(manifest.error().hint().empty());
}

TEST(ManifestTest, RefusesWhatIsCutOrGrown) {
  std::vector<uint8_t> bytes = *Sample().Finish();
  for (size_t size : {size_t{0}, size_t{63}, size_t{64}, bytes.size() - 1, bytes.size() + 1}) {
    std::vector<uint8_t> other = bytes;
    other.resize(size);
    EXPECT_FALSE(Manifest::FromBytes(other)) << size;
  }
}

// Whatever one flipped bit makes of a manifest: it is refused, or nothing reads out of bounds (the
// sanitizers watch) and it is a valid manifest of something else.
TEST(ManifestTest, SurvivesEveryFlippedBit) {
  const std::vector<uint8_t> bytes = *Sample().Finish();
  size_t accepted = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<uint8_t> other = bytes;
    other[bit / 8] = static_cast<uint8_t>(other[bit / 8] ^ (1U << (bit % 8)));
    auto manifest = Manifest::FromBytes(std::move(other));
    if (!manifest) continue;
    if (manifest->Validate()) ++accepted;
    size_t visited = 0;
    manifest->Walk([&](const std::string& path, uint32_t index) {
      visited += path.size() + manifest->xattrs(manifest->entry(index)).size();
      static_cast<void>(manifest->target(manifest->entry(index)));
    });
    static_cast<void>(manifest->Find("usr/bin/cc"));
    static_cast<void>(manifest->integration_commands());
  }
  EXPECT_GT(accepted, 0U) << "a digest or an mtime may be any";
}

TEST(ManifestTest, ValidateRefusesWhatIsNotCanonical) {
  const std::vector<uint8_t> good = *Sample().Finish();
  auto refuses = [&](const char* what, uint32_t index, auto change) {
    std::vector<uint8_t> bytes = good;
    ManifestEntry entry;
    uint8_t* at = bytes.data() + sizeof(ManifestHeader) + index * sizeof entry;
    std::memcpy(&entry, at, sizeof entry);
    change(entry);
    std::memcpy(at, &entry, sizeof entry);
    auto manifest = Manifest::FromBytes(bytes);
    EXPECT_TRUE(!manifest || !manifest->Validate()) << what;
  };
  Manifest sample = Built(Sample());
  uint32_t whiteout = *sample.Find("usr/gone");
  uint32_t file = *sample.Find("usr/bin/cc");
  uint32_t symlink = *sample.Find("usr/lib64");
  refuses("a whiteout with a time", whiteout, [](ManifestEntry& e) { e.mtime_sec = 1; });
  refuses("a whiteout with an owner", whiteout, [](ManifestEntry& e) { e.uid = 1; });
  refuses("a root with a mode", 0, [](ManifestEntry& e) { e.mode = 0700; });
  refuses("an implicit root", 0, [](ManifestEntry& e) { e.flags = kImplicit; });
  refuses("an implicit directory with an owner", *sample.Find("etc"),
          [](ManifestEntry& e) { e.gid = 1; });
  refuses("an opaque file", file, [](ManifestEntry& e) { e.flags = kOpaque; });
  refuses("a link with other metadata", file, [](ManifestEntry& e) { e.mode = 0600; });
  refuses("a link to itself later", *sample.Find("usr/a-link"),
          [&](ManifestEntry& e) { e.hardlink = file; });
  refuses("a symlink with a mode", symlink, [](ManifestEntry& e) { e.mode = 0755; });
  refuses("a symlink without a target", symlink, [](ManifestEntry& e) { e.target_size = 0; });
  refuses("too many nanoseconds", file, [](ManifestEntry& e) { e.mtime_nsec = 1000000000; });
  refuses("an unknown type", file, [](ManifestEntry& e) { e.type = static_cast<EntryType>(9); });
  refuses("a loop", *sample.Find("usr"), [](ManifestEntry& e) { e.first_child = 1; });
  refuses("another name order", *sample.Find("usr"), [](ManifestEntry& e) { ++e.name_offset; });
}

}  // namespace
}  // namespace strata
