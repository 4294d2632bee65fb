// SPDX-License-Identifier: Apache-2.0
//
// A store for a fuzz target, in memory where there is a tmpfs. Left behind when the target crashes.
#pragma once

#include <fcntl.h>

#include <string>

#include "base/temp_dir.h"
#include "cache/store.h"
#include "tests/support/layer_maker.h"

namespace strata::testing {

class FuzzStore {
 public:
  FuzzStore()
      : place_(Must(OpenAt(AT_FDCWD, "/dev/shm", O_RDONLY | O_DIRECTORY))),
        temp_(Must(TempDir::Create(place_.get(), "strata-fuzz-"))),
        store_(Must(Store::Open(Path("store")))) {}

  std::string Path(const std::string& name) const {
    return "/dev/shm/" + temp_.name() + "/" + name;
  }
  const Store& store() const { return store_; }
  int temp_fd() const { return temp_.fd(); }

  static FuzzStore& Get() {
    static FuzzStore instance;
    return instance;
  }

 private:
  UniqueFd place_;
  TempDir temp_;
  Store store_;
};

}  // namespace strata::testing
