// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <thread>

#include "tests/libstrata/stage_fixture.h"

namespace libstrata {
namespace {

class LibStage : public StageFixture {};

TEST_F(LibStage, AMountIsDetachedAndWhatIsWrittenIsCaptured) {
  Import("etc/base", "b", "base");
  Import("etc/app", "a", "app");
  const std::string place = NewDirectory("mnt");
  std::string id;
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);  // one of this mount namespace
    Root root = Compose({"base", "app"});
    Stage stage = OpenStage(root.get());
    int fd = -1;
    Good(strata_stage_mount(stage.get(), &fd, error()));
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(::faccessat(fd, "etc/base", F_OK, 0), 0);
    EXPECT_EQ(::syscall(SYS_move_mount, fd, "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH),
              0);
    ::close(fd);
    EXPECT_EQ(Read(place + "/etc/app"), "a");
    WriteTo(place + "/etc/new", "new");
    std::filesystem::remove(place + "/etc/base");
    strata_layer* layer = nullptr;
    Bad(strata_stage_capture(stage.get(), nullptr, &layer, error()), STRATA_E_BUSY);
    EXPECT_NE(message().find(place), std::string::npos) << message();
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    strata_capture_options options{};
    options.size = sizeof options;
    options.ref = "captured";
    Good(strata_stage_capture(stage.get(), &options, &layer, error()));
    EXPECT_EQ(strata_layer_entries(layer), 3U);  // etc, its new file, and a whiteout
    EXPECT_EQ(strata_layer_bytes(layer), 3U);
    strata_layer_free(layer);
    Bad(strata_stage_mount(stage.get(), &fd, error()), STRATA_E_INVALID);
    EXPECT_EQ(fd, -1);
    Bad(strata_stage_capture(stage.get(), nullptr, &layer, error()), STRATA_E_INVALID);
  });
  EXPECT_EQ(strata_root_depth(Compose({"base", "app", "captured"}).get()), 3U);
}

TEST_F(LibStage, AStageIsMountedOnceAndNowhereElse) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    Stage stage = OpenStage(root.get());
    Bad(strata_stage_mount_at(stage.get(), Path("missing").c_str(), error()), STRATA_E_SYSTEM);
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    EXPECT_EQ(Read(place + "/file"), "x");
    int fd = -1;
    Bad(strata_stage_mount(stage.get(), &fd, error()), STRATA_E_INVALID);
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
  });
  EXPECT_TRUE(std::filesystem::is_empty(place));
}

TEST_F(LibStage, AMountInTheNamespaceOfOneThreadIsSeenByItsCapture) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    std::thread([&] {
      EXPECT_EQ(::unshare(CLONE_FS | CLONE_NEWNS), 0);
      Store own = Open();
      store_.swap(own);
      Root root = Compose({"base"});
      Stage stage = OpenStage(root.get());
      Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
      strata_layer* layer = nullptr;
      Bad(strata_stage_capture(stage.get(), nullptr, &layer, error()), STRATA_E_BUSY);
      EXPECT_EQ(::umount2(place.c_str(), 0), 0);
      Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));
      strata_layer_free(layer);
    }).join();
  });
}

TEST_F(LibStage, AChildWithTheSamePidLeavesTheStageToItsParent) {
  Import("file", "x", "base");
  const std::string scratch = NewDirectory("scratch");
  // Its child is process 1, and so is that one's.
  auto as_first = [](const std::function<void()>& work) {
    EXPECT_EQ(::unshare(CLONE_NEWPID), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      EXPECT_EQ(::getpid(), 1);
      work();
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  };
  InNamespaces([&] {
    as_first([&] {
      Store own = Open();
      store_.swap(own);
      Root root = Compose({"base"});
      strata_stage_options options{};
      options.size = sizeof options;
      options.upper = STRATA_UPPER_DIRECTORY;
      options.directory = scratch.c_str();
      Stage stage = OpenStage(root.get(), &options);
      as_first([&] { stage.reset(); });
      EXPECT_FALSE(std::filesystem::is_empty(scratch));
      stage.reset();
      EXPECT_TRUE(std::filesystem::is_empty(scratch));
    });
  });
}

TEST_F(LibStage, AReadOnlyStageOfOneLayerCannotBeWrittenToOrCaptured) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    strata_stage_options options{};
    options.size = sizeof options;
    options.upper = STRATA_UPPER_NONE;
    Stage stage = OpenStage(root.get(), &options);
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    EXPECT_EQ(::open((place + "/new").c_str(), O_WRONLY | O_CREAT, 0600), -1);
    EXPECT_EQ(errno, EROFS);
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    strata_layer* layer = nullptr;
    Bad(strata_stage_capture(stage.get(), nullptr, &layer, error()), STRATA_E_INVALID);
  });
}

TEST_F(LibStage, MountPointsAreThereAndNotCaptured) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    const char* points[] = {"/proc", "/work/src", nullptr};
    strata_stage_options options{};
    options.size = sizeof options;
    options.mount_points = points;
    Stage stage = OpenStage(root.get(), &options);
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(place)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"file", "proc", "work"}));
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    strata_layer* layer = nullptr;
    Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));
    EXPECT_EQ(strata_layer_entries(layer), 0U);
    strata_layer_free(layer);
  });
}

