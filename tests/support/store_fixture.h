// SPDX-License-Identifier: Apache-2.0
//
// A store in a directory of its own below $TMPDIR, else /tmp; removed at the end of the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "base/io.h"
#include "base/temp_dir.h"
#include "cache/store.h"
#include "tests/support/layer_chain.h"
#include "tests/support/layer_maker.h"

namespace strata::testing {

class StoreFixture : public ::testing::Test {
 protected:
  StoreFixture() {
    const char* place = std::getenv("TMPDIR");
    place_ = place != nullptr && *place == '/' ? place : "/tmp";
    Must(MakeDirs(AT_FDCWD, place_, 0755));
    parent_ = Must(OpenAt(AT_FDCWD, place_, O_RDONLY | O_DIRECTORY));
    temp_ = Must(TempDir::Create(parent_.get(), "strata-test-"));
    store_.emplace(Must(Store::Open(Path("store"))));
  }

  // Of something in the test's own directory.
  std::string Path(const std::string& name) const {
    return place_ + "/" + temp_.name() + "/" + name;
  }
  const Store& store() const { return *store_; }
  std::string TreePath(const LayerId& id) const {
    return Path("store/layers/" + id.Hex() + "/tree");
  }
  // Makes an empty directory.
  std::string NewDir(const std::string& name) {
    Must(MakeDirs(temp_.fd(), name, 0755));
    return Path(name);
  }
  int temp_fd() const { return temp_.fd(); }

 private:
  std::string place_;
  UniqueFd parent_;
  TempDir temp_;
  std::optional<Store> store_;
};

}  // namespace strata::testing
