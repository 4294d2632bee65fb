// SPDX-License-Identifier: Apache-2.0
//
// The part of Store that deals in names: refs and id prefixes.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/suggest.h"
#include "base/sys.h"
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

Result<LayerId> ParseRef(std::string_view content, std::string_view name) {
  constexpr std::string_view kPrefix = "layer ";
  if (content.size() == kPrefix.size() + 65 && content.substr(0, kPrefix.size()) == kPrefix &&
      content.back() == '\n') {
    if (auto id = Digest::FromHex(content.substr(kPrefix.size(), 64))) return *id;
  }
  return Unexpected(
      Error(Errc::kCorrupt, fmt::format("ref {} is damaged", name))
          .Hint(fmt::format("give it again: strata tag ID {}", name)));
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
  if (Digest::FromHex(name)) return bad("it is a layer id");
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

Result<void> Store::SetRef(std::string_view name, const LayerId& id) const {
  STRATA_TRY(CheckRefName(name));
  STRATA_TRY_WITH(ReplaceFile(root_.get(), RefPath(name), fmt::format("layer {}\n", id.Hex())),
                  fmt::format("set ref {}", name));
  return {};
}

Result<LayerId> Store::ReadRef(std::string_view name) const {
  STRATA_TRY(CheckRefName(name));
  int fd = sys::OpenAt(root_.get(), RefPath(name).c_str(), O_RDONLY | O_NOFOLLOW);
  if (fd == -ENOENT) return Fail(Errc::kNotFound, "no ref {}", name);
  STRATA_ASSIGN(UniqueFd file, sys::CheckFd(fd, "open", RefPath(name)));
  char content[128];
  int64_t size = sys::Read(fd, content, sizeof content);
  if (size < 0) return FailSys(static_cast<int>(-size), "read", RefPath(name));
  return ParseRef({content, static_cast<size_t>(size)}, name);
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
    auto id = ReadRef(name);
    if (id) refs.push_back({std::move(name), *id});
  }
  return refs;
}

Result<LayerId> Store::Resolve(std::string_view name) const {
  if (CheckRefName(name)) {
    auto ref = ReadRef(name);
    if (ref || ref.error().code() != Errc::kNotFound) return ref;
  }
  bool is_hex = name.size() >= 4 && name.size() <= 64 &&
                name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (name.size() == 64 && is_hex) {
    LayerId id = *Digest::FromHex(name);
    STRATA_ASSIGN(bool have, HasLayer(id));
    if (have) return id;
    return Fail(Errc::kNotFound, "no layer {}", name);
  }
  if (is_hex) {
    STRATA_ASSIGN(std::vector<LayerId> ids, ListLayers());
    std::vector<LayerId> matches;
    for (const LayerId& id : ids) {
      if (id.Hex().compare(0, name.size(), name) == 0) matches.push_back(id);
    }
    if (matches.size() == 1) return matches[0];
    if (matches.size() > 1) {
      std::string list;
      for (size_t i = 0; i < matches.size() && i < 5; ++i) {
        list += fmt::format("{}{:.16}", i == 0 ? "" : ", ", matches[i].Hex());
      }
      if (matches.size() > 5) list += ", ...";
      return Unexpected(Error(Errc::kAmbiguous, fmt::format("the id prefix {} fits {} layers", name,
                                                            matches.size()))
                            .Hint("one of " + list));
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
