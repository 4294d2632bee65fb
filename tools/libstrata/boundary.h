// SPDX-License-Identifier: Apache-2.0
//
// Where C calls C++: what every entry point does with its arguments and with what goes wrong.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/libstrata/strata.h"

namespace strata {

// Runs the body of an entry point: a failure becomes an error object at `*error` and its code;
// nothing is thrown into the caller, and pthread_cancel waits for the end.
class Boundary {
 public:
  explicit Boundary(strata_error** error);
  ~Boundary();
  Boundary(const Boundary&) = delete;
  Boundary& operator=(const Boundary&) = delete;

  // `body` returns Result<void>, or Result<int> for what the entry point is to return.
  template <typename Body>
  int Run(const Body& body) noexcept {
    try {
      auto result = body();
      if (result) return ValueOf(result);
      return Report(result.error());
    } catch (...) {
      return ReportException();
    }
  }

 private:
  static int ValueOf(const Result<void>&) { return STRATA_OK; }
  static int ValueOf(const Result<int>& result) { return *result; }
  int Report(const Error& error);
  int ReportException() noexcept;

  strata_error** const error_;
  int cancel_state_ = 0;
};

template <typename Body>
int Call(strata_error** error, const Body& body) noexcept {
  return Boundary(error).Run(body);
}

strata_code CodeOf(Errc code);

// A text, a handle or a place for a result that must be there. `name`: as strata.h has it.
Result<std::string> Text(const char* text, std::string_view name);
inline std::string TextOrEmpty(const char* text) {
  return text == nullptr ? "" : text;
}
Result<void> Need(const void* pointer, std::string_view name);
// Up to the NULL; none for a NULL.
std::vector<std::string> TextList(const char* const* texts);

// Whether `size` can be that of a struct of ours, of whatever version, or was never set.
Result<void> CheckIsSize(size_t size, std::string_view type);
Result<void> CheckSize(const void* given, size_t size, size_t known, std::string_view type);

// A struct of the client's, which may be older (shorter) or newer than ours, as one of ours: what
// the client does not have is zero, and what we do not have must be.
template <typename Options>
Result<Options> ReadOptions(const Options* given, std::string_view type) {
  Options options{};
  options.size = sizeof options;
  if (given == nullptr) return options;
  size_t size;
  std::memcpy(&size, given, sizeof size);
  STRATA_TRY(CheckSize(given, size, sizeof options, type));
  std::memcpy(&options, given, std::min(size, sizeof options));
  options.size = sizeof options;
  return options;
}

// The same for a struct that the client receives: it gets as much of `value` as it has room for.
template <typename Value>
Result<void> CheckOutput(const Value* out, std::string_view type) {
  STRATA_TRY(Need(out, type));
  return CheckIsSize(out->size, type);
}
template <typename Value>
void WriteOutput(Value value, Value* out) {
  const size_t size = out->size;
  value.size = size;
  if (size > sizeof value) {
    std::memset(reinterpret_cast<char*>(out) + sizeof value, 0, size - sizeof value);
  }
  std::memcpy(out, &value, std::min(size, sizeof value));
}

// The value of an enum that a client filled in. Looked at as the number that it is in C: to load
// one that the enum lacks is undefined in C++.
template <typename Enum>
Result<void> CheckEnum(const Enum& value, Enum last, std::string_view name) {
  unsigned number = 0;
  static_assert(sizeof value == sizeof number);
  std::memcpy(&number, &value, sizeof number);
  if (number <= static_cast<unsigned>(last)) return {};
  return Fail(Errc::kInvalid, "{}: there is no value {}", name, static_cast<int>(number));
}

inline std::optional<int64_t> Mtime(int set, int64_t mtime) {
  return set != 0 ? std::optional(mtime) : std::nullopt;
}

}  // namespace strata
