// SPDX-License-Identifier: Apache-2.0
//
// P7: keeping 1,000 new files (4 KiB each, in 100 new directories below one of the root's) that a
// build made over a root of 1,000 and of 100,000 files.
//
//   strata          the capture of the upper, in this process, publishing included
//   strata_run      all of `strata run --capture`: the sandbox, a shell that makes the files, the
//   capture cp_a, tar_c, ostree_commit   what other tools do with such a directory
#include <map>

#include "bench/support.h"
#include "stager/capture.h"
#include "tests/support/layer_chain.h"

namespace strata::bench {
namespace {

constexpr int kNewFiles = 1000;

struct Fixture {
  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  BenchStore bench;
  std::string directory = bench.FreshDirectory();  // the new files once, for who captures no upper
  std::string repo = bench.path() + "/repo";
  // Ten files in each directory, and a shell.
  const LayerId& Root(int64_t files) {
    LayerId& root = roots_[files];
    if (root != LayerId()) return root;
    testing::LayerMaker layer(bench.store());
    layer.File("bin/sh", Must(ReadFile(AT_FDCWD, "/bin/busybox", 16 << 20)), 0755);
    for (int64_t i = 0; i < files; ++i) {
      layer.File(fmt::format("usr/share/d{}/f{}", i / 10, i % 10), std::to_string(i));
    }
    return root = layer.Publish();
  }

 private:
  Fixture();
  std::map<int64_t, LayerId> roots_;
};

// What a build leaves; `round` makes it another layer each time.
void MakeFiles(int directory, int round) {
  std::string content(4096, 'x');
  MustSys(::mkdirat(directory, "usr", 0755), "mkdirat");
  MustSys(::mkdirat(directory, "usr/share", 0755), "mkdirat");
  for (int i = 0; i < kNewFiles; ++i) {
    const std::string parent = fmt::format("usr/share/new{}", i / 10);
    if (i % 10 == 0) MustSys(::mkdirat(directory, parent.c_str(), 0755), parent);
    const std::string id = fmt::format("{} {}", round, i);
    content.replace(0, id.size(), id);
    UniqueFd fd = Must(
        OpenAt(directory, fmt::format("{}/f{}", parent, i), O_WRONLY | O_CREAT | O_EXCL, 0644));
    Must(WriteAll(fd.get(), content, "f"));
  }
}

Fixture::Fixture() {
  ::setenv("STRATA_STORE", bench.store().path().c_str(), 1);
  MakeFiles(Must(OpenAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY)).get(), 0);
  if (!Installed("ostree")) return;
  if (Spawn({"ostree", "--repo=" + repo, "init", "--mode=bare-user"}) != 0 ||
      Spawn({"ostree", "--repo=" + repo, "config", "set", "core.fsync", "false"}) != 0) {
    std::abort();
  }
}

void AddCapture(int64_t files) {
  static int round = 0;
  static PendingLayer pending;
  Add({.name = fmt::format("capture/strata/files:{}", files),
       .cached = "the new files are in the page cache",
       .repetitions = 15,
       .prepare =
           [=] {
             Fixture::Get().Root(files);
             pending = Must(Fixture::Get().bench.store().NewLayer());
             MakeFiles(pending.tree_fd(), ++round);
           },
       .work =
           [=](benchmark::State& state) {
             Fixture& fixture = Fixture::Get();
             // As `strata run` has it: the manifests are mapped, nothing of them has been read.
             testing::Chain chain(fixture.bench.store(), {fixture.Root(files)});
             const CaptureResult captured = Must(CaptureUpper(
                 fixture.bench.store(), std::move(pending), chain.lower(), CaptureOptions()));
             if (captured.entries != kNewFiles + kNewFiles / 10 + 2) {
               state.SkipWithError("another layer");
             }
           }});
}

void AddRun(int64_t files) {
  static int round = 0;
  Add({.name = fmt::format("capture/strata_run/files:{}", files),
       .cached = "all warm; includes the sandbox, and making the files",
       .repetitions = 7,
       .prepare = [=] { Fixture::Get().Root(files); },
       .work =
           [=](benchmark::State& state) {
             // 4 KiB a file, by the shell alone.
             const char* script =
                 "x=xxxxxxxxxxxxxxxx; for i in 1 2 3 4 5 6 7 8; do x=$x$x; done; cd /usr/share; "
                 "i=0; "
                 "while [ $i -lt 1000 ]; do d=new$((i / 10)); [ -d $d ] || mkdir $d; "
                 "echo \"$1 $i $x\" > $d/f$i; i=$((i + 1)); done";
             RunCommand(state,
                        {StrataExecutable(), "run", "-q", "--capture",
                         fmt::format("captured{}", ++round), Fixture::Get().Root(files).Hex(), "--",
                         "/bin/sh", "-c", script, "sh", std::to_string(round)});
           }});
}

void AddPeers() {
  auto add = [](const std::string& contender, const std::string& program,
                const std::function<std::vector<std::string>()>& words) {
    const std::string name = fmt::format("capture/{}/files:100000", contender);
    if (!Installed(program)) return Missing(name, program + " is not installed");
    Add({.name = name,
         .cached = "the new files are in the page cache; the root below does not matter to it",
         .repetitions = 7,
         .prepare = [] { Settle(Fixture::Get().bench); },
         .work = [=](benchmark::State& state) { RunCommand(state, words()); }});
  };
  static int round = 0;
  auto target = [](const char* suffix) {
    return fmt::format("{}/kept{}{}", Fixture::Get().bench.path(), ++round, suffix);
  };
  add("cp_a", "cp", [=] {
    return std::vector<std::string>{"cp", "-a", Fixture::Get().directory, target("")};
  });
  add("tar_c", "tar", [=] {
    return std::vector<std::string>{"tar", "-cf", target(".tar"), "-C", Fixture::Get().directory,
                                    "."};
  });
  // Into a repository that has none of these files yet.
  add("ostree_commit", "ostree", [=] {
    const std::string repo = target(".repo");
    return std::vector<std::string>{
        "sh",
        "-c",
        "cp -a \"$1\" \"$2\" && exec ostree --repo=\"$2\" commit -b x --tree=dir=\"$3\" >/dev/null",
        "sh",
        Fixture::Get().repo,
        repo,
        Fixture::Get().directory};
  });
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  for (int64_t files : {1000, 100000}) {
    strata::bench::AddCapture(files);
    strata::bench::AddRun(files);
  }
  strata::bench::AddPeers();
  return strata::bench::Run(argc, argv);
}
