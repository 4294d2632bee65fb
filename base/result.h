// SPDX-License-Identifier: Apache-2.0
//
// Result<T>: a value or an Error. Every function of strata that can fail returns one; nothing below
// tools/ prints or throws (bad_alloc excepted, which only main() catches).
//
// An error reads `<what failed>: <call or path>: <reason>`: the place where it arises names the call,
// its argument and the errno (Error::Sys), and each layer above adds one clause in front
// (STRATA_TRY_WITH). Where something can be done about it, `hint` says what.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace strata {

// What a caller may want to branch on. Everything else is kSystem, with the errno.
enum class Errc {
  kSystem,       // a system call failed; sys_errno says how
  kInvalid,      // the caller's argument or option makes no sense
  kNotFound,     // no such layer, ref, workspace ...
  kAmbiguous,    // a prefix that fits several ids
  kExists,       // the name is taken
  kBusy,         // in use by another process
  kCorrupt,      // data on disk or in an archive that cannot be what it claims to be
  kHostile,      // an import that tries something no honest tree contains
  kUnsupported,  // this kernel, file system or version cannot do it
};

class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

  // `call` failed on `argument` (may be empty) with `sys_errno`: "openat base.tar: Permission denied".
  static Error Sys(int sys_errno, std::string_view call, std::string_view argument = {});

  Errc code() const { return code_; }
  int sys_errno() const { return sys_errno_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

  // Puts `clause: ` in front of the message. By value, so that `e = std::move(e).Wrap(...)` works.
  Error Wrap(std::string_view clause) &&;
  Error Hint(std::string hint) &&;

 private:
  Errc code_;
  int sys_errno_ = 0;
  std::string message_;
  std::string hint_;
};

template <typename T>
using Result = tl::expected<T, Error>;

using Unexpected = tl::unexpected<Error>;

// return Fail(Errc::kNotFound, "no layer named {}", name);
template <typename... Args>
Unexpected Fail(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  return Unexpected(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

inline Unexpected FailSys(int sys_errno, std::string_view call, std::string_view argument = {}) {
  return Unexpected(Error::Sys(sys_errno, call, argument));
}

}  // namespace strata

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

// STRATA_TRY(DoIt());  returns the error, if any.
#define STRATA_TRY(expr)                                                                \
  do {                                                                                  \
    auto strata_tried = (expr);                                                         \
    if (!strata_tried) return ::tl::unexpected(std::move(strata_tried).error());        \
  } while (false)

// STRATA_ASSIGN(auto fd, Open(path));  returns the error or assigns the value.
#define STRATA_ASSIGN(lhs, expr) \
  STRATA_ASSIGN_INNER(STRATA_CONCAT(strata_result_, __LINE__), lhs, expr)
#define STRATA_ASSIGN_INNER(result, lhs, expr)                       \
  auto result = (expr);                                              \
  if (!result) return ::tl::unexpected(std::move(result).error());   \
  lhs = std::move(*result)

// The same with a clause in front of the error. `clause` (a string, often fmt::format(...)) is
// evaluated only on failure.
#define STRATA_TRY_WITH(expr, clause)                                                             \
  do {                                                                                            \
    auto strata_tried = (expr);                                                                   \
    if (!strata_tried) return ::tl::unexpected(std::move(strata_tried).error().Wrap(clause));     \
  } while (false)

#define STRATA_ASSIGN_WITH(lhs, expr, clause) \
  STRATA_ASSIGN_WITH_INNER(STRATA_CONCAT(strata_result_, __LINE__), lhs, expr, clause)
#define STRATA_ASSIGN_WITH_INNER(result, lhs, expr, clause)                       \
  auto result = (expr);                                                           \
  if (!result) return ::tl::unexpected(std::move(result).error().Wrap(clause));   \
  lhs = std::move(*result)
