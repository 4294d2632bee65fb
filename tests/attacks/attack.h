// SPDX-License-Identifier: Apache-2.0
//
// attack NAME[=ARGUMENT]...: tries to break out of the sandbox that it runs in, one way for each
// NAME, each in a process of its own, and says what came of it, a line each:
//
//   NAME WORKED [what was reached]      NAME EPERM      (the errno of what stopped it)
//
// An attack returns 0 if it worked, after it has written what it reached to `reached`, else the
// errno.
#pragma once

#include <stddef.h>

struct attack {
  const char* name;
  int (*run)(const char* argument);
};

extern const struct attack kernel_attacks[];
extern const struct attack process_attacks[];
extern const struct attack file_attacks[];
extern const struct attack compat_attacks[];

extern char reached[65536];
__attribute__((format(printf, 1, 2))) void reach(const char* format, ...);  // appends to it

// For a call that answers -1: 0 if it worked, else errno.
#define TRY(call) ((call) < 0 ? errno : 0)
