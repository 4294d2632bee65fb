// SPDX-License-Identifier: Apache-2.0
#include "base/ask_in_mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/io.h"

namespace strata {

Result<std::string> AskInMapping(const IdMapping& mapping,
                                 const std::function<Result<std::string>()>& work) {
  // A file that both have open: a pipe would have to be read meanwhile.
  UniqueFd answer(::memfd_create("strata-answer", MFD_CLOEXEC));
  if (!answer.valid()) return FailSys(errno, "memfd_create");
  STRATA_TRY(RunInMapping(mapping, [&]() -> Result<void> {
    STRATA_ASSIGN(std::string bytes, work());
    return WriteAll(answer.get(), bytes, "answer");
  }));
  if (::lseek(answer.get(), 0, SEEK_SET) != 0) return FailSys(errno, "lseek", "answer");
  return ReadAll(answer.get(), "answer", SIZE_MAX);
}

}  // namespace strata
