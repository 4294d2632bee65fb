// SPDX-License-Identifier: Apache-2.0
//
// P4, and what else is done in a root once it is there: walks, lookups, reading, a compiler. 24,000
// files, most of them headers in one directory, out of 480 layers, and the same files out of 2. See
// bench/trees.h for the contenders. Needs root.
//
//   cold    the page cache, the dentries and the inodes are dropped first; a mount is a fresh one
//   warm    the same work was done before, in the same mount
//   fresh   the same work was done before, but in another mount of the same: as in the next
//   sandbox. For the
//           directories, which are not mounted, this is warm
#include <algorithm>
#include <fstream>
#include <memory>
#include <random>

#include "bench/trees.h"

namespace strata::bench {
namespace {

constexpr int kPackages = 480;
constexpr int kLookups = 20000;
constexpr int kIncluded = 400;

// A header as they are: some types, some functions.
std::string Header(int package, int number) {
  std::string text =
      fmt::format("#ifndef P{0}_H{1}\n#define P{0}_H{1}\n#include <stddef.h>\n", package, number);
  for (int i = 0; i < 20; ++i) {
    text += fmt::format(
        "struct p{0}_h{1}_s{2} {{ struct p{0}_h{1}_s{2} *next; size_t length; int kind; }};\n"
        "int p{0}_h{1}_f{2}(struct p{0}_h{1}_s{2} *self, const char *name, size_t length);\n",
        package, number, i);
  }
  return text + "#endif\n";
}

void AddPackage(testing::LayerMaker& layer, int package) {
  for (const auto& [directory, names] : Package(package)) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (directory == "usr/include") {
        layer.File(directory + "/" + names[i] + ".h", Header(package, static_cast<int>(i)));
      } else {
        layer.File(directory + "/" + names[i], fmt::format("{} of {}\n", names[i], package));
      }
    }
  }
}

std::vector<LayerId> MakeLayers(const Store& store, int count) {
  std::vector<LayerId> layers;
  for (int i = 0; i < count; ++i) {
    testing::LayerMaker layer(store);
    for (int package = i; package < kPackages; package += count) AddPackage(layer, package);
    layers.push_back(layer.Publish());
  }
  return layers;
}

Trees& TreesOf(int64_t layers) {
  static std::map<int64_t, std::unique_ptr<Trees>> all;
  std::unique_ptr<Trees>& trees = all[layers];
  if (!trees) {
    trees = std::make_unique<Trees>(
        [&](const Store& store) { return MakeLayers(store, static_cast<int>(layers)); });
  }
  return *trees;
}

// --- The work: false where it failed. `round` counts the times.

using Work = std::function<bool(const std::string& at, int round)>;

bool WalkAll(const std::string& at, int) {
  return Walk(AT_FDCWD, at.c_str()) >= size_t{kPackages} * 50;
}

// All headers, in an order that is no directory's.
const std::vector<std::string>& Headers() {
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> made;
    for (int package = 0; package < kPackages; ++package) {
      for (int i = 0; i < 20; ++i) made.push_back(fmt::format("p{}_h{}.h", package, i));
    }
    std::shuffle(made.begin(), made.end(), std::mt19937(1));
    return made;
  }();
  return paths;
}

bool LookUpAll(const std::string& at, int) {
  UniqueFd directory = Must(OpenAt(AT_FDCWD, at + "/usr/include", O_PATH | O_DIRECTORY));
  return std::all_of(Headers().begin(), Headers().end(), [&](const std::string& name) {
    struct stat st;
    return ::fstatat(directory.get(), name.c_str(), &st, 0) == 0;
  });
}

// Other names each time: none is known to be absent.
bool LookUpAbsent(const std::string& at, int round) {
  UniqueFd root = Must(OpenAt(AT_FDCWD, at, O_PATH | O_DIRECTORY));
  LookUpInVain(root.get(), "usr/include", kLookups, fmt::format("absent{}_", round).c_str());
  return true;
}

