// SPDX-License-Identifier: Apache-2.0
//
// Who puts "these layers at this directory": strata in its ways, and the tools that people use for
// it today. Each gets the layers as it wants to have them (directories, tars, commits), all in one
// call, and does the whole job; CheckStaged looks whether it did.
//
//   strata           `strata stage`: an overlay
//   strata_library   the same without a process: find or compose the root, and mount it
//   strata_hardlink, strata_reflink, strata_copy, strata_fuse   `strata stage --method`
//   bare_linkat      readdir, mkdir and linkat: the least that hardlinks can cost, in this process
//   bare_overlay     a mount of all the layers, however many, and no look at what overlaps
//   cp_al, cp_as, cp_a, cp_reflink   hardlinks, symlinks, copies, copies that share their blocks
//   rsync_link_dest, tar_x, ostree_checkout   hardlinks, copies, hardlinks
//   fuse_overlayfs   a mount
#pragma once

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include <fstream>
#include <memory>
#include <set>

#include "bench/suite.h"
#include "bench/support.h"

namespace strata::bench {

// The layers of one case.
struct Inputs {
  const BenchStore* bench = nullptr;
  std::vector<LayerId> layers;
  size_t entries = 0;                                        // of the staged tree
  std::vector<std::pair<std::string, std::string>> samples;  // path and content of some files
  std::string Tree(const LayerId& id) const {
    return bench->store().path() + "/layers/" + id.Hex() + "/tree";
  }
};

// Of these layers, made by MakeLayer of these trees and the salt.
inline Inputs DescribeInputs(const BenchStore& bench, const std::vector<LayerId>& layers,
                             const std::vector<Tree>& trees, std::string_view salt) {
  Inputs inputs{&bench, layers, 0, {}};
  std::set<std::string> directories;
  for (const Tree& tree : trees) {
    for (const auto& [path, files] : tree) {
      for (size_t end = 0; end != std::string::npos;) {
        end = path.find('/', end + 1);
        directories.insert(path.substr(0, end));
      }
      inputs.entries += files.size();
    }
    for (const auto& [path, files] : {tree.front(), tree.back()}) {
      const std::string file = path + "/" + files.back();
      inputs.samples.emplace_back(file, fmt::format("{} {}\n", file, salt));
    }
  }
  inputs.entries += directories.size();
  return inputs;
}

// A base of 10,000 files, and an artifact.
inline Inputs MakeFiles(const BenchStore& bench, int64_t files) {
  const std::vector<Tree> trees{ManyFiles("usr/lib", 10000),
                                ManyFiles("opt/artifact", static_cast<int>(files))};
  static const LayerId base = MakeLayer(bench.store(), trees[0], "file");
  const LayerId artifact = MakeLayer(bench.store(), trees[1], "file");
  return DescribeInputs(bench, {base, artifact}, trees, "file");
}

// Packages, which share most of their directories.
inline Inputs MakePackages(const BenchStore& bench, int64_t count) {
  std::vector<Tree> trees;
  std::vector<LayerId> layers;
  for (int i = 0; i < count; ++i) {
    trees.push_back(Package(i));
    layers.push_back(MakeLayer(bench.store(), trees.back(), "package"));
  }
  return DescribeInputs(bench, layers, trees, "package");
}

// Made when they are first asked for, and kept.
using MakesInputs = Inputs(const BenchStore& bench, int64_t size);
inline const Inputs& Once(MakesInputs* make, const BenchStore& bench, int64_t size) {
  static std::map<std::pair<MakesInputs*, int64_t>, Inputs> made;
  auto found = made.find({make, size});
  if (found == made.end()) found = made.emplace(std::pair(make, size), make(bench, size)).first;
  return found->second;
}

// Empty where all of it is at `root`; else what is wrong.
inline std::string CheckStaged(const Inputs& inputs, const std::string& root) {
  const size_t entries = Walk(AT_FDCWD, root.c_str());
  if (entries != inputs.entries) {
    return fmt::format("{} entries instead of {}", entries, inputs.entries);
  }
  for (const auto& [path, content] : inputs.samples) {
    Result<std::string> read = ReadFile(AT_FDCWD, root + "/" + path, 4096);
    if (!read || *read != content) return path + " has another content";
  }
  return "";
}

// What is timed; returns what failed, or nothing.
using Work = std::function<std::string()>;

struct Contender {
  std::string name;
  std::string missing;  // why it cannot run here; empty: it can
  // Outside the clock: all that can be done before, at an empty directory. Returns what is timed.
  std::function<Work(const Inputs& inputs, const std::string& to)> stage;
  enum Kind {
    kMount,
    kLinks,
    kInodes
  } kind;  // what it makes for each file: nothing, a name, an inode
  bool of_strata = false;
};

// --- What is timed

inline Work Process(const std::vector<std::string>& words) {
  return [words] {
    const int status = Spawn(words);
    return status == 0 ? "" : fmt::format("{} exited with {}", words[0], status);
  };
}

inline Work QuietProcess(const std::vector<std::string>& words) {
  return [work = Process(words)] {
    UniqueFd saved(::fcntl(2, F_DUPFD_CLOEXEC, 3));
    UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    ::dup2(null.get(), 2);
    std::string failure = work();
    ::dup2(saved.get(), 2);
    return failure;
  };
}

inline Work StrataStage(const Inputs& inputs, const std::string& to, const char* method) {
  std::vector<std::string> words{StrataExecutable(), "stage"};
  if (method != nullptr) words.insert(words.end(), {"--method", method});
  for (const LayerId& id : inputs.layers) words.push_back(id.Hex());
  words.push_back(to);
  ::setenv("STRATA_STORE", inputs.bench->store().path().c_str(), 1);
  return Process(words);
}

inline Work WithTrees(std::vector<std::string> words, const Inputs& inputs, const std::string& to) {
  for (const LayerId& id : inputs.layers) words.push_back(inputs.Tree(id) + "/.");
  words.push_back(to);
  return Process(words);
}

// It takes at most 20 directories to link to: so as many calls as it needs, from one shell.
inline Work Rsync(const Inputs& inputs, const std::string& to) {
  const std::string script = to + ".rsync";
  std::ofstream lines(script);
  for (size_t begin = 0; begin < inputs.layers.size(); begin += 20) {
    std::string sources;
    lines << "rsync -a";
    for (size_t i = begin; i < std::min(begin + 20, inputs.layers.size()); ++i) {
      const std::string tree = inputs.Tree(inputs.layers[i]);
      lines << " --link-dest=" << tree;
      sources += " " + tree + "/";
    }
    lines << sources << " " << to << " || exit\n";
  }
  return Process({"sh", script});
}

// Made when they are first asked for; ID.tar.
inline Work Tar(const Inputs& inputs, const std::string& to) {
  std::vector<std::string> words{"sh", "-c", "cat \"$@\" | tar -x -i -f - -C \"$0\"", to};
  if (inputs.layers.size() == 1) words = {"tar", "-x", "-C", to, "-f"};
  for (const LayerId& id : inputs.layers) {
    words.push_back(fmt::format("{}/{}.tar", inputs.bench->path(), id.Hex()));
    if (::access(words.back().c_str(), F_OK) == 0) continue;
    if (Spawn({"tar", "-cf", words.back(), "-C", inputs.Tree(id), "."}) != 0) std::abort();
  }
  return Process(words);
}

// One commit for each layer, made when it is first asked for, in a repository that does not fsync.
inline Work Ostree(const Inputs& inputs, const std::string& to) {
  static std::set<std::string> committed;
  const std::string repo = "--repo=" + inputs.bench->path() + "/ostree";
  auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"sh", "-c", "exec \"$0\" \"$@\" >/dev/null", "ostree"});
    if (Spawn(words) != 0) std::abort();
  };
  if (committed.empty()) {
    run({repo, "init", "--mode=bare-user"});
    run({repo, "config", "set", "core.fsync", "false"});
  }
  std::string list;
  for (const LayerId& id : inputs.layers) {
    list += "layer-" + id.Hex() + std::string("\0/\0", 3);
    if (!committed.insert(id.Hex()).second) continue;
    run({repo, "commit", "--no-xattrs", "--canonical-permissions", "-b", "layer-" + id.Hex(),
         "--tree=dir=" + inputs.Tree(id)});
  }
  const std::string list_path = to + ".layers";
  std::ofstream(list_path) << list;
  return Process({"ostree", repo, "checkout", "-H", "-U", "--union", "--fsync=no",
                  "--from-file=" + list_path, to});
}

