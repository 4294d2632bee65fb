// SPDX-License-Identifier: Apache-2.0
//
// P6: import of a tar, hashing included, against GNU tar's extraction of it, on the same file
// system.
//
//   import             files of 80 bytes to 2 KiB, ten in a directory, from a tar
//   import_tiny        files of one line
//   import_large       32 files of 8 MiB
//   import_directory   the tree of `import` from a directory
//
//   strata             `strata import`, the whole process, into a store that is there
//   strata_library     Import() in this process
//   tar_x              tar -xf: extracts, and hashes nothing
//   cp_a               cp -a of the directory
//   ostree_commit      of the tar or the directory, into a repository that does not fsync
#include <fstream>
#include <map>

#include "bench/support.h"
#include "cache/import.h"
#include "tests/support/tar_builder.h"

namespace strata::bench {
namespace {

// What is imported: made when it is first asked for.
class Sources {
 public:
  static Sources& Get() {
    static Sources sources;
    return sources;
  }
  const BenchStore& bench() const { return bench_; }

  std::string Tar(const std::string& suite, int64_t files) {
    std::string path = fmt::format("{}/{}-{}.tar", bench_.path(), suite, files);
    if (::access(path.c_str(), F_OK) == 0) return path;
    std::ofstream(path, std::ios::binary) << Write(suite, files);
    return path;
  }
  std::string Directory(int64_t files) {
    std::string& path = directories_[files];
    if (path.empty()) {
      path = bench_.FreshDirectory();
      if (Spawn({"tar", "-xf", Tar("import", files), "-C", path}) != 0) std::abort();
    }
    return path;
  }

 private:
  static std::string Write(const std::string& suite, int64_t files) {
    TarBuilder tar;
    tar.mtime = 1500000000;
    std::string directory;
    for (int64_t i = 0; i < files; ++i) {
      if (i % 1000 == 0) tar.Dir(fmt::format("part{}/", i / 1000));
      if (i % 10 == 0) {
        directory = fmt::format("part{}/dir{}/", i / 1000, i / 10);
        tar.Dir(directory);
      }
      tar.File(fmt::format("{}file{}.h", directory, i % 10), Content(suite));
    }
    return tar.Finish();
  }
  // Another one each time.
  static std::string Content(const std::string& suite) {
    static uint64_t state = 1;
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::string content = fmt::format("{}\n", state);
    if (suite == "import_tiny") return content;
    const size_t size = suite == "import_large" ? 8 << 20 : 80 + (state >> 33) % 2000;
    while (content.size() < size) content += content;
    content.resize(size);
    return content;
  }

  BenchStore bench_;
  std::map<int64_t, std::string> directories_;
};

// Of strata and of ostree, made outside the clock.
std::string FreshStore() {
  const std::string path = Sources::Get().bench().FreshDirectory() + "/store";
  Must(Store::Open(path));
  return path;
}

std::string FreshRepository() {
  const std::string repo = Sources::Get().bench().FreshDirectory();
  if (Spawn({"ostree", "--repo=" + repo, "init", "--mode=bare-user"}) != 0 ||
      Spawn({"ostree", "--repo=" + repo, "config", "set", "core.fsync", "false"}) != 0) {
    std::abort();
  }
  return repo;
}

// `work` takes what is imported, and a fresh place for it.
void AddImport(const std::string& suite, const std::string& contender, int64_t files,
               int repetitions, const std::function<std::string()>& fresh,
               const std::function<void(benchmark::State&, const std::string& from,
                                        const std::string& to)>& work) {
  static std::string from;
  static std::string to;
  const std::string name = fmt::format("{}/{}/files:{}", suite, contender, files);
  if (contender == "ostree_commit" && !Installed("ostree")) {
    return Missing(name, "ostree is not installed");
  }
  Add({.name = name,
       .cached = "what is imported is in the page cache; the target is empty",
       .repetitions = repetitions,
       .prepare =
           [=] {
             Sources& sources = Sources::Get();
             from =
                 suite == "import_directory" ? sources.Directory(files) : sources.Tar(suite, files);
             to = fresh();
             Settle(sources.bench());
           },
       .work = [=](benchmark::State& state) { work(state, from, to); }});
}

void AddSuite(const std::string& suite, int64_t files) {
  const bool directory = suite == "import_directory";
  // What is extracted stays until the end, and the file system has 24 GB and 5 million inodes.
  const bool is_large = files >= 100000 || suite == "import_large";
  const int repetitions = files > 100000 ? 2 : files < 1000 ? 5 : suite == "import" ? 7 : 5;
  const int of_library = is_large ? 3 : repetitions;
  auto fresh_directory = [] { return Sources::Get().bench().FreshDirectory(); };
  using State = benchmark::State;
  using Path = const std::string&;
  AddImport(suite, "strata", files, repetitions, FreshStore, [](State& state, Path from, Path to) {
    ::setenv("STRATA_STORE", to.c_str(), 1);
    RunCommand(state, {StrataExecutable(), "import", "-q", "--name", "x", from});
  });
  AddImport(suite, "strata_library", files, of_library, FreshStore,
            [](State&, Path from, Path to) { Must(Import(Must(Store::Open(to)), from, {})); });
  if (directory) {
    AddImport(suite, "cp_a", files, repetitions, fresh_directory,
              [](State& state, Path from, Path to) {
                RunCommand(state, {"cp", "-a", from + "/.", to});
              });
  } else {
    AddImport(suite, "tar_x", files, repetitions, fresh_directory,
              [](State& state, Path from, Path to) {
                RunCommand(state, {"tar", "-xf", from, "-C", to});
              });
  }
  // Some 20 s for 100,000 files.
  if (files > 10000 && TheSize() != Size::kFull) return;
  AddImport(suite, "ostree_commit", files, 3, FreshRepository,
            [=](State& state, Path from, Path to) {
              const std::string tree = (directory ? "--tree=dir=" : "--tree=tar=") + from;
              RunCommand(state, {"sh", "-c", "exec ostree \"$@\" >/dev/null", "sh", "--repo=" + to,
                                 "commit", "-b", "x", "--tar-autocreate-parents", tree});
            });
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  using namespace strata::bench;
  for (int64_t files : BySize({10000}, {1000, 100000}, {1000000})) AddSuite("import", files);
  for (int64_t files : BySize({10000}, {100000}, {})) AddSuite("import_tiny", files);
  for (int64_t files : BySize({10000}, {}, {100000})) AddSuite("import_directory", files);
  if (TheSize() != Size::kQuick) AddSuite("import_large", 32);
  return Run(argc, argv);
}
