// SPDX-License-Identifier: Apache-2.0
//
// Real overlay mounts for tests: in a child, in a user and mount namespace of its own, so that no
// privilege is needed and nothing is left behind. And what such a tree shows, as comparable text.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/io.h"
#include "base/path.h"
#include "base/result.h"
#include "base/sys.h"

namespace strata::testing {

// What one entry of a tree is, apart from its owner.
struct TreeEntry {
  std::string facts;     // type, mode without setuid and setgid, mtime, content, target, attributes
  unsigned special = 0;  // setuid and setgid
  std::string group;     // the first path (sorted) with the same inode
};
using Tree = std::map<std::string, TreeEntry>;  // by path; the root is left out

inline std::string AttributesOf(int fd) {
  std::string names(65536, '\0');
  ssize_t size = ::flistxattr(fd, names.data(), names.size());
  names.resize(size > 0 ? static_cast<size_t>(size) : 0);
  std::vector<std::string> list;
  for (size_t at = 0; at < names.size();) {
    std::string name(&names[at]);
    at += name.size() + 1;
    if (name.compare(0, 5, "user.") != 0) continue;
    std::string value(65536, '\0');
    size = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
    value.resize(size > 0 ? static_cast<size_t>(size) : 0);
    list.push_back(QuotePath(name + "=" + value));
  }
  std::sort(list.begin(), list.end());
  return fmt::format("[{}]", fmt::join(list, " "));
}

// The kernel lists a whiteout in a directory that merges with nothing, though it cannot be reached.
// A tree that is composed must not show that, and everything in it is the caller's.
enum class Strict { kNo, kYes };

inline Result<void> ReadTreeIn(int dir_fd, const std::string& prefix, Strict strict, Tree& tree,
                               std::map<std::pair<dev_t, ino_t>, std::string>& inodes) {
  DIR* dir = ::fdopendir(::fcntl(dir_fd, F_DUPFD_CLOEXEC, 3));
  if (dir == nullptr) return FailSys(errno, "fdopendir", prefix);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir)) names.emplace_back(entry->d_name);
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    const std::string path = prefix + name;
    struct stat st;
    int rc = sys::FstatAt(dir_fd, name.c_str(), &st);
    if (rc == -ENOENT && strict == Strict::kNo) continue;
    if (rc < 0) return FailSys(-rc, "fstatat", path);
    if (strict == Strict::kYes && (st.st_uid != ::geteuid() || st.st_gid != ::getegid())) {
      return Fail(Errc::kInvalid, "{} is of {}:{}", path, st.st_uid, st.st_gid);
    }
    if (tree.count(path) != 0) return Fail(Errc::kInvalid, "{} is listed twice", path);
    TreeEntry& entry = tree[path];
    entry.special = st.st_mode & 06000;
    entry.group = path;
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      entry.group = inodes.try_emplace({st.st_dev, st.st_ino}, path).first->second;
    }
    entry.facts =
        fmt::format("{:06o} {}.{:09}", st.st_mode & ~06000U, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
      STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, name, O_RDONLY | O_NOFOLLOW));
      entry.facts += " " + AttributesOf(fd.get());
      if (S_ISREG(st.st_mode)) {
        STRATA_ASSIGN(std::string content, ReadAll(fd.get(), path));
        entry.facts += " " + Sha256::Of(content.data(), content.size()).Hex();
      } else {
        STRATA_TRY(ReadTreeIn(fd.get(), path + "/", strict, tree, inodes));
      }
    } else if (S_ISLNK(st.st_mode)) {
      std::string target(4096, '\0');
      int64_t size = sys::ReadlinkAt(dir_fd, name.c_str(), target.data(), target.size());
      target.resize(size > 0 ? static_cast<size_t>(size) : 0);
      entry.facts += " -> " + target;
    } else if (S_ISCHR(st.st_mode)) {
      entry.facts += fmt::format(" {}", st.st_rdev);
    }
  }
  return {};
}

// `root_fd` must be readable in full by the caller.
inline Result<Tree> ReadTree(int root_fd, Strict strict = Strict::kNo) {
  Tree tree;
  std::map<std::pair<dev_t, ino_t>, std::string> inodes;
  STRATA_TRY(ReadTreeIn(root_fd, "", strict, tree, inodes));
  return tree;
}

