// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

class LibCompose : public Fixture {
 protected:
  strata_root* Try(const strata_set* set, strata_code code) {
    strata_root* root = nullptr;
    Bad(strata_compose(set, nullptr, &root, error()), code);
    return root;
  }
  void ImportBusybox() {
    Write("busybox/bin/.keep", "");
    std::filesystem::copy("/bin/busybox", Path("busybox/bin/sh"));
    strata_import_options named{};
    named.size = sizeof named;
    named.ref = "busybox";
    strata_layer* layer = nullptr;
    Good(strata_import(store(), Path("busybox").c_str(), &named, &layer, error()));
    strata_layer_free(layer);
  }
};

TEST_F(LibCompose, ASecondTimeIsAHit) {
  Import("etc/base", "b", "base");
  Import("etc/app", "a", "app");
  Root first = Compose({"base", "app"});
  Root second = Compose({"base", "app"});
  EXPECT_EQ(strata_root_hit(first.get()), 0);
  EXPECT_EQ(strata_root_hit(second.get()), 1);
  EXPECT_STREQ(strata_root_key(first.get()), strata_root_key(second.get()));
  ASSERT_EQ(strata_root_depth(first.get()), 2U);
  EXPECT_EQ(Read(std::string(strata_root_lower(first.get(), 0)) + "/etc/base"), "b");
  EXPECT_EQ(Read(std::string(strata_root_lower(first.get(), 1)) + "/etc/app"), "a");
  EXPECT_EQ(strata_root_lower(first.get(), 2), nullptr);
  strata_root* opened = nullptr;
  Good(strata_root_open(store(), strata_root_key(first.get()), &opened, error()));
  EXPECT_STREQ(strata_root_key(opened), strata_root_key(first.get()));
  EXPECT_EQ(strata_root_depth(opened), 2U);
  strata_root_free(opened);
  Bad(strata_root_open(store(), "base", &opened, error()), STRATA_E_INVALID);
  Bad(strata_root_open(store(), std::string(32, '0').c_str(), &opened, error()),
      STRATA_E_NOT_FOUND);
}

TEST_F(LibCompose, ASetCountsEachLayerOnceAndTakesAllThatStandsForOne) {
  Layer base = Import("usr/base", "b", "base");
  Import("usr/app", "a", "app");
  Write("plain/file", "p");
  const std::string plain = "dir:" + Path("plain") + "@1";
  Set set = NewSet({"base", "app", strata_layer_id(base.get()), "app:at=/opt", plain});
  EXPECT_EQ(strata_set_count(set.get()), 4U);
  Good(strata_set_add_directory(set.get(), Path("plain").c_str(), "1", nullptr, error()));
  EXPECT_EQ(strata_set_count(set.get()), 4U);
  Good(strata_set_add_directory(set.get(), Path("plain").c_str(), "1", "at=/x", error()));
  EXPECT_EQ(strata_set_count(set.get()), 5U);
  strata_root* root = nullptr;
  Good(strata_compose(set.get(), nullptr, &root, error()));
  EXPECT_EQ(strata_root_depth(root), 5U);
  strata_root_free(root);
  Bad(strata_set_add(set.get(), "nothing", error()), STRATA_E_NOT_FOUND);
  Bad(strata_set_add_directory(set.get(), Path("plain").c_str(), "", nullptr, error()),
      STRATA_E_INVALID);
  Bad(strata_set_add_directory(set.get(), Path("plain").c_str(), std::string(201, 'k').c_str(),
                               nullptr, error()),
      STRATA_E_INVALID);
  Bad(strata_set_add_directory(set.get(), Path("plain").c_str(), nullptr, "at=/x", error()),
      STRATA_E_INVALID);
  EXPECT_EQ(strata_set_count(set.get()), 5U) << "what failed left nothing behind";
  EXPECT_EQ(strata_set_count(nullptr), 0U);
}