// It warns, whatever it is given, of an option that it does not know; and it takes its layers in
// one option, so they have short names in the directory it is started in.
inline Work FuseOverlayfs(const Inputs& inputs, const std::string& to) {
  const std::string place = to + ".fuse";
  std::string lowers;
  for (const char* name : {"", "/upper", "/work"})
    MustSys(::mkdir((place + name).c_str(), 0755), name);
  for (size_t i = 0; i < inputs.layers.size(); ++i) {
    const std::string name = fmt::format("{}/{}", place, i);
    MustSys(::symlink(inputs.Tree(inputs.layers[i]).c_str(), name.c_str()), name);
    lowers = fmt::format("{}{}{}", i, i > 0 ? ":" : "", lowers);
  }
  MustSys(::chdir(place.c_str()), "chdir");
  return QuietProcess(
      {"fuse-overlayfs", "-o", fmt::format("lowerdir={},upperdir=upper,workdir=work", lowers), to});
}

inline Work BareLinkat(const Inputs& inputs, const std::string& to) {
  return [&inputs, to] {
    HardlinkLayers(*inputs.bench, inputs.layers, to);
    return std::string();
  };
}

inline std::string MountAt(const Inputs& inputs, const RootContent& content,
                           const std::string& to) {
  UniqueFd mount = Mount(*inputs.bench, content);
  const int rc = sys::MoveMount(mount.get(), "", AT_FDCWD, to.c_str(), MOVE_MOUNT_F_EMPTY_PATH);
  return rc == 0 ? "" : fmt::format("move_mount: {}", ::strerror(-rc));
}

