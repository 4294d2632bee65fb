// SPDX-License-Identifier: Apache-2.0
//
// The library in a process with a life of its own: threads, forks, signals, cancellation, dlclose.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

constexpr int kThreads = 8;
constexpr int kRounds = 4;

class LibProcess : public Fixture {
 protected:
  // Everything that a client does without the right to mount, `tag` apart. False: it failed.
  static bool Work(strata_store* store, const std::string& directory, const std::string& tag) {
    const std::string tree = directory + "/work-" + tag;
    std::filesystem::create_directories(tree + "/etc");
    std::ofstream(tree + "/etc/own") << tag;
    std::ofstream(tree + "/etc/shared") << "the same";
    strata_layer* layer = nullptr;
    strata_set* set = nullptr;
    strata_root* root = nullptr;
    strata_stage* stage = nullptr;
    strata_import_options options{};
    options.size = sizeof options;
    const std::string ref = "ref-" + tag;
    options.ref = ref.c_str();
    bool good = strata_import(store, tree.c_str(), &options, &layer, nullptr) == 0 &&
                strata_set_new(store, &set, nullptr) == 0 &&
                strata_set_add(set, "base", nullptr) == 0 &&
                strata_set_add(set, ref.c_str(), nullptr) == 0 &&
                strata_compose(set, nullptr, &root, nullptr) == 0 &&
                strata_stage_open(root, nullptr, &stage, nullptr) == 0 &&
                Read(std::string(strata_root_lower(root, 1)) + "/etc/own") == tag;
    strata_stage_free(stage);
    strata_root_free(root);
    strata_set_free(set);
    strata_layer_free(layer);
    good = good && strata_untag(store, ref.c_str(), nullptr) == 0;
    std::filesystem::remove_all(tree);
    return good;
  }
  // Work on several threads, while `meanwhile` goes on here.
  template <typename Meanwhile>
  void OnThreads(const Meanwhile& meanwhile) {
    std::vector<std::thread> threads;
    std::atomic<int> failures{0};
    std::atomic<int> running{kThreads};
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < kRounds; ++round) {
          // Neighbours have the same content, and race for the same layer and root.
          const std::string tag = std::to_string(i) + "-" + std::to_string(round);
          if (!Work(store(), directory_, tag)) ++failures;
        }
        --running;
      });
    }
    meanwhile(running);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(failures, 0);
  }
};

TEST_F(LibProcess, ThreadsShareAStore) {
  Import("etc/base", "b", "base");
  OnThreads([&](std::atomic<int>& running) {
    strata_gc_options all{};
    all.size = sizeof all;
    all.all = 1;
    while (running > 0) {
      Good(strata_gc(store(), &all, nullptr, error()));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
}

TEST_F(LibProcess, ThreadsShareHandlesThatDoNotChange) {
  Layer base = Import("etc/base", "b", "base");
  Root root = Compose({"base"});
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        strata_stage* stage = nullptr;
        if (strata_stage_open(root.get(), nullptr, &stage, nullptr) != 0) ++failures;
        strata_stage_free(stage);
        if (std::string(strata_layer_id(base.get())).size() != 64) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

#ifndef __SANITIZE_ADDRESS__  // whose allocator (gcc 12) does not let go of its locks at a fork
TEST_F(LibProcess, AChildForkedAmongThreadsHasAStoreOfItsOwn) {
  Import("etc/base", "b", "base");
  OnThreads([&](std::atomic<int>& running) {
    for (int number = 0; running > 0; ++number) {
      const pid_t pid = ::fork();
      ASSERT_GE(pid, 0);
      if (pid == 0) {
        ::alarm(200);  // a lock that a thread held at the fork would be held for ever
        strata_store* own = nullptr;
        const std::string tag = "child-" + std::to_string(number);
        bool good = strata_store_open(Path("store").c_str(), &own, nullptr) == 0 &&
                    Work(own, directory_, tag) && Work(store(), directory_, tag + "-again");
        strata_store_free(own);
        ::_exit(good ? 0 : 1);
      }
      int status = 0;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0);
    }
  });
}
#endif

TEST_F(LibProcess, WhatAChildFreesStaysTheParents) {
  Layer layer = Import("file", "x");
  strata_set* set = nullptr;
  Good(strata_set_new(store(), &set, error()));
  Good(strata_set_add(set, strata_layer_id(layer.get()), error()));
  strata_root* root = nullptr;
  Good(strata_compose(set, nullptr, &root, error()));
  strata_stage* stage = nullptr;
  Good(strata_stage_open(root, nullptr, &stage, error()));
  const pid_t pid = ::fork();
  if (pid == 0) {
    int fd = -1;
    const bool refused = strata_stage_mount(stage, &fd, nullptr) == STRATA_E_INVALID;
    strata_stage_free(stage);
    strata_root_free(root);
    strata_set_free(set);
    strata_layer_free(layer.release());
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  strata_gc_options all{};
  all.size = sizeof all;
  all.all = 1;
  strata_gc_report report{};
  report.size = sizeof report;
  Good(strata_gc(store(), &all, &report, error()));
  EXPECT_EQ(report.layers + report.roots, 0U);
  EXPECT_TRUE(std::filesystem::exists(Path("store/stages/0/upper")));
  strata_stage_free(stage);
  strata_root_free(root);
  strata_set_free(set);
}

TEST_F(LibProcess, InterruptedSystemCallsAreNoFailures) {
  Import("etc/base", "b", "base");
  struct sigaction action {};
  struct sigaction before;
  action.sa_handler = [](int) {};  // and no SA_RESTART
  ::sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 500}, {0, 500}};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  OnThreads([](std::atomic<int>&) {});
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

TEST_F(LibProcess, TheProcessIsAsItWas) {
  Import("etc/base", "b", "base");
  ::umask(027);
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  struct sigaction before[NSIG] = {};
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, nullptr, &before[signal]);
  const std::string directory = std::filesystem::current_path();
  EXPECT_TRUE(Work(store(), directory_, "one"));
  EXPECT_EQ(std::filesystem::current_path(), directory);
  sigset_t now;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    EXPECT_EQ(::sigismember(&now, signal), signal == SIGUSR2 ? 1 : 0) << signal;
  }
  ::sigemptyset(&blocked);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  EXPECT_EQ(::umask(022), 027U);
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction after = {};
    ::sigaction(signal, nullptr, &after);
    EXPECT_EQ(after.sa_handler, before[signal].sa_handler) << signal;
  }
}