TEST_F(LibCompose, ARootAloneIsTheSetItWasMadeOf) {
  Import("etc/base", "b", "base");
  Import("etc/base/is/a/directory", "d", "over");
  Set set = NewSet({"over", "base"});
  EXPECT_EQ(Try(set.get(), STRATA_E_INVALID), nullptr);
  Good(strata_set_on_conflict(set.get(), STRATA_CONFLICT_REPLACE, error()));
  strata_root* made = nullptr;
  Good(strata_compose(set.get(), nullptr, &made, error()));
  const std::string key = strata_root_key(made);
  strata_root_free(made);
  EXPECT_EQ(strata_root_key(Compose({key}).get()), key);
  Import("other", "o", "other");
  Set among = NewSet({key, "other"});
  EXPECT_EQ(strata_set_count(among.get()), 3U);
  Try(among.get(), STRATA_E_INVALID);  // the policy was that of the root alone
  EXPECT_NE(message().find("conflict"), std::string::npos);
}

TEST_F(LibCompose, AnEmptySetIsRefused) {
  Try(NewSet({}).get(), STRATA_E_INVALID);
  EXPECT_EQ(message(), "the set has no layers");
}

TEST_F(LibCompose, OverlapsAndConflictsAreListedByPath) {
  Import("etc/conf", "1", "one");
  Import("etc/conf", "2", "two");
  Import("usr/dir/file", "f", "directory");
  Write("clash/usr/dir", "no directory");
  strata_layer* layer = nullptr;
  strata_import_options options{};
  options.size = sizeof options;
  options.ref = "clash";
  Good(strata_import(store(), Path("clash").c_str(), &options, &layer, error()));
  strata_layer_free(layer);
  std::vector<std::string> told;
  auto each = [](void* user, const strata_overlap* overlap) {
    std::string line = overlap->path;
    for (size_t i = 0; i < overlap->member_count; ++i) {
      line += " " + std::to_string(overlap->members[i]);
    }
    static_cast<std::vector<std::string>*>(user)->push_back(line +
                                                            (overlap->conflict ? " conflict" : ""));
    return 0;
  };
  Set set = NewSet({"one", "two", "directory", "clash"});
  EXPECT_EQ(strata_list_overlaps(set.get(), each, &told, error()), 0) << message();
  EXPECT_EQ(told, (std::vector<std::string>{"/etc/conf 0 1", "/usr/dir 2 3 conflict"}));
  auto enough = [](void*, const strata_overlap*) { return 3; };
  EXPECT_EQ(strata_list_overlaps(set.get(), enough, nullptr, error()), 3);
}

TEST_F(LibCompose, ALeaseOutlivesItsRoot) {
  Import("file", "x", "base");
  Root root = Compose({"base"});
  const std::string key = strata_root_key(root.get());
  int fds[4];
  size_t count = 0;
  Bad(strata_root_lease(root.get(), nullptr, 0, &count, error()), STRATA_E_INVALID);
  EXPECT_EQ(count, 1U);
  Good(strata_root_lease(root.get(), fds, 4, &count, error()));
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(::fcntl(fds[0], F_GETFD), FD_CLOEXEC);
  root.reset();
  strata_gc_options all{};
  all.size = sizeof all;
  all.all = 1;
  Good(strata_gc(store(), &all, nullptr, error()));
  strata_root* opened = nullptr;
  Good(strata_root_open(store(), key.c_str(), &opened, error()));
  strata_root_free(opened);
  ::close(fds[0]);
  Good(strata_gc(store(), &all, nullptr, error()));
  Bad(strata_root_open(store(), key.c_str(), &opened, error()), STRATA_E_NOT_FOUND);
}

