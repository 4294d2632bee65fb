// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <set>
#include <thread>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

class LibImport : public Fixture {
 protected:
  // An archive with one file, as tar makes it.
  std::string Tar(const std::string& name, const std::string& content) {
    Write("packed/" + name, content);
    const std::string tar = Path("packed.tar");
    const std::string command =
        "tar -C '" + Path("packed") + "' --owner=0 --group=0 -cf '" + tar + "' '" + name + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return tar;
  }
  Layer ImportPath(const std::string& path, const strata_import_options* options = nullptr) {
    strata_layer* layer = nullptr;
    Good(strata_import(store(), path.c_str(), options, &layer, error()));
    return Layer(layer);
  }
  Layer ImportFd(int fd) {
    strata_layer* layer = nullptr;
    Good(strata_import_fd(store(), fd, nullptr, &layer, error()));
    return Layer(layer);
  }
};

TEST_F(LibImport, AnArchiveByPathFdAndPipeIsOneLayer) {
  const std::string tar = Tar("file", "content");
  Layer by_path = ImportPath(tar);
  EXPECT_EQ(strata_layer_existed(by_path.get()), 0);
  EXPECT_EQ(strata_layer_entries(by_path.get()), 1U);
  EXPECT_EQ(strata_layer_bytes(by_path.get()), 7U);

  const int fd = ::open(tar.c_str(), O_RDONLY | O_CLOEXEC);
  Layer by_fd = ImportFd(fd);
  EXPECT_EQ(strata_layer_existed(by_fd.get()), 1);
  EXPECT_STREQ(strata_layer_id(by_fd.get()), strata_layer_id(by_path.get()));
  EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC) << "the descriptor is the caller's";
  ::close(fd);

  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  std::thread writer([&, bytes = Read(tar)] {
    EXPECT_EQ(::write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(ends[1]);
  });
  Layer by_pipe = ImportFd(ends[0]);
  writer.join();
  ::close(ends[0]);
  EXPECT_STREQ(strata_layer_id(by_pipe.get()), strata_layer_id(by_path.get()));
}

TEST_F(LibImport, ADescriptorIsReadFromWhereItIs) {
  const std::string tar = Tar("file", "content");
  const std::string bytes = Read(tar);
  std::ofstream(Path("behind")) << std::string(1000, 'x') << bytes;
  const int fd = ::open(Path("behind").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::lseek(fd, 1000, SEEK_SET), 1000);
  EXPECT_STREQ(strata_layer_id(ImportFd(fd).get()), strata_layer_id(ImportPath(tar).get()));
  ::close(fd);
}

TEST_F(LibImport, ADirectoryByItsDescriptorIsThatDirectory) {
  Write("tree/etc/file", "content");
  const int fd = ::open(Path("tree").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Layer by_path = ImportPath(Path("tree"));
  std::filesystem::rename(Path("tree"), Path("elsewhere"));
  Write("tree/other", "not looked at");
  EXPECT_STREQ(strata_layer_id(ImportFd(fd).get()), strata_layer_id(by_path.get()));
  EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC) << "the descriptor is the caller's";
  ::close(fd);
  strata_layer* layer = nullptr;
  EXPECT_LT(strata_import_fd(store(), fd, nullptr, &layer, error()), 0) << "it is closed";
  EXPECT_EQ(strata_error_errno(report_.get()), EBADF);
  EXPECT_EQ(layer, nullptr);
  const int path_only = ::open(Path("elsewhere").c_str(), O_PATH | O_CLOEXEC);
  EXPECT_STREQ(strata_layer_id(ImportFd(path_only).get()), strata_layer_id(by_path.get()));
  ::close(path_only);
}

TEST_F(LibImport, ErrorsNameTheSource) {
  strata_layer* layer = nullptr;
  Bad(strata_import(store(), Path("missing").c_str(), nullptr, &layer, error()), STRATA_E_SYSTEM);
  EXPECT_EQ(message(), "import " + Path("missing") + ": open " + Path("missing") +
                           ": No such file or directory");
  EXPECT_EQ(strata_error_errno(report_.get()), ENOENT);
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Bad(strata_import_fd(store(), fd, nullptr, &layer, error()), STRATA_E_CORRUPT);
  EXPECT_EQ(message().find("import descriptor " + std::to_string(fd) + ": "), 0U) << message();
  ::close(fd);
  Bad(strata_import_fd(store(), -1, nullptr, &layer, error()), STRATA_E_SYSTEM);
  EXPECT_EQ(layer, nullptr);
}