// In this process: the root from the cache, or composed; and a mount.
inline Work Library(const Inputs& inputs, const std::string& to) {
  return [&inputs, to] {
    const Store& store = inputs.bench->store();
    const DependencySet set = SetOf(inputs.layers);
    std::optional<CachedRoot> root = Must(FindRoot(store, set.Encode()));
    if (!root) root = Compose(store, set);
    return MountAt(inputs, root->content, to);
  };
}

inline Work BareOverlay(const Inputs& inputs, const std::string& to) {
  RootContent content;
  for (const LayerId& id : inputs.layers) content.lowers.push_back("layers/" + id.Hex() + "/tree");
  return [&inputs, to, content]() -> std::string {
    if (content.lowers.size() >= 500) return "the kernel stacks at most 500";
    return MountAt(inputs, content, to);
  };
}

// --- Who there is

inline bool HasReflinks(const BenchStore& bench) {
  const std::string path = bench.path() + "/reflink";
  UniqueFd from(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  UniqueFd to(::open((path + "2").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  Must(WriteAll(from.get(), std::string(8192, 'x'), path));
  return ::ioctl(to.get(), FICLONE, from.get()) == 0;
}

inline std::vector<Contender> Contenders(const BenchStore& bench) {
  const bool reflinks = HasReflinks(bench);
  const std::string no_reflinks =
      reflinks ? "" : "this file system has no reflinks (try xfs or btrfs)";
  auto needs = [](const std::string& program) {
    return Installed(program) ? "" : program + " is not installed";
  };
  auto strata = [](const std::string& name, const char* method, Contender::Kind kind,
                   const std::string& missing = "") {
    return Contender{name, missing,
                     [method](const Inputs& inputs, const std::string& to) {
                       return StrataStage(inputs, to, method);
                     },
                     kind, true};
  };
  auto cp = [](const std::string& name, const char* options, Contender::Kind kind) {
    return Contender{name, "",
                     [options](const Inputs& inputs, const std::string& to) {
                       return WithTrees({"cp", options}, inputs, to);
                     },
                     kind};
  };
  auto cp_reflink = [](const Inputs& inputs, const std::string& to) {
    return WithTrees({"cp", "-a", "--reflink=always"}, inputs, to);
  };
  return {
      strata("strata", nullptr, Contender::kMount),
      {"strata_library", "", Library, Contender::kMount, true},
      strata("strata_fuse", "fuse", Contender::kMount, needs("fuse-overlayfs")),
      strata("strata_hardlink", "hardlink", Contender::kLinks),
      strata("strata_reflink", "reflink", Contender::kInodes, no_reflinks),
      strata("strata_copy", "copy", Contender::kInodes),
      {"bare_linkat", "", BareLinkat, Contender::kLinks},
      cp("cp_al", "-al", Contender::kLinks),
      cp("cp_as", "-as", Contender::kInodes),
      cp("cp_a", "-a", Contender::kInodes),
      {"bare_overlay", "", BareOverlay, Contender::kMount},
      {"cp_reflink", no_reflinks, cp_reflink, Contender::kInodes},
      {"rsync_link_dest", needs("rsync"), Rsync, Contender::kLinks},
      {"tar_x", needs("tar"), Tar, Contender::kInodes},
      {"ostree_checkout", needs("ostree"), Ostree, Contender::kLinks},
      {"fuse_overlayfs", needs("fuse-overlayfs"), FuseOverlayfs, Contender::kMount},
  };
}

// What takes away again what it staged.
inline Work Unstage(const Contender& contender, const std::string& at) {
  if (contender.of_strata) return Process({StrataExecutable(), "unstage", at});
  if (contender.kind == Contender::kMount) return Process({"umount", at});
  return Process({"rm", "-rf", at});
}

// --- The cases

// Takes a staging away outside the clock, without deleting: what is mounted is unmounted, and
// strata's records move out of the store, as each is looked at by every `strata stage`.
inline void TakeAway(const BenchStore& bench, const std::string& at) {
  while (::umount2(at.c_str(), UMOUNT_NOFOLLOW) == 0) {
  }
  while (::waitpid(-1, nullptr, 0) > 0) {  // daemons of fuse-overlayfs: see AdoptOrphans
  }
  const std::string records = bench.store().path() + "/stages-at";
  ::rename(records.c_str(), (bench.FreshDirectory() + "/stages-at").c_str());
  ::mkdir(records.c_str(), 0700);
}

// Processes that are left become children of this one, so that it can wait for their end.
inline void AdoptOrphans() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

}  // namespace strata::bench