TEST_F(LibCompose, ADirectoryWithoutAKeyIsComposedEachTime) {
  Write("plain/file", "1");
  Import("base", "b", "base");
  const std::string plain = "dir:" + Path("plain");
  Root first = Compose({"base", plain});
  Root second = Compose({"base", plain});
  EXPECT_EQ(strata_root_hit(second.get()), 0);
  EXPECT_EQ(strata_root_lower(first.get(), 1), Path("plain"));
  strata_root* opened = nullptr;
  Bad(strata_root_open(store(), strata_root_key(first.get()), &opened, error()),
      STRATA_E_NOT_FOUND);
  Bad(strata_stage_at(first.get(), Path("there").c_str(), nullptr, nullptr, error()),
      STRATA_E_INVALID);
}

TEST_F(LibCompose, IntegrationCommandsRunOnceAndAreHeard) {
  ImportBusybox();

  std::vector<std::string> heard;
  strata_events events{};
  events.size = sizeof events;
  events.user = &heard;
  events.message = [](void* user, strata_message_kind kind, const char* text) {
    static_cast<std::vector<std::string>*>(user)->push_back(std::to_string(kind) + " " + text);
  };
  strata_compose_options options{};
  options.size = sizeof options;
  options.events = &events;
  Set set = NewSet({"busybox"});
  Good(strata_set_integrate(set.get(), "echo said; echo made >/made", error()));
  strata_root* root = nullptr;
  Good(strata_compose(set.get(), &options, &root, error()));
  EXPECT_EQ(heard, (std::vector<std::string>{"2 echo said; echo made >/made", "3 said"}));
  ASSERT_EQ(strata_root_depth(root), 2U);
  EXPECT_EQ(Read(std::string(strata_root_lower(root, 1)) + "/made"), "made\n");
  strata_root_free(root);
  heard.clear();
  Good(strata_compose(set.get(), &options, &root, error()));
  EXPECT_TRUE(heard.empty());
  strata_root_free(root);

  Set failing = NewSet({"busybox"});
  Good(strata_set_integrate(failing.get(), "echo why >&2; exit 3", error()));
  Bad(strata_compose(failing.get(), nullptr, &root, error()), STRATA_E_SYSTEM);
  EXPECT_NE(message().find("exited with status 3"), std::string::npos) << message();
  EXPECT_NE(hint().find("why"), std::string::npos);
  Bad(strata_set_integrate(failing.get(), "", error()), STRATA_E_INVALID);
}

TEST_F(LibCompose, ADerivedLayerThatWasRemovedByHandIsMadeAgain) {
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) {  // more than are mounted as they are
    names.push_back("layer" + std::to_string(i));
    Import("usr/" + names.back(), "x", names.back().c_str());
  }
  std::string lower;
  {
    Root first = Compose(names);
    lower = strata_root_lower(first.get(), 0);
  }
  ASSERT_NE(lower.find("/derived/"), std::string::npos) << lower;
  std::filesystem::remove_all(lower);
  Root again = Compose(names);
  EXPECT_EQ(strata_root_hit(again.get()), 0);
  EXPECT_EQ(Read(std::string(strata_root_lower(again.get(), 0)) + "/usr/layer3"), "x");
}

// As a fork of another thread's does: it has a copy of the pipe that the commands write to.
TEST_F(LibCompose, AProcessForkedMeanwhileDoesNotHoldUpIntegration) {
  ImportBusybox();

  pid_t forked = -1;
  strata_events events{};
  events.size = sizeof events;
  events.user = &forked;
  events.message = [](void* user, strata_message_kind kind, const char*) {
    if (kind != STRATA_MESSAGE_OUTPUT) return;
    pid_t child = ::fork();
    if (child == 0) {
      for (;;) ::pause();
    }
    *static_cast<pid_t*>(user) = child;
  };
  strata_compose_options options{};
  options.size = sizeof options;
  options.events = &events;
  Set set = NewSet({"busybox"});
  Good(strata_set_integrate(set.get(), "echo said", error()));
  strata_root* root = nullptr;
  Good(strata_compose(set.get(), &options, &root, error()));
  strata_root_free(root);
  ASSERT_GT(forked, 0);
  ::kill(forked, SIGKILL);
  ::waitpid(forked, nullptr, 0);
}

}  // namespace
}  // namespace libstrata
