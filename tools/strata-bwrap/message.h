// SPDX-License-Identifier: Apache-2.0
//
// Messages as bubblewrap writes them, which its callers read: `bwrap: what: reason`, whatever the
// executable is called. No heap, so a cloned child may use them. A message that is too long is cut.
#pragma once

namespace strata::bwrap {

// --level-prefix: each message starts with its syslog level, as in <3>.
extern bool level_prefix;

[[noreturn, gnu::format(printf, 1, 2)]] void Die(const char* format, ...) noexcept;
// `error`: an errno, negative or not.
[[noreturn, gnu::format(printf, 2, 3)]] void DieWith(int error, const char* format, ...) noexcept;
// The same for a mount, where ENOSPC does not mean what it says.
[[noreturn, gnu::format(printf, 2, 3)]] void DieMount(int error, const char* format, ...) noexcept;
[[gnu::format(printf, 1, 2)]] void Warn(const char* format, ...) noexcept;

}  // namespace strata::bwrap
