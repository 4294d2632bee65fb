// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/options.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace strata::mount {
namespace {

using enum OptionId;

constexpr MountOption Attribute(const char* name, unsigned set, unsigned clear, const char* help) {
  return {kAttribute, name, nullptr, help, set, clear};
}

constexpr MountOption kTable[] = {
    {kLowerdir, "lowerdir", "LAYER[:LAYER...]",
     "what is stacked, the first on top: directories, or layers of the store"},
    {kUpperdir, "upperdir", "DIR", "where what is written goes; without it the mount is read-only"},
    {kWorkdir, "workdir", "DIR", "on the same file system as upperdir, and empty at first"},
    {kStore, "store", "DIR", "where the layers are (default: $STRATA_STORE, as strata has it)"},
    {kVolatile, "volatile", nullptr, "nothing is synced, not even when it is unmounted"},
    {kFsync, "fsync", "0|1", "0: the same as volatile"},
    Attribute("ro", MOUNT_ATTR_RDONLY, 0, "nothing can be written"),
    Attribute("rw", 0, MOUNT_ATTR_RDONLY, "the default, with an upperdir"),
    Attribute("nosuid", MOUNT_ATTR_NOSUID, 0,
              "setuid bits have no effect; the default but for root"),
    Attribute("suid", 0, MOUNT_ATTR_NOSUID, "they have"),
    Attribute("nodev", MOUNT_ATTR_NODEV, 0, "device files do not work; the default"),
    Attribute("dev", 0, MOUNT_ATTR_NODEV, "they do, where the user namespace is the machine's"),
    Attribute("noexec", MOUNT_ATTR_NOEXEC, 0, "nothing can be executed"),
    Attribute("exec", 0, MOUNT_ATTR_NOEXEC, "the default"),
    Attribute("noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, "the default"),
    Attribute("atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, "the same as relatime"),
    Attribute("relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, "as mount(8) has it"),
    Attribute("strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, "as mount(8) has it"),
    Attribute("nodiratime", MOUNT_ATTR_NODIRATIME, 0, "as mount(8) has it"),
    Attribute("diratime", 0, MOUNT_ATTR_NODIRATIME, "the default"),
    {kUserxattr, "userxattr", nullptr,
     "opaque directories are marked by user.overlay.opaque, by root, too"},
    {kContext, "context", "LABEL",
     "the SELinux label of all files; without an effect where there is no SELinux"},
    {kFsname, "fsname", "NAME", "what mountinfo shows as the source"},
    {kRedirectDir, "redirect_dir", "off", "the only one there is, and the default"},
    {kDebug, "debug", nullptr, "the same as -d"},

    {kNothing, "timeout", "SECONDS", "nothing is cached beside the kernel, so nothing is stale"},
    {kNothing, "threaded", "0|1", "there is no daemon"},
    {kNothing, "writeback", "0|1", "the page cache is that of the file systems below"},
    {kNothing, "fast_ino", "0|1", "inode numbers cost nothing"},
    {kNothing, "static_nlink", nullptr, "counting costs nothing; a merged directory has 1"},
    {kNothing, "noacl", nullptr, "access lists work where they do in upperdir"},
    {kNothing, "allow_other", nullptr, "modes and owners decide, as in any directory"},
    {kNothing, "allow_root", nullptr, "modes and owners decide, as in any directory"},
    {kNothing, "default_permissions", nullptr, "modes and owners decide, as in any directory"},
    {kNothing, "auto_unmount", nullptr, "there is no daemon that could end"},
    {kNothing, "clone_fd", nullptr, "of FUSE"},
    {kNothing, "max_idle_threads", "N", "of FUSE"},
    {kNothing, "max_threads", "N", "of FUSE"},
    {kNothing, "max_write", "N", "of FUSE"},
    {kNothing, "max_read", "N", "of FUSE"},
    {kNothing, "splice_read", nullptr, "of FUSE"},
    {kNothing, "splice_write", nullptr, "of FUSE"},
    {kNothing, "splice_move", nullptr, "of FUSE"},
    {kNothing, "kernel_cache", nullptr, "of FUSE"},
    {kNothing, "subtype", "NAME", "of FUSE"},
    {kNothing, "metacopy", "on|off", "a first write copies the whole file"},
    {kNothing, "index", "on|off", "hard links that are written to part, as with fuse-overlayfs"},
    {kNothing, "xino", "on|off|auto", "chosen so that all of the mount has one st_dev"},
    {kNothing, "ino32_t", nullptr, "inode numbers are those of the layers"},
    {kNothing, "lazytime", nullptr, "up to the file systems below"},
    {kNothing, "defaults", nullptr, "of fstab(5)"},
    {kNothing, "auto", nullptr, "of fstab(5)"},
    {kNothing, "noauto", nullptr, "of fstab(5)"},
    {kNothing, "nofail", nullptr, "of fstab(5)"},
    {kNothing, "_netdev", nullptr, "of fstab(5)"},
    {kNothing, "user", nullptr, "of fstab(5)"},
    {kNothing, "nouser", nullptr, "of fstab(5)"},
    {kNothing, "users", nullptr, "of fstab(5)"},

    {kOnlyByFuse, "uidmapping", "ID:HOST:COUNT...", "other owners than on disk"},
    {kOnlyByFuse, "gidmapping", "ID:HOST:COUNT...", "other groups than on disk"},
    {kOnlyByFuse, "squash_to_root", nullptr, "everything belongs to root"},
    {kOnlyByFuse, "squash_to_uid", "UID", "everything belongs to UID"},
    {kOnlyByFuse, "squash_to_gid", "GID", "everything belongs to GID"},
    {kOnlyByFuse, "xattr_permissions", "0|1|2", "owners and modes are kept in attributes", 0, 0,
     "0"},
    {kOnlyByFuse, "noxattrs", "0|1", "no extended attributes", 0, 0, "0"},
    {kOnlyByFuse, "plugins", "FILE:...", "code that reads layers"},
};

// One option of -o, as given, with its value.
struct Word {
  std::string_view name;
  std::string_view value;  // with its escapes
  bool has_value = false;
  std::string_view text;
};

// At commas, but not those behind a backslash or in the quotes that a label may have.
std::vector<Word> SplitOptions(std::string_view text) {
  std::vector<Word> words;
  size_t start = 0;
  bool quoted = false;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size()) {
      if (text[i] == '\\') {
        ++i;
        if (i < text.size()) continue;
      } else if (text[i] == '"') {
        quoted = !quoted;
        continue;
      } else if (text[i] != ',' || quoted) {
        continue;
      }
    }
    Word word;
    word.text = text.substr(start, std::min(i, text.size()) - start);
    start = i + 1;
    if (word.text.empty()) continue;
    size_t equals = word.text.find('=');
    word.name = word.text.substr(0, equals);
    word.has_value = equals != std::string_view::npos;
    if (word.has_value) word.value = word.text.substr(equals + 1);
    words.push_back(word);
  }
  return words;
}

bool IsOctal(char c) {
  return c >= '0' && c <= '7';
}

// Appends what stands at text[i], and returns where the next character is.
size_t AppendUnescaped(std::string_view text, size_t i, std::string* to) {
  if (text[i] != '\\' || i + 1 == text.size()) {
    *to += text[i];
    return i + 1;
  }
  // \054: so fstab(5) and libfuse write what would separate.
  if (i + 3 < text.size() && text[i + 1] <= '3' && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
      IsOctal(text[i + 3])) {
    *to +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
    return i + 4;
  }
  *to += text[i + 1];
  return i + 2;
}

std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size();) i = AppendUnescaped(text, i, &plain);
  return plain;
}

const MountOption* FindOption(std::string_view name) {
  for (const MountOption& option : kTable) {
    if (name == option.name) return &option;
  }
  return nullptr;
}

bool IsComment(std::string_view name) {  // of fstab(5)
  return name.starts_with("x-") || name.starts_with("X-") || name == "comment";
}

Error NeedsValue(const MountOption& option) {
  return Error(Errc::kInvalid, fmt::format("-o {}: a value is missing", option.name))
      .Hint(fmt::format("{}={}", option.name, option.metavar));
}

Result<void> Apply(const MountOption& option, const Word& word, Request* request) {
  if (option.metavar != nullptr && !word.has_value && option.id != kNothing) {
    return Unexpected(NeedsValue(option));
  }
  const std::string value = Unescape(word.value);
  switch (option.id) {
    case kLowerdir:
      request->has_lowers = true;
      request->lowers = SplitLowers(word.value);
      break;
    case kUpperdir:
      request->upper = value;
      break;
    case kWorkdir:
      request->work = value;
      break;
    case kStore:
      request->store = value;
      break;
    case kVolatile:
      request->is_volatile = true;
      break;
    case kFsync:
      request->is_volatile = value == "0";
      break;
    case kAttribute:
      request->attributes = (request->attributes & ~option.clear) | option.set;
      break;
    case kUserxattr:
      request->userxattr = true;
      break;
    case kContext:
      request->context = value;
      std::erase(request->context, '"');
      break;
    case kFsname:
      request->source = value;
      break;
    case kRedirectDir:
      if (value == "off") break;
      return Unexpected(
          Error(Errc::kInvalid,
                fmt::format("-o redirect_dir={}: there is only redirect_dir=off", value))
              .Hint("a directory of a layer is not renamed in place, but copied by mv"));
    case kDebug:
      request->debug = request->foreground = true;
      break;
    case kNothing:
      break;
    case kOnlyByFuse:
      if (option.harmless_value != nullptr && value == option.harmless_value) break;
      if (request->only_by_fuse.empty()) request->only_by_fuse = word.text;
      break;
  }
  return {};
}

Result<void> ApplyAll(std::string_view text, Request* request) {
  for (const Word& word : SplitOptions(text)) {
    const MountOption* option = FindOption(word.name);
    if (option != nullptr) {
      STRATA_TRY(Apply(*option, word, request));
    } else if (!IsComment(word.name)) {
      request->unknown.emplace_back(word.text);
    }
  }
  return {};
}

unsigned DefaultAttributes() {
  unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME;  // those of fuse-overlayfs
  if (::geteuid() != 0) attributes |= MOUNT_ATTR_NOSUID;
  return attributes;
}

// What stands before the operands. Those of mount(8)'s helpers are in another language.
enum class Flag { kHelp, kVersion, kDebug, kForeground, kDryRun, kNothing, kUnknown };

Flag FlagOf(std::string_view word, bool is_helper) {
  if (word == "-h" || word == "--help") return Flag::kHelp;
  if (word == "-V" || word == "--version") return Flag::kVersion;
  if (is_helper) {
    if (word == "-f") return Flag::kDryRun;
    if (word == "-s" || word == "-n" || word == "-v") return Flag::kNothing;
    return Flag::kUnknown;
  }
  if (word == "-d" || word == "--debug") return Flag::kDebug;
  if (word == "-f") return Flag::kForeground;
  if (word == "-s") return Flag::kNothing;
  return Flag::kUnknown;
}

// The options of mount(8) whose value is of no use here.
bool TakesIdleValue(std::string_view word, bool is_helper) {
  return is_helper && (word == "-t" || word == "-N");
}

bool IsHelperName(std::string_view path) {
  return path.substr(path.rfind('/') + 1).starts_with("mount.");
}

Result<void> SetOperands(const std::vector<std::string>& operands, Request* request) {
  if (operands.empty()) {
    return Unexpected(Error(Errc::kInvalid, "no mountpoint specified")
                          .Hint("strata-mount -o lowerdir=A:B,upperdir=U,workdir=W TARGET"));
  }
  if (operands.size() > 2) return Fail(Errc::kInvalid, "too many operands: {}", operands[2]);
  request->target = operands.back();
  if (operands.size() == 2 && request->source.empty()) request->source = operands[0];
  return {};
}

Result<void> CheckCombination(Request* request) {
  if (!request->has_lowers || request->lowers.empty()) {
    return Unexpected(Error(Errc::kInvalid, "cannot read lower dirs: there are none")
                          .Hint("-o lowerdir=DIR[:DIR...], or lowerdir=LAYER[:LAYER...]"));
  }
  if (!request->upper.empty() && request->work.empty()) {
    return Unexpected(Error(Errc::kInvalid, "workdir not specified")
                          .Hint("an upperdir needs one: an empty directory beside it"));
  }
  if (request->upper.empty()) request->attributes |= MOUNT_ATTR_RDONLY;
  return {};
}

}  // namespace

