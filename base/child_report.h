// SPDX-License-Identifier: Apache-2.0
//
// How a cloned child tells its parent what went wrong: one fixed-size record in a pipe, written
// without heap or errno games, so that it may be used between clone and exec.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/result.h"
#include "base/sys.h"

namespace strata {

// A failed call, as plain data. `call` and `argument` are cut to what fits.
struct ChildFailure {
  int32_t sys_errno = 0;
  char call[44] = {};
  char argument[400] = {};

  void Set(int error, const char* call_name, const char* call_argument) noexcept {
    sys_errno = error;
    Copy(call, sizeof call, call_name);
    Copy(argument, sizeof argument, call_argument);
  }
  Error ToError() const { return Error::Sys(sys_errno, call, argument); }

 private:
  static void Copy(char* to, size_t room, const char* from) noexcept {
    size_t size = std::strlen(from);
    if (size >= room) size = room - 1;
    std::memcpy(to, from, size);
    to[size] = '\0';
  }
};

}  // namespace strata
