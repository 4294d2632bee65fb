// SPDX-License-Identifier: Apache-2.0
//
// Where overlay loses: changing what came from a layer, in a root of one layer. See bench/trees.h
// for the contenders; needs root.
//
//   hardlinks   writes into the layer's own file, and so into everybody's: fast, and wrong
//   unlinked    hardlinks, where each file is copied and renamed over its link first: what a
//   hardlink stager
//               must do to be right
#include <fstream>
#include <memory>

#include "bench/trees.h"

namespace strata::bench {
namespace {

constexpr int kFiles = 1000;

int64_t LargeMegabytes() {
  return TheSize() == Size::kQuick ? 64 : 256;
}

// A large file, and a directory of 1,000 files of 4 KiB.
Trees& TheTrees() {
  static std::unique_ptr<Trees> trees = std::make_unique<Trees>([](const Store& store) {
    testing::LayerMaker layer(store);
    layer.File("large/file", std::string(static_cast<size_t>(LargeMegabytes()) << 20, 'x'));
    for (int i = 0; i < kFiles; ++i) {
      layer.File(fmt::format("many/f{}", i), std::string(4096, 'x'));
    }
    return std::vector<LayerId>{layer.Publish()};
  });
  return *trees;
}

std::string Many(const std::string& at, int i) {
  return fmt::format("{}/many/f{}", at, i);
}

bool Append(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  return fd.valid() && ::write(fd.get(), "y", 1) == 1;
}

bool BreakLink(const std::string& path) {
  return Spawn({"cp", "-a", path, path + ".new"}) == 0 &&
         ::rename((path + ".new").c_str(), path.c_str()) == 0;
}

bool BreakLinks(const std::string& at) {
  // One process for all of them.
  return Spawn({"cp", "-a", at + "/many", at + "/many.new"}) == 0 &&
         ::rename((at + "/many").c_str(), (at + "/many.old").c_str()) == 0 &&
         ::rename((at + "/many.new").c_str(), (at + "/many").c_str()) == 0;
}

using Work = std::function<bool(const std::string& at)>;

void AddWork(const std::string& suite, const std::string& parameter, const std::string& contender,
             const Work& work) {
  static std::string at;
  const std::string tree = contender == "unlinked" ? "hardlinks" : contender;
  const std::string name = fmt::format("{}/{}/{}", suite, contender, parameter);
  const std::string missing = Trees::WhyMissing(tree);
  if (!missing.empty()) return Missing(name, missing);
  Add({.name = name,
       .cached = "all warm; a fresh tree each time",
       .prepare =
           [=] {
             at = TheTrees().Fresh(tree);
             Walk(AT_FDCWD, at.c_str());
             Settle(TheTrees().bench());
           },
       .work =
           [=](benchmark::State& state) {
             if (!work(at)) state.SkipWithError("it failed");
           },
       .after = [] { TheTrees().Leave(); }});
}

void AddSuites() {
  const std::string megabytes = fmt::format("megabytes:{}", LargeMegabytes());
  const std::string files = fmt::format("files:{}", kFiles);
  auto append = [](const std::string& at) { return Append(at + "/large/file"); };
  auto first_writes = [](const std::string& at) {
    for (int i = 0; i < kFiles; ++i) {
      if (!Append(Many(at, i))) return false;
    }
    return true;
  };
  for (const char* contender : {"strata", "plain", "hardlinks", "fuse_overlayfs"}) {
    AddWork("copy_up", megabytes, contender, append);
    AddWork("first_write", files, contender, first_writes);
    // mv copies what cannot be renamed.
    AddWork("rename_directory", files, contender, [](const std::string& at) {
      return Spawn({"mv", at + "/many", at + "/moved"}) == 0;
    });
    AddWork("remove_directory", files, contender, [](const std::string& at) {
      return Spawn({"rm", "-r", at + "/many"}) == 0;
    });
  }
  AddWork("copy_up", megabytes, "unlinked",
          [=](const std::string& at) { return BreakLink(at + "/large/file") && append(at); });
  AddWork("first_write", files, "unlinked",
          [=](const std::string& at) { return BreakLinks(at) && first_writes(at); });
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  strata::bench::AddSuites();
  return strata::bench::Run(argc, argv);
}