std::span<const MountOption> MountOptions() {
  return kTable;
}

bool IsPlainPath(std::string_view component) {
  return component.starts_with('/') || component.starts_with('.');
}

std::vector<std::string> SplitLowers(std::string_view value) {
  std::vector<std::string> components;
  std::string current;
  auto belongs = [&](std::string_view rest) {  // `rest` is what follows the colon
    if (IsPlainPath(current)) return false;
    if (current == "dir") return true;
    return !current.empty() && (rest.starts_with("at=") || rest.starts_with("only="));
  };
  for (size_t i = 0; i < value.size();) {
    if (value[i] != ':' || belongs(value.substr(i + 1))) {
      i = AppendUnescaped(value, i, &current);
      continue;
    }
    if (!current.empty()) components.push_back(std::move(current));
    current.clear();
    ++i;
  }
  if (!current.empty()) components.push_back(std::move(current));
  return components;
}

Result<Request> ParseCommandLine(char** argv) {
  Request request;
  request.attributes = DefaultAttributes();
  request.is_helper = *argv != nullptr && IsHelperName(*argv);
  std::vector<std::string> operands;
  bool only_operands = false;
  for (char** next = *argv == nullptr ? argv : argv + 1; *next != nullptr; ++next) {
    std::string_view word = *next;
    if (only_operands || word.size() < 2 || word[0] != '-') {
      operands.emplace_back(word);
    } else if (word == "--") {
      only_operands = true;
    } else if (word == "-o" || TakesIdleValue(word, request.is_helper)) {
      if (*++next == nullptr) return Fail(Errc::kInvalid, "{}: a value is missing", word);
      if (word == "-o") STRATA_TRY(ApplyAll(*next, &request));
    } else if (word.starts_with("-o")) {
      STRATA_TRY(ApplyAll(word.substr(2), &request));
    } else {
      switch (FlagOf(word, request.is_helper)) {
        case Flag::kHelp:
          request.action = Request::Action::kHelp;
          return request;
        case Flag::kVersion:
          request.action = Request::Action::kVersion;
          return request;
        case Flag::kDebug:
          request.debug = request.foreground = true;
          break;
        case Flag::kForeground:
          request.foreground = true;
          break;
        case Flag::kDryRun:
          request.dry_run = true;
          break;
        case Flag::kNothing:
          break;
        case Flag::kUnknown:
          request.unknown.emplace_back(word);
      }
    }
  }
  STRATA_TRY(SetOperands(operands, &request));
  STRATA_TRY(CheckCombination(&request));
  return request;
}