TEST_F(LibProcess, ALayerIsTheSameWhateverTheUmask) {
  Layer usual = Import("etc/file", "x");
  const mode_t before = ::umask(0777);
  strata_layer* layer = nullptr;
  Good(strata_import(store(), Path("tree0").c_str(), nullptr, &layer, error()));
  ::umask(before);
  EXPECT_STREQ(strata_layer_id(layer), strata_layer_id(usual.get()));
  strata_layer_free(layer);
}

#ifndef __SANITIZE_ADDRESS__  // whose run-time writes to the stack of a cancelled thread
TEST_F(LibProcess, ACancelledThreadEndsAfterTheCall) {
  Import("etc/base", "b", "base");
  std::atomic<int> calls{0};
  struct Shared {
    strata_store* store;
    std::atomic<int>* calls;
  } shared{store(), &calls};
  pthread_t thread;
  ASSERT_EQ(::pthread_create(
                &thread, nullptr,
                [](void* argument) -> void* {
                  auto* given = static_cast<Shared*>(argument);
                  for (;;) {
                    strata_root* root = nullptr;
                    strata_root_open(given->store, "nothing", &root, nullptr);
                    ++*given->calls;
                    ::pthread_testcancel();
                  }
                },
                &shared),
            0);
  while (calls < 100) std::this_thread::yield();
  ::pthread_cancel(thread);
  void* result = nullptr;
  ASSERT_EQ(::pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
}
#endif

TEST_F(LibProcess, TooFewDescriptorsAreAnErrorAndLeaveNothing) {
  Import("etc/base", "b", "base");
  Write("other/file", "x");
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  for (rlim_t limit = 4; limit < 40; limit += 3) {
    struct rlimit few = before;
    few.rlim_cur = limit;
    ::setrlimit(RLIMIT_NOFILE, &few);
    strata_layer* layer = nullptr;
    const int result = strata_import(store(), Path("other").c_str(), nullptr, &layer, error());
    ::setrlimit(RLIMIT_NOFILE, &before);
    if (result == 0) {
      strata_layer_free(layer);
      continue;
    }
    Bad(result, STRATA_E_SYSTEM);
    EXPECT_EQ(strata_error_errno(report_.get()), EMFILE) << message();
    EXPECT_EQ(layer, nullptr);
  }
  // What could not be removed then, for want of a descriptor, goes when it is no more young.
  const timespec old[2] = {{1, 0}, {1, 0}};
  for (const auto& entry : std::filesystem::directory_iterator(Path("store/tmp"))) {
    EXPECT_EQ(::utimensat(AT_FDCWD, entry.path().c_str(), old, 0), 0);
  }
  Import("after", "a");
  EXPECT_TRUE(std::filesystem::is_empty(Path("store/tmp")));
}

#ifndef __SANITIZE_ADDRESS__  // whose run-time would have to be the first thing in that process
// In a process without the library.
TEST(LibUnload, TheLibraryCanBeUnloaded) {
  Dl_info info{};
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(&strata_version), &info), 0);
  const std::string script =
      "import _ctypes, ctypes\n"
      "library = ctypes.CDLL('" +
      std::string(info.dli_fname) +
      "')\n"
      "library.strata_version.restype = ctypes.c_char_p\n"
      "assert library.strata_version()\n"
      "store, error = ctypes.c_void_p(), ctypes.c_void_p()\n"
      "assert library.strata_store_open(b'/dev/null/x', ctypes.byref(store), ctypes.byref(error))\n"
      "library.strata_error_free(error)\n"
      "_ctypes.dlclose(library._handle)\n"
      "assert 'libstrata' not in open('/proc/self/maps').read()\n";
  const std::string command = "/usr/bin/python3 -c \"" + script + "\"";
  EXPECT_EQ(std::system(command.c_str()), 0);
}
#endif

}  // namespace
}  // namespace libstrata
