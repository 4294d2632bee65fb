// SPDX-License-Identifier: Apache-2.0
//
// A layer never changes: nothing that could still write to what is captured may be left.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <thread>

#include "tests/libstrata/stage_fixture.h"

namespace libstrata {
namespace {

// Keeps something of the mount at `place`, and returns what lets it go.
using Hold = std::function<std::function<void()>(const std::string& place)>;

std::function<void()> Closes(int fd) {
  EXPECT_GE(fd, 0);
  return [fd] { ::close(fd); };
}

std::function<void()> HoldDescriptor(const std::string& place) {
  return Closes(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}
std::function<void()> HoldOpenFile(const std::string& place) {
  return Closes(::open((place + "/file").c_str(), O_WRONLY | O_CLOEXEC));
}
// It could be opened for writing through /proc.
std::function<void()> HoldFileOpenForReading(const std::string& place) {
  return Closes(::open((place + "/file").c_str(), O_RDONLY | O_CLOEXEC));
}
std::function<void()> HoldDeletedFile(const std::string& place) {
  const std::string path = place + "/deleted";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  EXPECT_EQ(::unlink(path.c_str()), 0);
  return Closes(fd);
}
std::function<void()> HoldMapping(const std::string& place) {
  const int fd = ::open((place + "/file").c_str(), O_RDWR | O_CLOEXEC);
  void* memory = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT_NE(memory, MAP_FAILED);
  ::close(fd);
  return [memory] {
    *static_cast<char*>(memory) = '!';  // after the refusal: it is captured
    ::munmap(memory, 1);
  };
}
std::function<void()> HoldClone(const std::string& place) {
  return Closes(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, place.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
}
// Nobody has it open: it is on its way through a socket.
std::function<void()> HoldMessage(const std::string& place) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const int fd = ::open((place + "/file").c_str(), O_WRONLY | O_CLOEXEC);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::copy_n(reinterpret_cast<const char*>(&fd), sizeof fd, CMSG_DATA(header));
  EXPECT_EQ(::sendmsg(ends[0], &message, 0), 1);
  ::close(fd);
  return [first = ends[0], second = ends[1]] {
    ::close(first);
    ::close(second);
  };
}

struct Attack {
  const char* name;
  Hold hold;
  const char* captured;
};
const Attack kAttacks[] = {
    {"a descriptor of the mount", HoldDescriptor, "written"},
    {"a file open for writing", HoldOpenFile, "written"},
    {"a file open for reading", HoldFileOpenForReading, "written"},
    {"a deleted file", HoldDeletedFile, "written"},
    {"a mapping", HoldMapping, "!ritten"},
    {"a clone of the mount", HoldClone, "written"},
    {"a descriptor in a socket", HoldMessage, "written"},
};

class LibStageCapture : public StageFixture {};

// The attacks at the same time, each by a thread with a stage of its own: a refusal takes a second.
TEST_F(LibStageCapture, IsRefusedWhileAnythingOfTheMountIsHeld) {
  Import("file", "x", "base");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    auto capture = [&](const Attack& attack, const std::string& place) {
      strata_error* error = nullptr;
      strata_stage* stage = nullptr;
      EXPECT_EQ(strata_stage_open(root.get(), nullptr, &stage, &error), 0);
      EXPECT_EQ(strata_stage_mount_at(stage, place.c_str(), &error), 0);
      WriteTo(place + "/file", "written");
      const std::function<void()> let_go = attack.hold(place);
      EXPECT_EQ(::umount2(place.c_str(), MNT_DETACH), 0);

      strata_layer* layer = nullptr;
      EXPECT_EQ(strata_stage_capture(stage, nullptr, &layer, &error), STRATA_E_BUSY) << attack.name;
      EXPECT_STREQ(strata_error_message(error),
                   "capture: something still holds the mount, and could write to the layer");
      EXPECT_NE(std::string(strata_error_hint(error)).find("capture again"), std::string::npos);
      strata_error_free(error);
      EXPECT_EQ(layer, nullptr);

      let_go();
      EXPECT_EQ(strata_stage_capture(stage, nullptr, &layer, nullptr), 0) << attack.name;
      strata_stage_free(stage);
      Root made = [&] {
        strata_set* set = nullptr;
        strata_root* composed = nullptr;
        EXPECT_EQ(strata_set_new(store(), &set, nullptr), 0);
        EXPECT_EQ(strata_set_add(set, strata_layer_id(layer), nullptr), 0);
        EXPECT_EQ(strata_compose(set, nullptr, &composed, nullptr), 0);
        strata_set_free(set);
        return Root(composed);
      }();
      EXPECT_EQ(Read(std::string(strata_root_lower(made.get(), 0)) + "/file"), attack.captured)
          << attack.name;
      strata_layer_free(layer);
    };
    std::vector<std::thread> threads;
    for (const Attack& each : kAttacks) {
      const std::string place = NewDirectory("mnt" + std::to_string(threads.size()));
      threads.emplace_back([&, place] { capture(each, place); });
    }
    for (std::thread& thread : threads) thread.join();
  });
}

TEST_F(LibStageCapture, IsRefusedWhileAnotherMountNamespaceHasACopy) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    Stage stage = OpenStage(root.get());
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    WriteTo(place + "/file", "written");
    int ready[2];
    int go[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      char byte = ::unshare(CLONE_NEWNS) == 0 ? 'y' : 'n';
      ::close(go[1]);
      if (::write(ready[1], &byte, 1) != 1 || ::read(go[0], &byte, 1) != 0) ::_exit(1);
      ::_exit(0);
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    strata_layer* layer = nullptr;
    Bad(strata_stage_capture(stage.get(), nullptr, &layer, error()), STRATA_E_BUSY);
    for (int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));
    strata_layer_free(layer);
  });
}