std::string HelpText() {
  std::string text =
      "usage: strata-mount [options] -o lowerdir=A:B[,upperdir=U,workdir=W][,...] [SOURCE] TARGET\n"
      "\n"
      "Mounts an overlay of the kernel at TARGET, with the command line of fuse-overlayfs. No process\n"
      "stays behind; umount takes it away.\n"
      "\n"
      "    -h   --help            print help\n"
      "    -V   --version         print version\n"
      "    -d   --debug           say what is mounted (implies -f)\n"
      "    -f                     stay until it is unmounted, and unmount it when told to end\n"
      "    -s                     nothing: there are no threads\n"
      "\n"
      "A component of lowerdir that begins with / or . is a directory; so is any other that is one\n"
      "seen from here. What else there is, is a layer of the store: a ref, an id, a root or\n"
      "dir:PATH@KEY, with :at= and :only= as `strata run` has them. A backslash stands before a colon\n"
      "or comma that is part of a name: lowerdir=gcc\\:12:base.\n";
  const char* const headings[] = {
      "Options (-o)", "Taken, and without an effect",
      "Only by fuse-overlayfs, which is started for them where it is installed"};
  std::optional<size_t> current;
  for (const MountOption& option : kTable) {
    size_t heading = option.id == kNothing ? 1 : option.id == kOnlyByFuse ? 2 : 0;
    if (heading != current) text += fmt::format("\n{}:\n", headings[heading]);
    current = heading;
    std::string name = option.name;
    if (option.metavar != nullptr) name += fmt::format("={}", option.metavar);
    text += fmt::format("    {:<26} {}\n", name, option.help);
  }
  return text;
}

}  // namespace strata::mount
