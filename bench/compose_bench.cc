// SPDX-License-Identifier: Apache-2.0
//
// Composing, in process: the layers are imported, and the root is published.
//
//   compose       from nothing, `layers` of 50 files each of which most lie in directories that all
//   share,
//                 against a program that does nothing but link them into one directory
//   recompose     one of those layers has changed in all its files, and the old root is in the
//   cache analyse       what two layers of 100,000 entries have to do with each other, by what they
//   `share`; analyse_cold  against reading each byte of their manifests
//
// P3 (a first stage, as whole processes) is in stage_bench.cc, P4 (using what was composed) in
// inside_bench.cc.
//
//     bench/run --only compose
#include <sys/mman.h>

#include <map>
#include <memory>

#include "bench/suite.h"
#include "bench/support.h"
#include "stager/overlaps.h"

namespace strata::bench {
namespace {

BenchStore& TheStore() {
  static BenchStore store;
  return store;
}
const Store& store() {
  return TheStore().store();
}

// --- compose, recompose

// The first `count` packages.
std::vector<LayerId> Packages(size_t count) {
  static std::vector<LayerId> made;
  while (made.size() < count) {
    made.push_back(MakeLayer(store(), Package(static_cast<int>(made.size())), "package"));
  }
  return {made.begin(), made.begin() + static_cast<ptrdiff_t>(count)};
}

// Another one each time.
std::vector<LayerId> WithOneChanged(size_t count) {
  static int round = 0;
  ++round;
  std::vector<LayerId> layers = Packages(count);
  const size_t at = static_cast<size_t>(round) * 97 % count;
  layers[at] = MakeLayer(store(), Package(static_cast<int>(at)), fmt::format("change {}", round));
  return layers;
}

// What another case had dropped from the caches comes back: manifests and inodes.
void Warm(size_t count) {
  for (const LayerId& id : Packages(count)) {
    const std::string path = "layers/" + id.Hex();
    Must(Must(Manifest::Open(store().fd(), path + "/manifest")).Validate());
    Walk(store().fd(), (path + "/tree").c_str());
  }
}

// What a hardlink stager does, whatever was done before.
void AddLinking(const std::string& suite, size_t count, int repetitions) {
  auto to = std::make_shared<std::string>();
  Add({.name = fmt::format("{}/bare_linkat/layers:{}", suite, count),
       .cached = "layers imported, all warm",
       .repetitions = repetitions,
       .prepare =
           [to, count] {
             Warm(count);
             *to = TheStore().FreshDirectory();
             Settle(TheStore());
           },
       .work = [to,
                count](benchmark::State&) { HardlinkLayers(TheStore(), Packages(count), *to); }});
}

void AddCompose(size_t count) {
  const int repetitions = count > 1000 ? 3 : 7;
  Add({.name = fmt::format("compose/strata/layers:{}", count),
       .cached = "layers imported, all warm; no root",
       .repetitions = repetitions,
       .prepare =
           [count] {
             Warm(count);
             TheStore().Forget();
             Settle(TheStore());
           },
       .work = [count](benchmark::State&) { Compose(store(), SetOf(Packages(count))); }});
  AddLinking("compose", count, repetitions);
}

void AddRecompose(size_t count) {
  struct Contender {
    const char* name;
    ComposeOptions options;
  };
  const int repetitions = count > 1000 ? 3 : 9;
  for (const Contender& contender :
       {Contender{"strata", {}}, Contender{"strata_without_deltas", {.delta_part = 0}}}) {
    auto set = std::make_shared<DependencySet>();
    Add({.name = fmt::format("recompose/{}/layers:{}", contender.name, count),
         .cached = "layers imported, the old root composed, all warm",
         .repetitions = repetitions,
         .prepare =
             [set, count] {
               *set = SetOf(WithOneChanged(count));
               Warm(count);
               TheStore().Forget();
               Compose(store(), SetOf(Packages(count)));
               Settle(TheStore());
             },
         .work = [set, options = contender.options](
                     benchmark::State&) { Compose(store(), *set, options); }});
  }
  AddLinking("recompose", count, repetitions);
}

// --- analyse: layers whose trees nobody looks at, so that they have none

enum class Shares { kDirectories, kSameFiles, kOtherContent, kOneDirectory, kNothing };
constexpr std::pair<Shares, const char*> kShares[] = {
    {Shares::kDirectories, "directories"},     // all of them, and no file
    {Shares::kSameFiles, "same_files"},        // everything
    {Shares::kOtherContent, "other_content"},  // every path
    {Shares::kOneDirectory, "one_directory"},  // which all files are in, and no file
    {Shares::kNothing, "nothing"}};

// One of a pair.
LayerId MakeManifest(Shares shares, bool second) {
  constexpr int kEntries = 100000;
  ManifestBuilder builder;
  auto add = [&](ManifestBuilder::Node parent, std::string_view name, EntryType type) {
    ManifestBuilder::Node node = builder.Add(parent, name);
    ManifestBuilder::Data& data = builder.At(node);
    data.type = type;
    data.mode = type == EntryType::kDirectory ? 0755 : 0644;
    data.mtime_sec = 1700000000;
    return node;
  };
  auto directory = [&](ManifestBuilder::Node parent, std::string_view name) {
    return add(parent, name, EntryType::kDirectory);
  };
  // The same content would be the same layer.
  directory(ManifestBuilder::kRoot, second ? "second" : "first");
  ManifestBuilder::Node parent = directory(ManifestBuilder::kRoot, "usr");
  parent = directory(parent, second && shares == Shares::kNothing ? "libexec" : "lib");
  const bool flat = shares == Shares::kOneDirectory;
  const bool interleaved = flat || shares == Shares::kDirectories;
  const int directories = flat ? 1 : kEntries / 10;
  for (int i = 0; i < directories; ++i) {
    const ManifestBuilder::Node in = directory(parent, fmt::format("d{:05}", i));
    for (int k = 1; k < kEntries / directories; ++k) {
      const ManifestBuilder::Node file =
          add(in, fmt::format("{:05}{}.h", k, second && interleaved ? "b" : "a"), EntryType::kFile);
      const std::string content =
          fmt::format("{} {} {}", i, k, second && shares == Shares::kOtherContent);
      builder.At(file).size = content.size();
      builder.At(file).digest = Sha256::Of(content.data(), content.size());
    }
  }
  return Must(store().Publish(Must(store().NewLayer()), Must(builder.Finish()))).id;
}

const DependencySet& Pair(Shares shares) {
  static std::map<Shares, DependencySet> made;
  DependencySet& set = made[shares];
  if (set.items.empty()) set = SetOf({MakeManifest(shares, false), MakeManifest(shares, true)});
  return set;
}

void ReadManifests(const DependencySet& set) {
  for (const SetItem& item : set.items) {
    const std::string path = "layers/" + item.id.Hex() + "/manifest";
    UniqueFd fd = Must(OpenAt(store().fd(), path, O_RDONLY));
    struct stat st;
    MustSys(::fstat(fd.get(), &st), path);
    const size_t size = static_cast<size_t>(st.st_size);
    void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (bytes == MAP_FAILED) MustSys(-1, path);
    benchmark::DoNotOptimize(Xxh3Short({static_cast<const char*>(bytes), size}));
    ::munmap(bytes, size);
  }
}

void AddAnalysis(Shares shares, const char* name) {
  struct Contender {
    const char* name;
    void (*work)(const DependencySet&);
  };
  static constexpr Contender kContenders[] = {
      // What a first stage waits for: a direct chain links nothing.
      {"strata", [](const DependencySet& set) { Must(DraftRoot(store(), set, {})); }},
      {"strata_overlaps", [](const DependencySet& set) { Must(FindOverlaps(store(), set)); }},
      {"read_manifests", ReadManifests},
  };
  for (const Contender& contender : kContenders) {
    for (bool cold : {false, true}) {
      Add({.name = fmt::format("analyse{}/{}/shares:{}", cold ? "_cold" : "", contender.name, name),
           .cached = cold ? "layers imported, caches dropped" : "layers imported, all warm",
           .prepare =
               [shares, cold, work = contender.work] {
                 work(Pair(shares));
                 if (cold) DropCaches(TheStore());
               },
           .work = [shares, work = contender.work](benchmark::State&) { work(Pair(shares)); }});
    }
  }
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  for (int64_t layers : BySize({2, 480}, {1, 16, 100, 2000}, {5000})) {
    AddCompose(static_cast<size_t>(layers));
    // Less is mounted as it is.
    if (layers >= 16) AddRecompose(static_cast<size_t>(layers));
  }
  for (const auto& [shares, name] : kShares) AddAnalysis(shares, name);
  return Run(argc, argv);
}
