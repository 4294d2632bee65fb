// SPDX-License-Identifier: Apache-2.0
#include "tools/strata/print_observer.h"

#include "tools/strata/print.h"

namespace strata {

PrintObserver::PrintObserver(bool quiet) {
  observer_.message = [quiet](Observer::Kind kind, const Error& error) {
    switch (kind) {
      case Observer::Kind::kProblem:
        PrintError(error);
        break;
      case Observer::Kind::kNotice:
        PrintWarning(error.message());
        break;
      case Observer::Kind::kAdvice:
        if (!quiet) PrintError(error);
        break;
      case Observer::Kind::kWarning:
        if (!quiet) PrintWarning(error.message());
        break;
    }
  };
  if (quiet) return;
  observer_.output = PrintCommandOutput;
  observer_.progress = [this](std::string_view what, const Progress* progress) {
    line_.reset();
    if (progress != nullptr) line_.emplace(std::string(what), *progress, false);
  };
}

}  // namespace strata