TEST_F(LibStageCapture, TellsWhatWasTakenAway) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    Stage stage = OpenStage(root.get());
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    std::filesystem::remove(place + "/file");
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
    strata_layer* layer = nullptr;
    Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));
    std::string told;
    auto each = [](void* user, const strata_entry* entry) {
      EXPECT_EQ(entry->type, STRATA_ENTRY_WHITEOUT);
      EXPECT_TRUE(entry->sha256 == nullptr && entry->target == nullptr);
      static_cast<std::string*>(user)->append(entry->path);
      return 0;
    };
    Good(strata_list_files(layer, each, &told, error()));
    EXPECT_EQ(told, "/file");
    strata_layer_free(layer);
  });
}

TEST_F(LibStageCapture, WorksInAChildThatSharesTheStore) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  const std::string other = NewDirectory("other");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    auto capture = [&](Stage stage) {
      strata_layer* layer = nullptr;
      Good(strata_stage_capture(stage.get(), nullptr, &layer, error()));
      strata_layer_free(layer);
    };
    Stage stage = OpenStage(root.get());
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    const pid_t child = ::fork();
    if (child == 0) {
      Stage theirs = OpenStage(root.get());
      Good(strata_stage_mount_at(theirs.get(), other.c_str(), error()));
      EXPECT_EQ(::umount2(other.c_str(), 0), 0);
      EXPECT_EQ(::umount2(place.c_str(), 0), 0);  // what the parent waits for
      capture(std::move(theirs));
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    capture(std::move(stage));
  });
}

TEST_F(LibStageCapture, NeedsAnInotifyInstanceWhichIsSaidBeforeThereIsAMount) {
  Import("file", "x", "base");
  const std::string place = NewDirectory("mnt");
  InNamespaces([&] {
    Store own = Open();
    store_.swap(own);
    Root root = Compose({"base"});
    const std::string limit = "/proc/sys/user/max_inotify_instances";  // of this user namespace
    const std::string before = Read(limit);
    WriteTo(limit, "0");
    Stage stage = OpenStage(root.get());
    Bad(strata_stage_mount_at(stage.get(), place.c_str(), error()), STRATA_E_SYSTEM);
    EXPECT_EQ(strata_error_errno(report_.get()), EMFILE);
    EXPECT_NE(hint().find("max_user_instances"), std::string::npos) << hint();
    WriteTo(limit, before);
    Good(strata_stage_mount_at(stage.get(), place.c_str(), error()));
    EXPECT_EQ(::umount2(place.c_str(), 0), 0);
  });
}

}  // namespace
}  // namespace libstrata
