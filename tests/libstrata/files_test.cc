// SPDX-License-Identifier: Apache-2.0
//
// strata_list_files: what a layer provides.
#include <fcntl.h>

#include <map>
#include <thread>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

struct Listed {
  std::vector<std::string> paths;
  std::map<std::string, strata_entry> entries;  // their texts are gone
  std::map<std::string, std::string> targets, hardlinks, digests;
  size_t most = ~size_t{0};
};

int Note(void* user, const strata_entry* entry) {
  auto* listed = static_cast<Listed*>(user);
  EXPECT_EQ(entry->size, sizeof *entry);
  listed->paths.emplace_back(entry->path);
  listed->entries[entry->path] = *entry;
  if (entry->target != nullptr) listed->targets[entry->path] = entry->target;
  if (entry->hardlink != nullptr) listed->hardlinks[entry->path] = entry->hardlink;
  if (entry->sha256 != nullptr) listed->digests[entry->path] = entry->sha256;
  return listed->paths.size() >= listed->most ? 42 : -5;  // only more than 0 ends it
}

class LibFiles : public Fixture {
 protected:
  Layer ImportTree() {
    strata_layer* layer = nullptr;
    strata_import_options options{};
    options.size = sizeof options;
    options.set_mtime = 1;
    options.mtime = 7;
    Good(strata_import(store(), Path("tree").c_str(), &options, &layer, error()));
    return Layer(layer);
  }
};

TEST_F(LibFiles, EachEntryIsToldAsItIs) {
  const std::string odd = "bytes \xff\n\"";
  Write("tree/usr/bin/tool", "content");
  ASSERT_EQ(::chmod(Path("tree/usr/bin/tool").c_str(), 0755), 0);
  std::filesystem::create_hard_link(Path("tree/usr/bin/tool"), Path("tree/usr/bin/tool-2"));
  std::filesystem::create_symlink(odd, Path("tree/link"));
  ASSERT_EQ(::mkfifo(Path("tree/pipe").c_str(), 0600), 0);
  Write("tree/" + odd, "");
  Layer layer = ImportTree();
  Listed listed;
  Good(strata_list_files(layer.get(), Note, &listed, error()));
  EXPECT_EQ(listed.paths, (std::vector<std::string>{"/" + odd, "/link", "/pipe", "/usr", "/usr/bin",
                                                    "/usr/bin/tool", "/usr/bin/tool-2"}));
  EXPECT_EQ(listed.paths.size(), strata_layer_entries(layer.get()));
  const strata_entry& tool = listed.entries["/usr/bin/tool"];
  EXPECT_EQ(tool.type, STRATA_ENTRY_FILE);
  EXPECT_EQ(tool.mode, 0755U);
  EXPECT_EQ(tool.bytes, 7U);
  EXPECT_EQ(tool.mtime, 7);
  EXPECT_EQ(tool.uid, 0U);
  EXPECT_EQ(listed.digests["/usr/bin/tool"],
            "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73");
  EXPECT_EQ(listed.hardlinks["/usr/bin/tool-2"], "/usr/bin/tool");
  EXPECT_EQ(listed.hardlinks.size(), 1U);
  EXPECT_EQ(listed.entries["/usr"].type, STRATA_ENTRY_DIRECTORY);
  EXPECT_EQ(listed.entries["/pipe"].type, STRATA_ENTRY_FIFO);
  EXPECT_EQ(listed.entries["/link"].type, STRATA_ENTRY_SYMLINK);
  EXPECT_EQ(listed.targets, (std::map<std::string, std::string>{{"/link", odd}}));
}

TEST_F(LibFiles, TheCallbackCanEndIt) {
  Write("tree/a", "");
  Write("tree/b", "");
  Layer layer = ImportTree();
  Listed listed;
  listed.most = 1;
  EXPECT_EQ(strata_list_files(layer.get(), Note, &listed, error()), 42);
  EXPECT_EQ(listed.paths, std::vector<std::string>{"/a"});
}

TEST_F(LibFiles, AnEmptyLayerHasNone) {
  std::filesystem::create_directory(Path("tree"));
  Listed listed;
  Good(strata_list_files(ImportTree().get(), Note, &listed, error()));
  EXPECT_TRUE(listed.paths.empty());
}

TEST_F(LibFiles, WhatMakesNoSenseIsRefused) {
  Write("tree/a", "");
  Layer layer = ImportTree();
  Bad(strata_list_files(nullptr, Note, nullptr, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "layer is NULL");
  Bad(strata_list_files(layer.get(), nullptr, nullptr, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "each is NULL");
  EXPECT_EQ(strata_list_files(nullptr, nullptr, nullptr, nullptr), STRATA_E_INVALID);
}

TEST_F(LibFiles, ADamagedManifestIsNotBelieved) {
  Write("tree/a", "");
  Layer layer = ImportTree();
  std::string manifest;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(Path("store"))) {
    if (entry.path().filename() == "manifest") manifest = entry.path();
  }
  ASSERT_EQ(::chmod(manifest.c_str(), 0600), 0);
  const int fd = ::open(manifest.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const auto middle = static_cast<off_t>(std::filesystem::file_size(manifest) / 2);
  EXPECT_EQ(::pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, middle), 8);
  ::close(fd);
  Listed listed;
  Bad(strata_list_files(layer.get(), Note, &listed, error()), STRATA_E_CORRUPT);
  EXPECT_TRUE(listed.paths.empty());
}

TEST_F(LibFiles, ManyThreadsListOneLayer) {
  for (int file = 0; file < 200; ++file) Write("tree/" + std::to_string(file), "");
  Layer layer = ImportTree();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Listed listed;
      EXPECT_EQ(strata_list_files(layer.get(), Note, &listed, nullptr), 0);
      EXPECT_EQ(listed.paths.size(), 200U);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace libstrata
