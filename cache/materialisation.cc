// SPDX-License-Identifier: Apache-2.0
#include "cache/materialisation.h"

#include <cerrno>

#include "base/file_lock.h"
#include "base/hash.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/list_directory.h"

namespace strata {
namespace {

constexpr std::string_view kPrefix = "owners-";
constexpr std::string_view kLayers = "layers/";
constexpr std::string_view kDerived = "derived/";
constexpr size_t kKeyDigits = 16;

std::string KeyOf(const IdMapping& mapping, bool lacking) {
  std::string text = lacking ? "strata owners 1, some are the caller's\n" : "strata owners 1\n";
  auto add = [&](char kind, const std::vector<IdRange>& ranges) {
    for (const IdRange& range : ranges) {
      text += fmt::format("{} {} {} {}\n", kind, range.inside, range.outside, range.count);
    }
  };
  add('u', mapping.uids);
  add('g', mapping.gids);
  return Sha256::Of(text.data(), text.size()).Hex().substr(0, kKeyDigits);
}

}  // namespace

// No name of another derived layer is all hexadecimal, as ids are.
std::string MaterialisationName(std::string_view source, const IdMapping& mapping, bool lacking) {
  return fmt::format("{}{}-{}", kPrefix, KeyOf(mapping, lacking),
                     source.substr(source.find('/') + 1));
}

std::optional<MaterialisationOf> ParseMaterialisation(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.size() < kKeyDigits + 2 || name[kKeyDigits] != '-') return std::nullopt;
  MaterialisationOf found;
  found.mapping = name.substr(0, kKeyDigits);
  const std::string source(name.substr(kKeyDigits + 1));
  found.source = std::string(Digest::FromHex(source) ? kLayers : kDerived) + source;
  return found;
}

bool IsFor(const MaterialisationOf& materialisation, const IdMapping& mapping) {
  return materialisation.mapping == KeyOf(mapping, false) ||
         materialisation.mapping == KeyOf(mapping, true);
}

std::optional<IdMapping> FindMapping(const MaterialisationOf& materialisation) {
  auto mapping = SubordinateIds();
  if (!mapping || !IsFor(materialisation, *mapping)) return std::nullopt;
  return std::move(*mapping);
}

Result<void> RemoveMaterialisations(const Store& store, std::string_view source) {
  STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(store.fd(), "derived"));
  for (const std::string& name : names) {
    auto materialisation = ParseMaterialisation(name);
    if (!materialisation || materialisation->source != source) continue;
    const std::string path = "derived/" + name;
    auto lock =
        FileLock::OnDirectory(store.fd(), path + "/tree", LockMode::kExclusive, LockWait::kFail);
    // Without its tree it is of no use to anybody.
    if (!lock && lock.error().sys_errno() != ENOENT) return Unexpected(std::move(lock).error());
    const std::string trash = "trash/" + RandomName();
    int rc = sys::RenameAt2(store.fd(), path.c_str(), store.fd(), trash.c_str());
    if (rc == -ENOENT) continue;
    if (rc < 0) return FailSys(-rc, "rename", path);
    static_cast<void>(RemoveTree(store.fd(), trash));  // else it is gc's
  }
  return {};
}

}  // namespace strata
