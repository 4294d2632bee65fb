// SPDX-License-Identifier: Apache-2.0
//
// What the tests of import share: a store in a directory of its own, and a look at what was
// imported.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/path.h"
#include "base/remove_tree.h"
#include "cache/import.h"
#include "cache/manifest.h"
#include "cache/store.h"
#include "tests/support/tar_builder.h"

namespace strata {

// A directory of its own, with a store in it.
class ImportFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* tmp = std::getenv("TMPDIR");
    std::string pattern = std::string(tmp != nullptr ? tmp : "/tmp") + "/strata-import-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    auto store = Store::Open(dir_ + "/store");
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::make_unique<Store>(std::move(*store));
  }
  void TearDown() override {
    // Whatever happened, nothing half-made is left.
    EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/store/tmp"));
    store_.reset();
    EXPECT_TRUE(RemoveTree(AT_FDCWD, dir_));
  }

  std::string Write(const std::string& name, std::string_view bytes) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << bytes;
    return dir_ + "/" + name;
  }
  void Shell(const std::string& command) {
    EXPECT_EQ(std::system(fmt::format("cd {} && {}", dir_, command).c_str()), 0) << command;
  }

  // Imports, opens the manifest and checks it.
  ImportResult Good(const std::string& source, const ImportOptions& options = {}) {
    auto result = Import(*store_, source, options);
    EXPECT_TRUE(result) << result.error().message();
    if (!result) return {};
    auto manifest = store_->OpenManifest(result->id);
    EXPECT_TRUE(manifest);
    manifest_ = std::make_unique<Manifest>(std::move(*manifest));
    auto valid = manifest_->Validate();
    EXPECT_TRUE(valid) << valid.error().message();
    EXPECT_EQ(manifest_->Id(), result->id);
    tree_ = fmt::format("{}/store/layers/{}/tree/", dir_, result->id.Hex());
    result->lease = LayerLease();  // tests remove layers
    return std::move(*result);
  }
  ImportResult GoodTar(const std::string& bytes, const ImportOptions& options = {}) {
    return Good(Write("source.tar", bytes), options);
  }
  Error Bad(const std::string& source, const ImportOptions& options = {}) {
    auto result = Import(*store_, source, options);
    EXPECT_FALSE(result) << source;
    return result ? Error(Errc::kInvalid, "imported") : result.error();
  }
  Error BadTar(const std::string& bytes, const ImportOptions& options = {}) {
    return Bad(Write("source.tar", bytes), options);
  }
  static ImportOptions Oci() {
    ImportOptions options;
    options.format = SourceFormat::kOci;
    return options;
  }

  // Of the last good import:
  const ManifestEntry& Entry(std::string_view path) {
    auto index = manifest_->Find(path);
    EXPECT_TRUE(index) << path;
    return manifest_->entry(index.value_or(0));
  }
  bool Has(std::string_view path) { return manifest_->Find(path).has_value(); }
  struct stat Stat(const std::string& path) {
    struct stat st {};
    EXPECT_EQ(::lstat((tree_ + path).c_str(), &st), 0) << path;
    return st;
  }
  std::string Content(const std::string& path) {
    std::ifstream in(tree_ + path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string XattrOnDisk(const std::string& path, const char* name) {
    char value[256];
    ssize_t size = ::lgetxattr((tree_ + path).c_str(), name, value, sizeof value);
    return size < 0 ? "(none)" : std::string(value, static_cast<size_t>(size));
  }

  std::string dir_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Manifest> manifest_;
  std::string tree_;
};

}  // namespace strata
