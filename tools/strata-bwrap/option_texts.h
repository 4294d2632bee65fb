// SPDX-License-Identifier: Apache-2.0
//
// What --help, the manual page and the completions say about each option. What the options do is in
// options.cc; the tests compare the two.
#pragma once

#include <span>

namespace strata::bwrap {

struct OptionText {
  const char* form;   // "--ro-bind SRC DEST"; several with the same arguments: "--uid, --gid ID"
  const char* help;   // one sentence, without a full stop
  const char* group;  // a heading that starts with this option; else null
};

extern const char* const kDescription;
extern const std::span<const OptionText> kOptionTexts;

}  // namespace strata::bwrap
