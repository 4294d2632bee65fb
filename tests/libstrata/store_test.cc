// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

class LibStore : public Fixture {};

TEST_F(LibStore, TheVersionIsThatOfTheProject) {
  EXPECT_STREQ(strata_version(), STRATA_VERSION);
}

TEST_F(LibStore, AStoreHasAnAbsolutePath) {
  EXPECT_EQ(strata_store_path(store()), Path("store"));
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  strata_store* other = nullptr;
  Good(strata_store_open("store", &other, error()));
  std::filesystem::current_path(before);
  EXPECT_EQ(strata_store_path(other), Path("store"));
  strata_layer* layer = nullptr;
  Bad(strata_layer_open(other, "nothing", &layer, error()), STRATA_E_NOT_FOUND);
  strata_store_free(other);
}

TEST_F(LibStore, WhatIsNoStoreIsRefusedWithAHint) {
  Write("other/file", "x");
  strata_store* opened = store();  // must become NULL
  Bad(strata_store_open(Path("other").c_str(), &opened, error()), STRATA_E_INVALID);
  EXPECT_EQ(opened, nullptr);
  EXPECT_NE(message().find("not a strata store"), std::string::npos);
  EXPECT_NE(hint(), "");
  Bad(strata_store_open("", &opened, error()), STRATA_E_INVALID);
  Write("file", "x");
  Bad(strata_store_open(Path("file/store").c_str(), &opened, error()), STRATA_E_SYSTEM);
  EXPECT_EQ(strata_error_errno(report_.get()), ENOTDIR);
}

TEST_F(LibStore, ACallWithoutAPlaceForErrorsSaysTheCodeAlone) {
  EXPECT_EQ(strata_untag(store(), "nothing", nullptr), STRATA_E_NOT_FOUND);
  EXPECT_EQ(strata_untag(nullptr, "nothing", nullptr), STRATA_E_INVALID);
}

TEST_F(LibStore, NullIsRefusedWhereSomethingIsNeededAndFreedWithoutEffect) {
  Bad(strata_store_open(Path("store").c_str(), nullptr, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "store is NULL");
  strata_target target{};
  target.size = sizeof target;
  Bad(strata_resolve(store(), nullptr, &target, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "name is NULL");
  Bad(strata_resolve(store(), "x", nullptr, error()), STRATA_E_INVALID);
  strata_store_free(nullptr);
  strata_layer_free(nullptr);
  strata_set_free(nullptr);
  strata_root_free(nullptr);
  strata_stage_free(nullptr);
  strata_error_free(nullptr);
  EXPECT_STREQ(strata_store_path(nullptr), "");
  EXPECT_STREQ(strata_error_message(nullptr), "");
  EXPECT_EQ(strata_error_code(nullptr), STRATA_OK);
}

TEST_F(LibStore, NamesLeadToLayersAndRoots) {
  Layer layer = Import("bin/tool", "t", "tool");
  strata_target target{};
  target.size = sizeof target;
  for (const std::string& name : {std::string("tool"), std::string(strata_layer_id(layer.get())),
                                  std::string(strata_layer_id(layer.get())).substr(0, 8)}) {
    Good(strata_resolve(store(), name.c_str(), &target, error()));
    EXPECT_EQ(target.kind, STRATA_LAYER);
    EXPECT_STREQ(target.id, strata_layer_id(layer.get()));
  }
  Root root = Compose({"tool"});
  Good(strata_tag(store(), strata_root_key(root.get()), "ready", error()));
  Good(strata_resolve(store(), "ready", &target, error()));
  EXPECT_EQ(target.kind, STRATA_ROOT);
  EXPECT_STREQ(target.id, strata_root_key(root.get()));
  Bad(strata_resolve(store(), "toal", &target, error()), STRATA_E_NOT_FOUND);
  EXPECT_NE(hint().find("tool"), std::string::npos);
  Bad(strata_tag(store(), "tool", "-bad", error()), STRATA_E_INVALID);
  Bad(strata_tag(store(), std::string(64, '0').c_str(), "x", error()), STRATA_E_NOT_FOUND);
}

TEST_F(LibStore, AStructWhoseSizeWasNeverSetIsNotWrittenTo) {
  Import("a", "1", "one");
  strata_target target{};
  for (size_t size : {size_t{0}, sizeof(size_t) - 1, size_t{0x7fff5ed0c0e0}}) {
    target.size = size;
    Bad(strata_resolve(store(), "one", &target, error()), STRATA_E_INVALID);
    EXPECT_EQ(message(), "strata_target: its size is not set");
    EXPECT_STREQ(target.id, "");
  }
}

TEST_F(LibStore, RefsAreListedInOrderUntilTheCallerHasEnough) {
  Import("a", "1", "one");
  Import("b", "2", "two");
  std::vector<std::string> seen;
  auto each = [](void* user, const char* ref, const strata_target* target) {
    EXPECT_EQ(target->size, sizeof *target);
    EXPECT_EQ(std::strlen(target->id), 64U);
    static_cast<std::vector<std::string>*>(user)->push_back(ref);
    return std::string(ref) == "two" ? 7 : 0;
  };
  EXPECT_EQ(strata_list_refs(store(), each, &seen, error()), 7);
  EXPECT_EQ(seen, (std::vector<std::string>{"one", "two"}));
  Good(strata_untag(store(), "two", error()));
  seen.clear();
  EXPECT_EQ(strata_list_refs(store(), each, &seen, error()), 0);
  EXPECT_EQ(seen, std::vector<std::string>{"one"});
  Bad(strata_list_refs(store(), nullptr, nullptr, error()), STRATA_E_INVALID);
}

TEST_F(LibStore, GcTakesWhatNobodyHolds) {
  strata_gc_options options{};
  options.size = sizeof options;
  options.all = 1;
  strata_gc_report report{};
  report.size = sizeof report;
  Import("named", "n", "named");
  Layer held = Import("held", "h");
  Import("loose", "l");
  options.dry_run = 1;
  Good(strata_gc(store(), &options, &report, error()));
  EXPECT_EQ(report.layers, 1U);
  options.dry_run = 0;
  Good(strata_gc(store(), &options, &report, error()));
  EXPECT_EQ(report.layers, 1U);
  held.reset();
  Good(strata_gc(store(), &options, &report, error()));
  EXPECT_EQ(report.layers, 1U);
  Good(strata_gc(store(), &options, nullptr, error()));
  strata_layer* layer = nullptr;
  Good(strata_layer_open(store(), "named", &layer, error()));
  EXPECT_EQ(strata_layer_existed(layer), 1);
  EXPECT_EQ(strata_layer_entries(layer), 1U);
  EXPECT_EQ(strata_layer_bytes(layer), 1U);
  strata_layer_free(layer);
}

}  // namespace
}  // namespace libstrata