TEST_F(LibImport, OptionsAreThoseOfTheCommandLine) {
  Write("tree/file", "x");
  const char* commands[] = {"ldconfig", nullptr};
  strata_import_options options{};
  options.size = sizeof options;
  options.ref = "named";
  options.set_mtime = 1;
  options.mtime = 12345;
  options.integrate = commands;
  options.jobs = 1;
  Layer layer = ImportPath(Path("tree"), &options);
  strata_target target{};
  target.size = sizeof target;
  Good(strata_resolve(store(), "named", &target, error()));
  EXPECT_STREQ(target.id, strata_layer_id(layer.get()));
  options.ref = "-wrong";
  strata_layer* none = nullptr;
  Bad(strata_import(store(), Path("tree").c_str(), &options, &none, error()), STRATA_E_INVALID);
  options.ref = nullptr;
  options.format = STRATA_FORMAT_TAR;
  Bad(strata_import(store(), Path("tree").c_str(), &options, &none, error()), STRATA_E_INVALID);
}

TEST_F(LibImport, WhatIsLeftOutIsAMessage) {
  Write("tree/file", "x");
  ASSERT_EQ(::mkfifo(Path("tree/fifo").c_str(), 0600), 0);
  std::string socket_maker = "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('" +
                             Path("tree/socket") + "')\"";
  ASSERT_EQ(std::system(socket_maker.c_str()), 0);
  std::vector<std::string> messages;
  strata_events events{};
  events.size = sizeof events;
  events.user = &messages;
  events.message = [](void* user, strata_message_kind kind, const char* text) {
    EXPECT_EQ(kind, STRATA_MESSAGE_WARNING);
    static_cast<std::vector<std::string>*>(user)->push_back(text);
  };
  strata_import_options options{};
  options.size = sizeof options;
  options.events = &events;
  ImportPath(Path("tree"), &options);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_NE(messages[0].find("socket"), std::string::npos);
}

TEST_F(LibImport, ProgressIsToldWhileItTakesLongAndInTheEnd) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  struct Told {
    std::atomic<int> times{0};
    strata_progress last{};
  } told;
  std::thread writer([&, bytes = Read(Tar("file", std::string(100000, 'x')))] {
    EXPECT_EQ(::write(ends[1], bytes.data(), 4096), 4096);
    for (int i = 0; i < 60000 && told.times < 1; ++i) ::usleep(2000);
    for (size_t at = 4096; at < bytes.size();) {
      ssize_t size = ::write(ends[1], bytes.data() + at, bytes.size() - at);
      if (size <= 0) break;
      at += static_cast<size_t>(size);
    }
    ::close(ends[1]);
  });
  strata_events events{};
  events.size = sizeof events;
  events.user = &told;
  events.progress = [](void* user, const strata_progress* progress) {
    EXPECT_EQ(progress->size, sizeof *progress);
    auto& seen = *static_cast<Told*>(user);
    EXPECT_TRUE(seen.times == 0 || std::memcmp(progress, &seen.last, sizeof *progress) != 0);
    seen.last = *progress;
    ++seen.times;
  };
  strata_import_options options{};
  options.size = sizeof options;
  options.events = &events;
  strata_layer* layer = nullptr;
  Good(strata_import_fd(store(), ends[0], &options, &layer, error()));
  writer.join();
  ::close(ends[0]);
  strata_layer_free(layer);
  EXPECT_GE(told.times, 2);
  EXPECT_EQ(told.last.entries, 1U);
  EXPECT_GT(told.last.bytes, 100000U);

  // What is over at once is told at its end, if at all; on a busy machine it may not be over at
  // once.
  for (int i = 0; i < 50; ++i) {
    told.times = 0;
    told.last = {};
    Write("tree/file", std::to_string(i));
    ImportPath(Path("tree"), &options);
    if (told.times <= 1) return;
  }
  ADD_FAILURE() << "nobody waits for that";
}

}  // namespace
}  // namespace libstrata
