// SPDX-License-Identifier: Apache-2.0
//
// The part of Store that deals in names: refs and prefixes of ids and keys.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/suggest.h"
#include "base/sys.h"
#include "cache/durable.h"
#include "cache/roots.h"
#include "cache/store.h"

namespace strata {
namespace {

std::string RefPath(std::string_view name) {
  std::string path = "refs/";
  for (char c : name) {
    if (c == '/') {
      path += "%2F";
    } else {
      path += c;
    }
  }
  return path;
}

std::string NameOfRefFile(std::string_view file) {
  std::string name(file);
  for (size_t at; (at = name.find("%2F")) != std::string::npos;) name.replace(at, 3, "/");
  return name;
}

Result<Target> ParseRef(std::string_view content, std::string_view name) {
  constexpr std::string_view kLayer = "layer ";
  constexpr std::string_view kRoot = "root ";
  if (!content.empty() && content.back() == '\n') {
    content.remove_suffix(1);
    if (content.substr(0, kLayer.size()) == kLayer) {
      if (auto id = Digest::FromHex(content.substr(kLayer.size()))) return *id;
    } else if (content.substr(0, kRoot.size()) == kRoot) {
      if (auto key = Key128::FromHex(content.substr(kRoot.size()))) return *key;
    }
  }
  return Unexpected(Error(Errc::kCorrupt, fmt::format("ref {} is damaged", name))
                        .Hint(fmt::format("give it again: strata tag ID {}", name)));
}

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Error NotALayer(std::string_view name, const Key128& key) {
  return Error(Errc::kInvalid, fmt::format("{} is a composed root, not a layer", name))
      .Hint(fmt::format("its layers: strata show {:.12}", key.Hex()));
}

Error Ambiguous(std::string_view prefix, const std::vector<Target>& matches) {
  std::string list;
  size_t roots = 0;
  for (size_t i = 0; i < matches.size(); ++i) {
    if (matches[i].is_root()) ++roots;
    if (i < 5) list += fmt::format("{}{:.16}", i == 0 ? "" : ", ", matches[i].Hex());
  }
  if (matches.size() > 5) list += ", ...";
  std::string what = roots == 0                ? fmt::format("{} layers", matches.size())
                     : roots == matches.size() ? fmt::format("{} roots", matches.size())
                                               : fmt::format("{} layers and roots", matches.size());
  return Error(Errc::kAmbiguous, fmt::format("the id prefix {} fits {}", prefix, what))
      .Hint("one of " + list);
}

}  // namespace

Result<void> Store::CheckRefName(std::string_view name) {
  auto bad = [&](std::string_view why) {
    return Fail(Errc::kInvalid, "'{}' cannot be a ref: {}", name, why);
  };
  if (name.empty()) return bad("it is empty");
  if (name.size() > 100) return bad("it is longer than 100 bytes");
  if (name.front() == '-') return bad("it starts with '-'");
  if (name.substr(0, 4) == "dir:") return bad("'dir:' marks a plain directory");
  if (name.size() == 64 && IsHex(name)) return bad("it is a layer id");
  if (name.size() == 32 && IsHex(name)) return bad("it is the key of a root");
  for (char c : name) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                std::string_view("._/:+~@-").find(c) != std::string_view::npos;
    if (!good) return bad("only letters, digits and ._/:+~@- are allowed");
  }
  for (size_t at = 0; at <= name.size();) {
    size_t slash = std::min(name.find('/', at), name.size());
    std::string_view part = name.substr(at, slash - at);
    if (part.empty() || part == "." || part == "..") return bad("an empty, '.' or '..' part");
    at = slash + 1;
  }
  return {};
}

Result<void> Store::SetRef(std::string_view name, const Target& target) const {
  STRATA_TRY(CheckRefName(name));
  // Who removes it looks at the refs after having locked it: either that sees this one, or the
  // lease fails.
  LayerLease layer;
  std::optional<CachedRoot> root;
  if (target.is_root()) {
    STRATA_ASSIGN_WITH(root, OpenRoot(*this, target.root), fmt::format("set ref {}", name));
    // Roots without the mark are dropped after a restart: a name is no use for one.
    if (!IsMarked(*this, "roots/" + target.Hex())) STRATA_TRY(MarkDurable(*this));
  } else {
    STRATA_ASSIGN_WITH(layer, LeaseLayer(target.layer), fmt::format("set ref {}", name));
  }
  STRATA_TRY_WITH(ReplaceFile(root_.get(), RefPath(name),
                              fmt::format("{} {}\n", target.KindName(), target.Hex()), 0644,
                              FlushData::kYes),
                  fmt::format("set ref {}", name));
  return {};
}

