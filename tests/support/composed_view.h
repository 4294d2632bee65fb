// SPDX-License-Identifier: Apache-2.0
//
// What the reference model expects of a composed root, in the forms in which it can be looked at:
// as the manifests say, and as files on disk.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "cache/roots.h"
#include "stager/lower_chain.h"
#include "tests/support/overlay_view.h"
#include "tests/support/reference_text.h"

namespace strata::testing {

using Facts = std::map<RefPath, std::string>;

// --- By manifests: with owners, setuid bits and all attributes; without hardlinks, of which a
// group may be spread over several layers of the composition.

inline Facts ExpectedFactsOf(const RefTree& tree) {
  Facts facts;
  for (const auto& [path, staged] : tree) {
    RefEntry e = staged.entry;
    e.group.clear();
    e.implicit = false;
    if (e.is(EntryType::kFile)) e.content = Sha256::Of(e.content.data(), e.content.size()).Hex();
    facts[path] = ListEntry(e);
  }
  return facts;
}

inline RefEntry EntryOf(const Manifest& manifest, const ManifestEntry& m) {
  RefEntry e;
  e.type = m.type;
  e.mode = m.mode;
  e.uid = m.uid;
  e.gid = m.gid;
  e.sec = m.mtime_sec;
  e.nsec = m.mtime_nsec;
  if (m.type == EntryType::kFile) e.content = m.digest.Hex();
  e.target = manifest.target(m);
  e.xattrs = manifest.xattrs(m);
  std::sort(e.xattrs.begin(), e.xattrs.end());
  return e;
}

inline void CollectFacts(const LowerChain& chain, const LowerChain::Merged& directory,
                         const RefPath& path, Facts& facts) {
  std::set<std::string> names;
  for (const LowerChain::Place& place : directory.places) {
    const ManifestEntry& d = chain.entry(place);
    for (uint32_t i = 0; i < d.child_count; ++i) {
      const Manifest& manifest = chain.manifest(place);
      names.emplace(manifest.name(manifest.entry(d.first_child + i)));
    }
  }
  for (const std::string& name : names) {
    auto child = chain.Child(directory, name);
    if (!child) continue;
    RefPath below = path;
    below.push_back(name);
    facts[below] = ListEntry(EntryOf(chain.manifest(child->top()), chain.entry(child->top())));
    if (chain.entry(child->top()).is_directory()) CollectFacts(chain, *child, below, facts);
  }
}

inline Result<Facts> MergedFacts(const Store& store, const RootContent& content) {
  std::vector<Manifest> manifests;
  for (const std::string& lower : content.lowers) {
    const std::string beside = lower.substr(0, lower.rfind('/')) + "/manifest";
    STRATA_ASSIGN(Manifest manifest, Manifest::Open(store.fd(), beside));
    STRATA_TRY(manifest.Validate());
    manifests.push_back(std::move(manifest));
  }
  std::vector<const Manifest*> pointers;
  for (const Manifest& manifest : manifests) pointers.push_back(&manifest);
  const LowerChain chain(pointers);
  Facts facts;
  if (!pointers.empty()) CollectFacts(chain, chain.Root(), {}, facts);
  return facts;
}

// --- On disk: the caller's, no setuid bits, with hardlinks.

inline Tree ExpectedTreeOf(const RefTree& expected) {
  static constexpr unsigned kTypes[] = {0, S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO};
  Tree tree;
  std::map<std::pair<size_t, std::string>, std::string> groups;
  for (const auto& [parts, staged] : expected) {
    const RefEntry& e = staged.entry;
    const std::string path = JoinPath(parts);
    TreeEntry& entry = tree[path];
    entry.group = path;
    if (!e.group.empty()) {
      entry.group = groups.try_emplace({staged.layer, e.group}, path).first->second;
    }
    entry.facts = fmt::format("{:06o} {}.{:09}",
                              kTypes[static_cast<int>(e.type)] | (e.mode & 01777), e.sec, e.nsec);
    std::vector<std::string> xattrs;
    for (const Xattr& xattr : e.xattrs) xattrs.push_back(QuotePath(xattr.name + "=" + xattr.value));
    std::sort(xattrs.begin(), xattrs.end());
    if (e.is(EntryType::kFile) || e.is(EntryType::kDirectory)) {
      entry.facts += fmt::format(" [{}]", fmt::join(xattrs, " "));
    }
    if (e.is(EntryType::kFile)) {
      entry.facts += " " + Sha256::Of(e.content.data(), e.content.size()).Hex();
    }
    if (e.is(EntryType::kSymlink)) entry.facts += " -> " + e.target;
  }
  return tree;
}

// The roots that `openers` open, each in its turn, in one child.
inline Result<std::vector<Tree>> ReadRoots(
    const std::vector<std::function<Result<UniqueFd>()>>& openers) {
  STRATA_ASSIGN(std::string text, InNamespace([&]() -> Result<std::string> {
                  std::string all;
                  for (const auto& open : openers) {
                    STRATA_ASSIGN(UniqueFd root, open());
                    STRATA_ASSIGN(Tree tree, ReadTree(root.get(), Strict::kYes));
                    const std::string packed = PackTree(tree);
                    all += std::to_string(packed.size()) + "\n" + packed;
                  }
                  return all;
                }));
  std::vector<Tree> trees;
  for (size_t at = 0; at < text.size();) {
    const size_t newline = text.find('\n', at);
    const size_t size = std::stoul(text.substr(at, newline - at));
    trees.push_back(UnpackTree(text.substr(newline + 1, size)));
    at = newline + 1 + size;
  }
  return trees;
}

// --- Differences, as text; nothing where there are none.

inline std::string Difference(const Facts& found, const Facts& expected) {
  std::string text;
  for (const auto& [path, facts] : expected) {
    auto it = found.find(path);
    if (it != found.end() && it->second == facts) continue;
    text += fmt::format("  {}\n    expected {}\n    found    {}\n", QuotePath(JoinPath(path)),
                        facts, it == found.end() ? "nothing" : it->second);
  }
  for (const auto& [path, facts] : found) {
    if (expected.count(path) != 0) continue;
    text += fmt::format("  {}\n    expected nothing\n    found    {}\n", QuotePath(JoinPath(path)),
                        facts);
  }
  return text;
}

inline std::string Difference(const Tree& found, const Tree& expected) {
  auto flat = [](const Tree& tree) {
    Facts facts;
    for (const auto& [path, e] : tree) {
      facts[SplitPath(path)] =
          fmt::format("{}{}{}", e.facts, e.special != 0 ? " SETUID" : "",
                      e.group == path ? "" : " linked to " + QuotePath(e.group));
    }
    return facts;
  };
  return Difference(flat(found), flat(expected));
}

}  // namespace strata::testing
