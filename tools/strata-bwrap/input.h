// SPDX-License-Identifier: Apache-2.0
//
// What is read from descriptors that the caller names.
#pragma once

#include <linux/bpf_common.h>
#include <linux/filter.h>

#include <cstddef>

namespace strata::bwrap {

struct DataText {
  const char* text;  // ends with a NUL byte that `size` does not count; never freed
  size_t size;
};

// All that comes until the end of file. Uses the heap. Ends the process on errors, with `what`.
DataText ReadData(int fd, const char* what);

// A filter of as many instructions as the kernel takes, and one more, so that it refuses the rest.
struct FilterData {
  sock_filter code[BPF_MAXINSNS + 1];
};

// Reads a seccomp program into `data`, and ends the process on errors. No heap.
sock_fprog ReadFilter(int fd, FilterData* data) noexcept;

}  // namespace strata::bwrap
