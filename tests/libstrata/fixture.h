// SPDX-License-Identifier: Apache-2.0
//
// A store and a place for files below $TMPDIR, and strata.h with less to write. The tests of the
// library use nothing of strata but strata.h.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "strata.h"

namespace libstrata {

struct Free {
  void operator()(strata_error* error) const { strata_error_free(error); }
  void operator()(strata_store* store) const { strata_store_free(store); }
  void operator()(strata_layer* layer) const { strata_layer_free(layer); }
  void operator()(strata_set* set) const { strata_set_free(set); }
  void operator()(strata_root* root) const { strata_root_free(root); }
  void operator()(strata_stage* stage) const { strata_stage_free(stage); }
};
using Error = std::unique_ptr<strata_error, Free>;
using Store = std::unique_ptr<strata_store, Free>;
using Layer = std::unique_ptr<strata_layer, Free>;
using Set = std::unique_ptr<strata_set, Free>;
using Root = std::unique_ptr<strata_root, Free>;
using Stage = std::unique_ptr<strata_stage, Free>;

// Where a call puts its error; what it was is checked by Expect.
class Report {
 public:
  strata_error** at() {
    error_.reset();
    return &raw_;
  }
  // Takes the error over.
  const strata_error* get() {
    if (raw_ != nullptr) error_.reset(std::exchange(raw_, nullptr));
    return error_.get();
  }
  std::string message() { return strata_error_message(get()); }
  std::string hint() { return strata_error_hint(get()); }
  ~Report() { strata_error_free(raw_); }

 private:
  strata_error* raw_ = nullptr;
  Error error_;
};

class Fixture : public ::testing::Test {
 protected:
  Fixture() {
    const char* parent = std::getenv("TMPDIR");
    std::string name = std::string(parent != nullptr ? parent : "/tmp") + "/libstrata-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = std::filesystem::canonical(name);
    store_ = Open();
  }
  ~Fixture() override {
    store_.reset();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             directory_, std::filesystem::directory_options::skip_permission_denied)) {
      if (entry.is_directory() && !entry.is_symlink()) ::chmod(entry.path().c_str(), 0700);
    }
    std::filesystem::remove_all(directory_);
  }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  strata_store* store() const { return store_.get(); }

  void Good(int result) { EXPECT_GE(result, 0) << report_.message(); }
  void Bad(int result, strata_code code) {
    EXPECT_EQ(result, code);
    EXPECT_EQ(strata_error_code(report_.get()), code) << report_.message();
  }
  strata_error** error() { return report_.at(); }
  std::string message() { return report_.message(); }
  std::string hint() { return report_.hint(); }

  Store Open() {
    strata_store* opened = nullptr;
    Good(strata_store_open(Path("store").c_str(), &opened, error()));
    return Store(opened);
  }
  void Write(const std::string& name, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name)) << content;
  }
  // A layer with one file.
  Layer Import(const std::string& file, const std::string& content, const char* ref = nullptr) {
    const std::string tree = "tree" + std::to_string(trees_++);
    Write(tree + "/" + file, content);
    strata_import_options options{};
    options.size = sizeof options;
    options.ref = ref;
    strata_layer* layer = nullptr;
    Good(strata_import(store(), Path(tree).c_str(), &options, &layer, error()));
    return Layer(layer);
  }
  Set NewSet(const std::vector<std::string>& layers) {
    strata_set* set = nullptr;
    Good(strata_set_new(store(), &set, error()));
    for (const std::string& layer : layers) Good(strata_set_add(set, layer.c_str(), error()));
    return Set(set);
  }
  Root Compose(const std::vector<std::string>& layers) {
    strata_root* root = nullptr;
    Good(strata_compose(NewSet(layers).get(), nullptr, &root, error()));
    return Root(root);
  }

  std::string directory_;
  Store store_;
  Report report_;
  int trees_ = 0;
};

inline std::string Read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace libstrata
