// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "tools/libstrata/boundary.h"

struct strata_error {
  strata_code code;
  int sys_errno;
  std::string message;
  std::string hint;
};

namespace strata {
namespace {

// What there is no memory to make one of. Never freed, never written to.
const strata_error& NoMemory() {
  static const strata_error error{STRATA_E_NO_MEMORY, ENOMEM, "out of memory", ""};
  return error;
}

}  // namespace

Boundary::Boundary(strata_error** error) : error_(error) {
  // A cancelled thread is unwound by force, through code that does not expect it.
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
}

Boundary::~Boundary() {
  ::pthread_setcancelstate(cancel_state_, nullptr);
}

int Boundary::Report(const Error& error) {
  const strata_code code = CodeOf(error.code());
  if (error_ != nullptr) {
    *error_ = new strata_error{code, error.sys_errno(), error.message(), error.hint()};
  }
  return code;
}

int Boundary::ReportException() noexcept {
  try {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::system_error& error) {  // a thread that cannot be started
      return Report(Error::Sys(error.code().value(), "start a thread"));
    } catch (const std::exception& error) {
      return Report(Error(Errc::kSystem, fmt::format("internal error: {}", error.what())));
    }
  } catch (...) {
    if (error_ != nullptr) *error_ = const_cast<strata_error*>(&NoMemory());
    return STRATA_E_NO_MEMORY;
  }
}

strata_code CodeOf(Errc code) {
  switch (code) {
    case Errc::kSystem:
      return STRATA_E_SYSTEM;
    case Errc::kInvalid:
      return STRATA_E_INVALID;
    case Errc::kNotFound:
      return STRATA_E_NOT_FOUND;
    case Errc::kAmbiguous:
      return STRATA_E_AMBIGUOUS;
    case Errc::kExists:
      return STRATA_E_EXISTS;
    case Errc::kBusy:
      return STRATA_E_BUSY;
    case Errc::kCorrupt:
      return STRATA_E_CORRUPT;
    case Errc::kHostile:
      return STRATA_E_HOSTILE;
    case Errc::kUnsupported:
      return STRATA_E_UNSUPPORTED;
  }
  return STRATA_E_SYSTEM;
}

Result<void> Need(const void* pointer, std::string_view name) {
  if (pointer != nullptr) return {};
  return Fail(Errc::kInvalid, "{} is NULL", name);
}

Result<std::string> Text(const char* text, std::string_view name) {
  STRATA_TRY(Need(text, name));
  return std::string(text);
}

std::vector<std::string> TextList(const char* const* texts) {
  std::vector<std::string> list;
  for (; texts != nullptr && *texts != nullptr; ++texts) list.emplace_back(*texts);
  return list;
}

Result<void> CheckIsSize(size_t size, std::string_view type) {
  constexpr size_t kMost = 4096;  // more is no struct of ours, whatever the version
  if (size >= sizeof(size_t) && size <= kMost) return {};
  return Fail(Errc::kInvalid, "{}: its size is not set", type);
}

Result<void> CheckSize(const void* given, size_t size, size_t known, std::string_view type) {
  STRATA_TRY(CheckIsSize(size, type));
  const char* bytes = static_cast<const char*>(given);
  for (size_t i = known; i < size; ++i) {
    if (bytes[i] == 0) continue;
    return Unexpected(
        Error(Errc::kUnsupported,
              fmt::format("{}: it asks for something that this libstrata does not know", type))
            .Hint(fmt::format("this is libstrata {}; the program was made for a newer one",
                              strata_version())));
  }
  return {};
}

}  // namespace strata

const char* strata_version(void) {
  return STRATA_VERSION;
}

strata_code strata_error_code(const strata_error* error) {
  return error != nullptr ? error->code : STRATA_OK;
}

int strata_error_errno(const strata_error* error) {
  return error != nullptr ? error->sys_errno : 0;
}

const char* strata_error_message(const strata_error* error) {
  return error != nullptr ? error->message.c_str() : "";
}

const char* strata_error_hint(const strata_error* error) {
  return error != nullptr ? error->hint.c_str() : "";
}

void strata_error_free(strata_error* error) {
  if (error != &strata::NoMemory()) delete error;
}
