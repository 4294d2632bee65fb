// SPDX-License-Identifier: Apache-2.0
//
// What the tests of import share: hand-made tar archives, and a store in a directory of its own.
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

namespace strata {

// Writes ustar headers byte by byte, so that it can lie in them.
class TarBuilder {
 public:
  uint32_t mode = 0644;
  uint64_t uid = 0;
  uint64_t gid = 0;
  uint64_t mtime = 1000;

  TarBuilder& Dir(std::string_view name, uint32_t dir_mode = 0755) {
    return With(dir_mode, [&] { Header(name, '5', 0); });
  }
  TarBuilder& File(std::string_view name, std::string_view content = "", uint32_t file_mode = 0644) {
    return With(file_mode, [&] {
      Header(name, '0', content.size());
      Body(content);
    });
  }
  TarBuilder& Symlink(std::string_view name, std::string_view target) {
    return With(0777, [&] { Header(name, '2', 0, target); });
  }
  TarBuilder& Hardlink(std::string_view name, std::string_view target) {
    Header(name, '1', 0, target);
    return *this;
  }
  TarBuilder& Fifo(std::string_view name) {
    Header(name, '6', 0);
    return *this;
  }
  TarBuilder& Device(std::string_view name, char type, unsigned major, unsigned minor) {
    Header(name, type, 0, "", major, minor);
    return *this;
  }
  // For the next entry.
  TarBuilder& Pax(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string body;
    for (const auto& [key, value] : records) {
      size_t rest = key.size() + value.size() + 3;
      size_t size = rest + std::to_string(rest).size();
      if (std::to_string(size).size() != std::to_string(rest).size()) ++size;
      body += fmt::format("{} {}={}\n", size, key, value);
    }
    Header("pax", 'x', body.size());
    Body(body);
    return *this;
  }
  TarBuilder& Header(std::string_view name, char type, uint64_t size, std::string_view target = "",
                     unsigned major = 0, unsigned minor = 0) {
    if (name.size() > 100) {
      Header("././@LongLink", 'L', name.size() + 1);
      Body(std::string(name) + '\0');
      name = name.substr(0, 100);
    }
    std::string block(512, '\0');
    auto put = [&](size_t at, std::string_view text) { block.replace(at, text.size(), text); };
    put(0, name);
    put(100, fmt::format("{:07o}", mode));
    put(108, fmt::format("{:07o}", uid));
    put(116, fmt::format("{:07o}", gid));
    put(124, fmt::format("{:011o}", size));
    put(136, fmt::format("{:011o}", mtime));
    put(156, std::string_view(&type, 1));
    put(157, target);
    put(257, std::string_view("ustar\00000", 8));
    put(329, fmt::format("{:07o}", major));
    put(337, fmt::format("{:07o}", minor));
    put(148, "        ");
    unsigned sum = 0;
    for (char c : block) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum) + '\0');
    bytes_ += block;
    return *this;
  }
  TarBuilder& Body(std::string_view content) {
    bytes_ += content;
    bytes_.resize((bytes_.size() + 511) / 512 * 512);
    return *this;
  }
  const std::string& Unfinished() const { return bytes_; }
  std::string Finish() const { return bytes_ + std::string(1024, '\0'); }

 private:
  template <typename Write>
  TarBuilder& With(uint32_t entry_mode, Write write) {
    uint32_t saved = std::exchange(mode, entry_mode);
    write();
    mode = saved;
    return *this;
  }

  std::string bytes_;
};

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
    return *result;
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