TEST_F(LibStage, ScratchCanBeElsewhere) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  const std::string scratch = NewDirectory("scratch");
  Root root = Compose({"base"});
  strata_stage_options options{};
  options.size = sizeof options;
  options.upper = STRATA_UPPER_DIRECTORY;
  strata_stage* none = nullptr;
  Bad(strata_stage_open(root.get(), &options, &none, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "directory is NULL");
  options.directory = scratch.c_str();
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root here = Compose({"base"});
    Stage stage = OpenStage(here.get(), &options);
    EXPECT_FALSE(std::filesystem::is_empty(scratch));
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    WriteTo(place + "/new", "n");
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    stage.reset();
    EXPECT_TRUE(std::filesystem::is_empty(scratch));
  });
}

TEST_F(LibStage, AStageLivesWithoutTheHandlesItWasMadeOf) {
  Import("file", "x", "base");
  Root root = Compose({"base"});
  Stage stage = OpenStage(root.get());
  root.reset();
  store_.reset();
  stage.reset();
  store_ = Open();
}

TEST_F(LibStage, RootSeesAndKeepsOwners) {
  if (::geteuid() != 0) return;  // one id
  Write("tree/theirs", "t");
  Write("tree/own", "o");
  ASSERT_EQ(::chown(Path("tree/theirs").c_str(), 33, 34), 0);
  strata_import_options options{};
  options.size = sizeof options;
  options.owner = STRATA_OWNER_KEEP;
  options.ref = "base";
  strata_layer* layer = nullptr;
  Good(strata_import(store(), Path("tree").c_str(), &options, &layer, error()));
  strata_layer_free(layer);
  const std::string place = NewDirectory("mnt");
  auto owner = [&](const std::string& name) {
    struct stat st {};
    EXPECT_EQ(::stat((place + "/" + name).c_str(), &st), 0);
    return st.st_uid;
  };
  Root root = Compose({"base"});
  Stage stage = OpenStage(root.get());
  Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
  EXPECT_EQ(owner("theirs"), 33U);
  std::ofstream(place + "/theirs", std::ios::app) << "more";
  WriteTo(place + "/new", "n");
  ASSERT_EQ(::chown((place + "/new").c_str(), 1000, 1000), 0);
  EXPECT_EQ(::umount2(place.c_str(), 0), 0);
  Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));

  Root again = Compose({"base", strata_layer_id(layer)});
  for (const char* name : {"theirs", "new"}) {
    struct stat st {};
    const std::string lower = strata_root_lower(again.get(), 1);
    EXPECT_EQ(::stat((lower + "/" + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 0U) << "in the store all is the caller's";
  }
  Stage shown = OpenStage(again.get());
  Good(strata_stage_mount_at(shown.get(), place.c_str(), error()));
  EXPECT_EQ(owner("theirs"), 33U);
  EXPECT_EQ(owner("new"), 1000U);
  EXPECT_EQ(owner("own"), 0U);
  EXPECT_EQ(Read(place + "/theirs"), "tmore");
  EXPECT_EQ(::umount2(place.c_str(), 0), 0);
  strata_layer_free(layer);
}

TEST_F(LibStage, WhoMayNotMountIsToldWhatItTakes) {
  if (::geteuid() == 0) return;  // who may
  Import("file", "x", "base");
  Root root = Compose({"base"});
  Stage stage = OpenStage(root.get());
  int fd = 0;
  Bad(strata_stage_mount(stage.get(), &fd, error()), STRATA_E_SYSTEM);
  EXPECT_EQ(fd, -1);
  EXPECT_EQ(strata_error_errno(report_.get()), EPERM);
  EXPECT_NE(hint().find("CLONE_NEWUSER"), std::string::npos);
  Bad(strata_stage_mount(stage.get(), &fd, error()), STRATA_E_SYSTEM);
  EXPECT_EQ(strata_error_errno(report_.get()), EPERM) << "it can be tried again";
}

TEST_F(LibStage, ARootAtADirectoryStaysUntilItIsUnstaged) {
  Import("file", "x", "base");
  Root root = Compose({"base"});
  strata_stage_at_options options{};
  options.size = sizeof options;
  options.method = STRATA_METHOD_COPY;
  strata_method used = STRATA_METHOD_AUTO;
  Good(strata_stage_at(root.get(), Path("there").c_str(), &options, &used, error()));
  EXPECT_EQ(used, STRATA_METHOD_COPY);
  root.reset();
  WriteTo(Path("there/file"), "changed");
  Bad(strata_stage_at(Compose({"base"}).get(), Path("there").c_str(), &options, &used, error()),
      STRATA_E_EXISTS);
  Good(strata_unstage(store(), Path("there").c_str(), error()));
  EXPECT_FALSE(std::filesystem::exists(Path("there")));
  Bad(strata_unstage(store(), Path("there").c_str(), error()), STRATA_E_NOT_FOUND);
  options.read_only = 1;
  Bad(strata_stage_at(Compose({"base"}).get(), Path("there").c_str(), &options, &used, error()),
      STRATA_E_INVALID);
  options.method = static_cast<strata_method>(17);
  Bad(strata_stage_at(Compose({"base"}).get(), Path("there").c_str(), &options, &used, error()),
      STRATA_E_INVALID);
}

}  // namespace
}  // namespace libstrata