Result<Target> Store::ReadTarget(std::string_view name) const {
  STRATA_TRY(CheckRefName(name));
  int fd = sys::OpenAt(root_.get(), RefPath(name).c_str(), O_RDONLY | O_NOFOLLOW);
  if (fd == -ENOENT) return Fail(Errc::kNotFound, "no ref {}", name);
  STRATA_ASSIGN(UniqueFd file, sys::CheckFd(fd, "open", RefPath(name)));
  char content[128];
  int64_t size = sys::Read(fd, content, sizeof content);
  if (size < 0) return FailSys(static_cast<int>(-size), "read", RefPath(name));
  return ParseRef({content, static_cast<size_t>(size)}, name);
}

Result<LayerId> Store::ReadRef(std::string_view name) const {
  STRATA_ASSIGN(Target target, ReadTarget(name));
  if (target.is_root()) return Unexpected(NotALayer(name, target.root));
  return target.layer;
}

Result<void> Store::RemoveRef(std::string_view name) const {
  STRATA_TRY(CheckRefName(name));
  int rc = sys::UnlinkAt(root_.get(), RefPath(name).c_str());
  if (rc == -ENOENT) return Fail(Errc::kNotFound, "no ref {}", name);
  if (rc < 0) return FailSys(-rc, "unlink", RefPath(name));
  return {};
}

Result<std::vector<Store::Ref>> Store::ListRefs() const {
  std::vector<Ref> refs;
  STRATA_ASSIGN(UniqueFd fd, OpenDir("refs"));
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", "refs");
  static_cast<void>(fd.release());
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir)) {
    std::string name = NameOfRefFile(entry->d_name);
    // A temporary file of ReplaceFile has a '#' in its name.
    if (CheckRefName(name)) names.push_back(std::move(name));
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  for (std::string& name : names) {
    auto target = ReadTarget(name);
    if (target) refs.push_back({std::move(name), *target});
  }
  return refs;
}

Result<LayerId> Store::Resolve(std::string_view name) const {
  auto target = ResolveTarget(name);
  if (!target) return Unexpected(std::move(target).error());
  if (target->is_root()) return Unexpected(NotALayer(name, target->root));
  return target->layer;
}

Result<Target> Store::ResolveTarget(std::string_view name) const {
  // Not looked up: a hit of the composed-root cache needs no layer, and who needs it leases it.
  if (auto id = Digest::FromHex(name)) return *id;
  const bool is_hex = name.size() >= 4 && name.size() <= 64 && IsHex(name);
  if (!(is_hex && name.size() == 32) && CheckRefName(name)) {
    auto ref = ReadTarget(name);
    if (ref || ref.error().code() != Errc::kNotFound) return ref;
  }
  if (is_hex) {
    std::vector<Target> matches;
    STRATA_ASSIGN(std::vector<LayerId> ids, ListLayers());
    for (const LayerId& id : ids) {
      if (id.Hex().compare(0, name.size(), name) == 0) matches.push_back(id);
    }
    STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(*this));
    for (const RootKey& key : keys) {
      if (key.Hex() == name) return key;
      if (key.Hex().compare(0, name.size(), name) == 0) matches.push_back(key);
    }
    if (matches.size() == 1) return matches[0];
    if (matches.size() > 1) return Unexpected(Ambiguous(name, matches));
    if (name.size() == 32) {
      return Fail(Errc::kNotFound, "no cached root {}, and no layer whose id starts so", name);
    }
  }
  Error error(Errc::kNotFound, fmt::format("no layer or ref named {}", name));
  STRATA_ASSIGN(std::vector<Ref> refs, ListRefs());
  std::vector<std::string_view> names(refs.size());
  for (size_t i = 0; i < refs.size(); ++i) names[i] = refs[i].name;
  std::string_view best = Nearest(name, names);
  if (!best.empty()) {
    error = std::move(error).Hint(fmt::format("did you mean {}?", best));
  } else if (refs.empty()) {
    error = std::move(error).Hint("the store is empty: strata import --name NAME SOURCE");
  } else {
    error = std::move(error).Hint("`strata list` shows what there is");
  }
  return Unexpected(std::move(error));
}

}  // namespace strata
