// SPDX-License-Identifier: Apache-2.0
#include "sandbox/seccomp_filter.h"

#include <fcntl.h>

#include <cstddef>

#include "base/io.h"
#include "base/sys.h"

namespace strata {
namespace {

#include "seccomp_filters.inc"  // made by seccomp_generate when strata is built

template <size_t N>
constexpr SeccompFilter Filter(const sock_filter (&insns)[N]) {
  static_assert(N <= BPF_MAXINSNS);
  return {insns, N};
}

}  // namespace

SeccompFilter BuildFilter(ChownPolicy chown, NestedUserns nested) noexcept {
  if (nested == NestedUserns::kAllowed) {
    return chown == ChownPolicy::kIgnore ? Filter(kChownIgnoreNestedAllowed)
                                         : Filter(kChownFailNestedAllowed);
  }
  return chown == ChownPolicy::kIgnore ? Filter(kChownIgnoreNestedDenied)
                                       : Filter(kChownFailNestedDenied);
}

Result<std::vector<sock_filter>> LoadFilterFile(const std::string& path) {
  STRATA_ASSIGN(const UniqueFd fd, OpenAt(AT_FDCWD, path, O_RDONLY | O_NOCTTY));
  return LoadFilterFd(fd.get(), path);
}

Result<std::vector<sock_filter>> LoadFilterFd(int fd, std::string_view name) {
  // Room for one instruction more than allowed, to tell a file that is too long, or has no end.
  std::vector<sock_filter> insns(BPF_MAXINSNS + 1);
  const size_t capacity = insns.size() * sizeof(sock_filter);
  size_t size = 0;
  while (size < capacity) {
    char* free_space = reinterpret_cast<char*>(insns.data()) + size;
    STRATA_ASSIGN(const int got,
                  sys::Check(sys::Read(fd, free_space, capacity - size), "read", name));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }

  const char* problem = nullptr;
  if (size == 0) {
    problem = "is empty";
  } else if (size > BPF_MAXINSNS * sizeof(sock_filter)) {
    problem = "is longer than 4096 instructions";
  } else if (size % sizeof(sock_filter) != 0) {
    problem = "is not a whole number of instructions";
  }
  if (problem != nullptr) {
    Error error(Errc::kInvalid, fmt::format("seccomp filter {}: {}", name, problem));
    return Unexpected(std::move(error).Hint(
        "a filter is an array of struct sock_filter, as seccomp_export_bpf() writes it"));
  }
  insns.resize(size / sizeof(sock_filter));
  return insns;
}

}  // namespace strata