// Runs `body` in a child that is root of a fresh user namespace; returns what it writes to `out`.
inline Result<std::string> InNamespace(const std::function<Result<std::string>()>& body) {
  STRATA_ASSIGN(Pipe pipe, MakePipe());
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  pid_t pid = ::fork();
  if (pid < 0) return FailSys(errno, "fork");
  if (pid == 0) {
    pipe.read.reset();
    auto run = [&]() -> Result<std::string> {
      if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return FailSys(errno, "unshare");
      auto write = [](const char* path, const std::string& text) -> Result<void> {
        STRATA_ASSIGN(UniqueFd fd, OpenAt(AT_FDCWD, path, O_WRONLY));
        return WriteAll(fd.get(), text, path);
      };
      STRATA_TRY(write("/proc/self/setgroups", "deny"));
      STRATA_TRY(write("/proc/self/uid_map", fmt::format("0 {} 1", uid)));
      STRATA_TRY(write("/proc/self/gid_map", fmt::format("0 {} 1", gid)));
      ::umask(022);
      return body();
    };
    Result<std::string> result = run();
    std::string text = result ? "+" + *result : "-" + result.error().message();
    static_cast<void>(WriteAll(pipe.write.get(), text, "pipe"));
    sys::ExitNow(0);
  }
  pipe.write.reset();
  Result<std::string> text = ReadAll(pipe.read.get(), "pipe");
  int status;
  ::waitpid(pid, &status, 0);
  STRATA_TRY(text);
  if (text->empty()) return Fail(Errc::kSystem, "the child died, wait status {:#x}", status);
  if ((*text)[0] == '-') return Fail(Errc::kSystem, "in the child: {}", text->substr(1));
  return text->substr(1);
}

struct OverlayDirs {
  std::vector<std::string> lower;  // bottom first
  std::string upper;               // empty: read-only
  std::string work;
};

// For use in InNamespace: a mount that is attached nowhere.
inline Result<UniqueFd> MountOverlay(const OverlayDirs& dirs) {
  STRATA_ASSIGN(UniqueFd fs, sys::CheckFd(sys::FsOpen("overlay", 0), "fsopen", "overlay"));
  auto set = [&](unsigned command, const char* key, const char* value) {
    return sys::Check(sys::FsConfig(fs.get(), command, key, value, 0), "fsconfig",
                      key != nullptr ? key : "create");
  };
  for (auto it = dirs.lower.rbegin(); it != dirs.lower.rend(); ++it) {
    STRATA_TRY(set(FSCONFIG_SET_STRING, "lowerdir+", it->c_str()));
  }
  STRATA_TRY(set(FSCONFIG_SET_FLAG, "userxattr", nullptr));
  if (!dirs.upper.empty()) {
    STRATA_TRY(set(FSCONFIG_SET_STRING, "upperdir", dirs.upper.c_str()));
    STRATA_TRY(set(FSCONFIG_SET_STRING, "workdir", dirs.work.c_str()));
    STRATA_TRY(set(FSCONFIG_SET_FLAG, "volatile", nullptr));
  }
  STRATA_TRY(set(FSCONFIG_CMD_CREATE, nullptr, nullptr));
  return sys::CheckFd(sys::FsMount(fs.get(), 0, 0), "fsmount");
}

// Mounts and runs `body` on the root, in a child.
inline Result<void> InOverlay(const OverlayDirs& dirs,
                              const std::function<Result<void>(int root_fd)>& body) {
  Result<std::string> done = InNamespace([&]() -> Result<std::string> {
    STRATA_ASSIGN(UniqueFd mount, MountOverlay(dirs));
    STRATA_ASSIGN(UniqueFd root, OpenAt(mount.get(), ".", O_RDONLY | O_DIRECTORY));
    STRATA_TRY(body(root.get()));
    return std::string();
  });
  if (!done) return Unexpected(done.error());
  return {};
}

inline std::string PackTree(const Tree& tree) {
  std::string out;
  for (const auto& [path, entry] : tree) {
    for (const std::string& field :
         {path, entry.facts, std::to_string(entry.special), entry.group}) {
      out += field;
      out += '\0';
    }
  }
  return out;
}

inline Tree UnpackTree(const std::string& text) {
  Tree tree;
  std::vector<std::string> fields;
  for (size_t at = 0; at < text.size(); at += fields.back().size() + 1) {
    fields.emplace_back(&text[at]);
  }
  for (size_t i = 0; i + 3 < fields.size(); i += 4) {
    tree[fields[i]] = {fields[i + 1], static_cast<unsigned>(std::stoul(fields[i + 2])),
                       fields[i + 3]};
  }
  return tree;
}

// Reads the tree that `open` finds, as root of a namespace: modes do not matter.
inline Result<Tree> ReadTreeAsRoot(const std::function<Result<UniqueFd>()>& open) {
  STRATA_ASSIGN(std::string text, InNamespace([&]() -> Result<std::string> {
                  STRATA_ASSIGN(UniqueFd root, open());
                  STRATA_ASSIGN(Tree tree, ReadTree(root.get()));
                  return PackTree(tree);
                }));
  return UnpackTree(text);
}

inline Result<Tree> ReadOverlay(const OverlayDirs& dirs) {
  return ReadTreeAsRoot([&]() -> Result<UniqueFd> {
    STRATA_ASSIGN(UniqueFd mount, MountOverlay(dirs));
    return OpenAt(mount.get(), ".", O_RDONLY | O_DIRECTORY);
  });
}

inline Result<Tree> ReadDirectory(const std::string& path) {
  return ReadTreeAsRoot([&] { return OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY); });
}

}  // namespace strata::testing
