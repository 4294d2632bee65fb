// SPDX-License-Identifier: Apache-2.0
//
// The command line of fuse-overlayfs, of mount(8)'s helpers, and of strata-mount itself: one table
// of the -o options, which parses them and writes the help text.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace strata::mount {

enum class OptionId {
  kLowerdir,
  kUpperdir,
  kWorkdir,
  kStore,
  kVolatile,
  kFsync,
  kAttribute,  // of the mount: ro, nosuid, ...
  kUserxattr,
  kContext,
  kFsname,
  kRedirectDir,
  kDebug,
  kNothing,     // taken, and without an effect here
  kOnlyByFuse,  // what no overlay of the kernel does
};

struct MountOption {
  OptionId id;
  const char* name;
  const char* metavar;  // of the value; null: a flag
  const char* help;     // what it does; of those without an effect: why that is no harm
  unsigned set = 0;     // kAttribute: MOUNT_ATTR_* to set ...
  unsigned clear = 0;   // ... and those to take off before
  // kOnlyByFuse: with this value it asks for nothing.
  const char* harmless_value = nullptr;
};

// In the order of the help text. fuse-overlayfs's options that speak of FUSE alone are there, too.
std::span<const MountOption> MountOptions();

struct Request {
  enum class Action { kMount, kHelp, kVersion };
  Action action = Action::kMount;
  std::string source;  // of mount(8); what mountinfo shows
  std::string target;
  bool has_lowers = false;
  std::vector<std::string> lowers;  // topmost first, without escapes
  std::string upper;                // empty: read-only
  std::string work;
  std::string store;         // empty: the default one
  unsigned attributes = 0;   // MOUNT_ATTR_*
  bool is_volatile = false;  // nothing is synced
  bool userxattr = false;    // even by root
  std::string context;       // SELinux
  bool foreground = false;   // stay until it is unmounted
  bool debug = false;        // say what is mounted
  bool dry_run = false;      // mount.strata -f
  bool is_helper = false;    // called by mount(8) as mount.strata
  std::string only_by_fuse;  // the first option that needs fuse-overlayfs, as given
  std::vector<std::string> unknown;
};

// `argv` as main() has it. Errors are of code kInvalid.
Result<Request> ParseCommandLine(char** argv);
std::string HelpText();

// The components of a lowerdir=. A backslash takes the meaning off what follows it; a colon that
// belongs to `dir:PATH`, `:at=` or `:only=` does not separate. Empty ones are left out.
std::vector<std::string> SplitLowers(std::string_view value);
// A path as fuse-overlayfs has it, which needs no look at a directory or a store to tell.
bool IsPlainPath(std::string_view component);

}  // namespace strata::mount