bool ReadAll(const std::string& at, int) {
  UniqueFd directory = Must(OpenAt(AT_FDCWD, at + "/usr/include", O_PATH | O_DIRECTORY));
  return std::all_of(Headers().begin(), Headers().end(), [&](const std::string& name) {
    return !Must(ReadFile(directory.get(), name, 1 << 16)).empty();
  });
}

bool Compile(const std::string& at, int) {
  static const std::string source = [] {
    const std::string path = TreesOf(2).bench().path() + "/source.c";
    std::ofstream file(path);
    for (int i = 0; i < kIncluded; ++i)
      file << "#include <" << Headers()[static_cast<size_t>(i)] << ">\n";
    file << "int main(void) { return 0; }\n";
    return path;
  }();
  // As build systems do it: several directories to look in, and the right one last.
  std::vector<std::string> words{"gcc", "-O0", "-c", "-o", "/dev/null", source};
  for (const char* directory : {"usr/lib", "usr/bin", "usr/share", "usr/include"}) {
    words.push_back("-I" + at + "/" + directory);
  }
  return Spawn(words) == 0;
}

// --- The cases

enum class Caches { kCold, kWarm, kFresh };

void AddWork(const std::string& suite, Caches caches, int repetitions, int64_t layers,
             const std::vector<std::string>& contenders, const Work& work) {
  static std::string at;
  static int round = 0;
  const std::map<Caches, const char*> labels{
      {Caches::kCold, "nothing: caches dropped, fresh mounts"},
      {Caches::kWarm, "all: the same was done before, in the same mount"},
      {Caches::kFresh, "all but the names in the mount: the same was done before, in another one"}};
  for (const std::string& contender : contenders) {
    const std::string name = fmt::format("{}/{}/layers:{}", suite, contender, layers);
    const std::string missing = Trees::WhyMissing(contender);
    if (!missing.empty()) {
      Missing(name, missing);
      continue;
    }
    Add({.name = name,
         .cached = labels.at(caches),
         .repetitions = repetitions,
         .prepare =
             [=] {
               Trees& trees = TreesOf(layers);
               at = trees.Enter(contender);
               if (caches != Caches::kCold && !work(at, ++round)) std::abort();
               if (caches == Caches::kWarm) return;
               trees.Leave();
               if (caches == Caches::kCold) DropCaches(trees.bench());
               at = trees.Enter(contender);
             },
         .work =
             [=](benchmark::State& state) {
               if (!work(at, ++round)) state.SkipWithError("it failed");
             },
         .after = [=] { TreesOf(layers).Leave(); }});
  }
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  const std::vector<std::string> all = Trees::Contenders();
  // lstat of a symlink is less work than of a file.
  std::vector<std::string> walkers = all;
  walkers.erase(std::find(walkers.begin(), walkers.end(), "symlinks"));
  for (int64_t layers : BySize({480}, {2}, {})) {
    AddWork("cold_walk", Caches::kCold, 7, layers, walkers, WalkAll);
    AddWork("cold_failing_lookups", Caches::kCold, 7, layers, walkers, LookUpAbsent);
    AddWork("compile", Caches::kFresh, 7, layers, all, Compile);
  }
  if (TheSize() != Size::kQuick) {
    AddWork("warm_walk", Caches::kWarm, 7, 480, walkers, WalkAll);
    AddWork("warm_failing_lookups", Caches::kWarm, 7, 480, walkers, LookUpAbsent);
    AddWork("cold_lookups", Caches::kCold, 5, 480, all, LookUpAll);
    AddWork("warm_lookups", Caches::kWarm, 7, 480, all, LookUpAll);
    AddWork("cold_read", Caches::kCold, 5, 480, all, ReadAll);
    AddWork("warm_read", Caches::kWarm, 7, 480, all, ReadAll);
  }
  return Run(argc, argv);
}
