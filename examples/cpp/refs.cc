// SPDX-License-Identifier: Apache-2.0
//
// refs: prints the names in a store and what they stand for. How the handles of libstrata become
// owners in C++: a unique_ptr with the function that frees them.
#include <strata.h>

#include <iostream>
#include <memory>

template <auto free>
struct Freed {
  template <typename T>
  void operator()(T* handle) const {
    free(handle);
  }
};
using Store = std::unique_ptr<strata_store, Freed<strata_store_free>>;
using Error = std::unique_ptr<strata_error, Freed<strata_error_free>>;

static int Fail(strata_error* raw) {
  Error error(raw);
  std::cerr << "refs: " << strata_error_message(error.get()) << '\n';
  return 1;
}

int main() {
  strata_error* error = nullptr;
  strata_store* opened = nullptr;
  if (strata_store_open(nullptr, &opened, &error) < 0) return Fail(error);
  const Store store(opened);
  const auto print = [](void* stream, const char* ref, const strata_target* target) {
    *static_cast<std::ostream*>(stream)
        << ref << ' ' << (target->kind == STRATA_LAYER ? "layer " : "root ") << target->id << '\n';
    return 0;
  };
  if (strata_list_refs(store.get(), print, &std::cout, &error) < 0) return Fail(error);
  return 0;
}
