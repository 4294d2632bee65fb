// SPDX-License-Identifier: Apache-2.0
//
// io, TempDir, RemoveTree and FileLock, on a real file system.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/file_lock.h"
#include "base/io.h"
#include "base/id_map.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"

namespace strata {
namespace {

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* tmp = std::getenv("TMPDIR");
    auto parent = OpenAt(AT_FDCWD, tmp != nullptr ? tmp : "/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent);
    parent_ = std::move(*parent);
    auto dir = TempDir::Create(parent_.get(), "strata-files-");
    ASSERT_TRUE(dir) << dir.error().message();
    dir_ = std::move(*dir);
  }
  int fd() const { return dir_.fd(); }
  bool Exists(const std::string& path) const {
    struct stat st;
    return sys::FstatAt(fd(), path.c_str(), &st) == 0;
  }
  void Touch(const std::string& path) {
    EXPECT_TRUE(OpenAt(fd(), path, O_WRONLY | O_CREAT, 0600)) << path;
  }

  UniqueFd parent_;
  TempDir dir_;
};

TEST_F(FilesTest, ReplaceFileLeavesOneCompleteFile) {
  EXPECT_TRUE(ReplaceFile(fd(), "f", "one"));
  EXPECT_TRUE(ReplaceFile(fd(), "f", "two", 0600));
  EXPECT_EQ(*ReadFile(fd(), "f"), "two");
  EXPECT_TRUE(RemoveTree(fd(), "f"));
  EXPECT_EQ(sys::UnlinkAt(parent_.get(), dir_.name().c_str(), AT_REMOVEDIR), 0)
      << "a temporary file is left";
  ASSERT_EQ(sys::MkdirAt(parent_.get(), dir_.name().c_str(), 0700), 0);
}

TEST_F(FilesTest, ReadFileKeepsToItsLimit) {
  EXPECT_TRUE(ReplaceFile(fd(), "f", std::string(100, 'x')));
  EXPECT_EQ(ReadFile(fd(), "f", 100)->size(), 100U);
  EXPECT_EQ(ReadFile(fd(), "f", 99).error().code(), Errc::kInvalid);
  EXPECT_EQ(ReadFile(fd(), "none").error().message(), "open none: No such file or directory");
}

TEST_F(FilesTest, ReadAllReadsPipes) {
  auto pipe = MakePipe();
  ASSERT_TRUE(pipe);
  EXPECT_TRUE(WriteAll(pipe->write.get(), "text", "pipe"));
  pipe->write.reset();
  EXPECT_EQ(*ReadAll(pipe->read.get(), "pipe"), "text");
}

TEST_F(FilesTest, MakeDirsMakesParentsAndMindsNothingThatIsThere) {
  EXPECT_TRUE(MakeDirs(fd(), "a/b/c", 0700));
  EXPECT_TRUE(MakeDirs(fd(), "a/b/c", 0700));
  EXPECT_TRUE(Exists("a/b/c"));
  Touch("file");
  EXPECT_EQ(MakeDirs(fd(), "file", 0700).error().sys_errno(), ENOTDIR);
  EXPECT_EQ(MakeDirs(fd(), "file/x", 0700).error().sys_errno(), ENOTDIR);
}

TEST_F(FilesTest, RemoveTreeRemovesWhateverTheModes) {
  EXPECT_TRUE(MakeDirs(fd(), "t/closed/in", 0700));
  EXPECT_TRUE(MakeDirs(fd(), "t/ro", 0700));
  Touch("t/closed/in/f");
  Touch("t/ro/f");
  for (const char* path : {"t/closed/in", "t/closed"}) {
    ASSERT_EQ(::fchmodat(fd(), path, 0, 0), 0);
  }
  ASSERT_EQ(::fchmodat(fd(), "t/ro", 0555, 0), 0);
  ASSERT_EQ(::fchmodat(fd(), "t", 0555, 0), 0);
  EXPECT_TRUE(RemoveTree(fd(), "t"));
  EXPECT_FALSE(Exists("t"));
}

TEST_F(FilesTest, RemoveTreeFollowsNoLink) {
  EXPECT_TRUE(MakeDirs(fd(), "keep", 0700));
  Touch("keep/f");
  EXPECT_TRUE(MakeDirs(fd(), "t", 0700));
  ASSERT_EQ(sys::SymlinkAt("../keep", fd(), "t/link"), 0);
  EXPECT_TRUE(RemoveTree(fd(), "t"));
  EXPECT_TRUE(Exists("keep/f"));
}

TEST_F(FilesTest, RemoveTreeNeverGoesIntoAMount) {
  EXPECT_TRUE(MakeDirs(fd(), "keep", 0700));
  Touch("keep/f");
  EXPECT_TRUE(MakeDirs(fd(), "t/on/here", 0700));
  Touch("t/f");
  auto done = RunInMapping(SingleId(), [&]() -> Result<void> {  // in a namespace that may mount
    STRATA_TRY(sys::Check(sys::Unshare(CLONE_NEWNS), "unshare"));
    // By path: the descriptor leads to the mounts of the other namespace.
    char path[4096] = {};
    if (::readlink(fmt::format("/proc/self/fd/{}", fd()).c_str(), path, sizeof path - 1) < 0 ||
        ::chdir(path) != 0) {
      return FailSys(errno, "chdir", path);
    }
    for (const char* place : {"t/on/here", "t/on"}) {
      STRATA_TRY(sys::Check(sys::Mount("keep", place, nullptr, MS_BIND, nullptr), "mount", place));
      UniqueFd here(sys::OpenAt(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY));
      auto removed = RemoveTree(here.get(), "t");
      if (removed || removed.error().sys_errno() != EBUSY) return Fail(Errc::kInvalid, "no EBUSY");
      removed = RemoveTree(here.get(), place);
      if (removed || removed.error().sys_errno() != EBUSY) return Fail(Errc::kInvalid, "of itself");
    }
    return {};
  });
  EXPECT_TRUE(done) << done.error().message();
  EXPECT_TRUE(Exists("keep/f"));
  EXPECT_FALSE(Exists("t/f"));
  EXPECT_TRUE(RemoveTree(fd(), "t"));
}

TEST_F(FilesTest, RemoveTreeOfNothingOrAFileIsFine) {
  EXPECT_TRUE(RemoveTree(fd(), "none"));
  Touch("f");
  EXPECT_TRUE(RemoveTree(fd(), "f"));
  EXPECT_FALSE(Exists("f"));
}

TEST_F(FilesTest, RemoveTreeNeedsFewDescriptorsHoweverDeep) {
  struct rlimit old;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  struct rlimit low = {128, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  std::string path = "t";
  ASSERT_EQ(sys::MkdirAt(fd(), "t", 0700), 0);
  for (int i = 0; i < 600; ++i) {
    path += "/d";
    ASSERT_EQ(sys::MkdirAt(fd(), path.c_str(), 0700), 0);
  }
  Touch(path + "/f");
  std::string at = path;
  for (int i = 0; i < 600; ++i) {
    ASSERT_EQ(::fchmodat(fd(), at.c_str(), 0555, 0), 0);
    at.resize(at.size() - 2);
  }
  auto removed = RemoveTree(fd(), "t");
  EXPECT_TRUE(removed) << removed.error().message();
  EXPECT_FALSE(Exists("t"));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
}

TEST_F(FilesTest, ATempDirIsLockedAndGoesWithItsOwner) {
  std::string name;
  {
    auto temp = TempDir::Create(fd(), "x-");
    ASSERT_TRUE(temp);
    name = temp->name();
    EXPECT_TRUE(MakeDirs(temp->fd(), "a/b", 0700));
    auto lock = FileLock::OnDirectory(fd(), name, LockMode::kShared, LockWait::kFail);
    ASSERT_FALSE(lock);
    EXPECT_EQ(lock.error().code(), Errc::kBusy);
  }
  EXPECT_FALSE(Exists(name));
}

TEST_F(FilesTest, ATempDirByAnAbsolutePathGoesWithItsOwner) {
  std::string name;
  {
    auto temp = TempDir::Create(AT_FDCWD, fmt::format("/proc/self/fd/{}/x-", fd()));
    ASSERT_TRUE(temp);
    name = temp->name();
    EXPECT_TRUE(Exists(name));
  }
  EXPECT_FALSE(Exists(name));
}

TEST_F(FilesTest, AReleasedTempDirStays) {
  auto temp = TempDir::Create(fd(), "x-");
  ASSERT_TRUE(temp);
  std::string name = temp->name();
  EXPECT_TRUE(temp->Release().valid());
  temp = TempDir();
  EXPECT_TRUE(Exists(name));
}

TEST_F(FilesTest, SharedLocksKeepAnExclusiveOneOut) {
  EXPECT_TRUE(MakeDirs(fd(), "d", 0700));
  auto first = FileLock::OnDirectory(fd(), "d", LockMode::kShared, LockWait::kFail);
  auto second = FileLock::OnDirectory(fd(), "d", LockMode::kShared, LockWait::kFail);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(FileLock::OnDirectory(fd(), "d", LockMode::kExclusive, LockWait::kFail));
  first = FileLock();
  UniqueFd duplicate(::fcntl(second->fd(), F_DUPFD_CLOEXEC, 0));
  second = FileLock();
  EXPECT_FALSE(FileLock::OnDirectory(fd(), "d", LockMode::kExclusive, LockWait::kFail))
      << "a duplicate holds it";
  duplicate.reset();
  EXPECT_TRUE(FileLock::OnDirectory(fd(), "d", LockMode::kExclusive, LockWait::kFail));
}

TEST_F(FilesTest, ALockOnAFileMakesIt) {
  auto lock = FileLock::OnFile(fd(), "lock", LockMode::kExclusive, LockWait::kBlock);
  EXPECT_TRUE(lock);
  EXPECT_TRUE(Exists("lock"));
  EXPECT_EQ(
      FileLock::OnDirectory(fd(), "none", LockMode::kShared, LockWait::kFail).error().sys_errno(),
      ENOENT);
}

}  // namespace
}  // namespace strata
