// SPDX-License-Identifier: Apache-2.0
//
// SHA-256, which an import does to every file: base/hash in this process, against the programs that
// people would use. One file, and many small ones.
#include "bench/support.h"

namespace strata::bench {
namespace {

constexpr int kFiles = 10000;

const BenchStore& TheStore() {
  static BenchStore bench;
  return bench;
}

std::string FileOf(int64_t megabytes) {
  const std::string path = fmt::format("{}/{}", TheStore().path(), megabytes);
  if (::access(path.c_str(), F_OK) != 0) {
    UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0644));
    for (int64_t i = 0; i < megabytes; ++i) {
      Must(WriteAll(fd.get(), std::string(1 << 20, static_cast<char>('a' + i % 26)), path));
    }
  }
  return path;
}

std::string ManySmall() {
  static const std::string directory = [] {
    std::string made = TheStore().FreshDirectory();
    for (int i = 0; i < kFiles; ++i) {
      const std::string path = fmt::format("{}/{}", made, i);
      UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0644));
      Must(WriteAll(fd.get(), std::string(static_cast<size_t>(80 + i % 2000), 'x'), path));
    }
    return made;
  }();
  return directory;
}

// As an import reads what is large: in pieces that stay in the processor's cache.
void HashFile(const std::string& path) {
  static std::vector<char> buffer(128 << 10);
  static Sha256 hash;
  UniqueFd fd = Must(OpenAt(AT_FDCWD, path, O_RDONLY));
  ssize_t size;
  while ((size = ::read(fd.get(), buffer.data(), buffer.size())) > 0) {
    hash.Update(buffer.data(), static_cast<size_t>(size));
  }
  MustSys(static_cast<int>(size), path);
  benchmark::DoNotOptimize(hash.Finish());
}

void AddFile(int64_t megabytes) {
  auto add = [=](const char* contender, const std::function<void(benchmark::State&)>& work) {
    Add({.name = fmt::format("hash/{}/megabytes:{}", contender, megabytes),
         .cached = "the file is in the page cache; programs with their start",
         .repetitions = 7,
         .prepare = [=] { HashFile(FileOf(megabytes)); },
         .work = work});
  };
  auto shell = [=](const char* command) {
    return [=](benchmark::State& state) {
      RunCommand(state, {"sh", "-c", fmt::format("exec {} \"$1\" >/dev/null", command), "sh",
                         FileOf(megabytes)});
    };
  };
  add("strata_library", [=](benchmark::State&) { HashFile(FileOf(megabytes)); });
  add("sha256sum", shell("sha256sum"));
  if (Installed("openssl")) {
    add("openssl", shell("openssl dgst -sha256"));
  } else {
    Missing(fmt::format("hash/openssl/megabytes:{}", megabytes), "openssl is not installed");
  }
}

void AddMany() {
  auto add = [](const char* contender, const std::function<void(benchmark::State&)>& work) {
    Add({.name = fmt::format("hash_files/{}/files:{}", contender, kFiles),
         .cached = "the files are in the page cache; programs with their start",
         .repetitions = 7,
         .prepare = [] { ManySmall(); },
         .work = work});
  };
  add("strata_library", [](benchmark::State&) {
    for (int i = 0; i < kFiles; ++i) HashFile(fmt::format("{}/{}", ManySmall(), i));
  });
  add("sha256sum", [](benchmark::State& state) {
    RunCommand(state, {"sh", "-c", "cd \"$1\" && exec sha256sum * >/dev/null", "sh", ManySmall()});
  });
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  for (int64_t megabytes : strata::bench::BySize({1, 64}, {}, {512})) {
    strata::bench::AddFile(megabytes);
  }
  strata::bench::AddMany();
  return strata::bench::Run(argc, argv);
}
