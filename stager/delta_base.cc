// SPDX-License-Identifier: Apache-2.0
#include "stager/delta_base.h"

#include <sys/stat.h>

#include <algorithm>
#include <numeric>

#include "base/sys.h"
#include "stager/segments.h"

namespace strata {
namespace {

constexpr size_t kMaxLookedAt = 64;  // roots, the ones used last
constexpr size_t kMaxBases = 3;

std::vector<RootKey> LastUsed(const Store& store, std::vector<RootKey> keys) {
  struct Used {
    RootKey key;
    int64_t at;
  };
  std::vector<Used> used;
  for (const RootKey& key : keys) {
    struct stat st;
    if (sys::FstatAt(store.fd(), ("roots/" + key.Hex()).c_str(), &st) < 0) continue;
    used.push_back({key, int64_t{st.st_mtim.tv_sec} * 1000000000 + st.st_mtim.tv_nsec});
  }
  std::sort(used.begin(), used.end(), [](const Used& a, const Used& b) { return a.at > b.at; });
  keys.clear();
  for (const Used& u : used) {
    if (keys.size() == kMaxLookedAt) break;
    keys.push_back(u.key);
  }
  return keys;
}

std::vector<Digest> IdsOf(const DependencySet& set) {
  std::vector<Digest> ids;
  for (const SetItem& item : set.items) {
    if (item.view.empty()) {
      ids.push_back(item.id);
      continue;
    }
    Sha256 hash;
    hash.Update(item.id.bytes.data(), item.id.bytes.size());
    hash.Update(item.view.data(), item.view.size());
    ids.push_back(hash.Finish());
  }
  return ids;
}

}  // namespace

Result<std::vector<NearRoot>> FindNearRoots(const Store& store, const DependencySet& set) {
  const std::vector<Digest> ids = IdsOf(set);
  std::vector<NearRoot> roots;
  STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(store));
  for (const RootKey& key : LastUsed(store, std::move(keys))) {
    auto root = OpenRoot(store, key);
    if (!root || root->content.method != RootMethod::kSegments) continue;  // damaged, or gone
    auto other = DependencySet::Decode(root->encoded_set);
    if (!other || other->on_conflict != set.on_conflict) continue;
    NearRoot near;
    near.key = key;
    near.common = CommonSubsequence(ids, IdsOf(*other));
    near.shared = static_cast<size_t>(std::count(near.common.begin(), near.common.end(), true));
    near.only_there = other->items.size() - near.shared;
    near.lowers = std::move(root->content.lowers);
    near.lowers.resize(root->content.base_count);
    roots.push_back(std::move(near));
  }
  return roots;
}

uint64_t EntriesOutside(const NearRoot& root, const std::vector<uint32_t>& entries_of_items) {
  uint64_t total = 0;
  uint64_t outside = 0;
  for (size_t i = 0; i < entries_of_items.size(); ++i) {
    total += entries_of_items[i];
    if (!root.common[i]) outside += entries_of_items[i];
  }
  return outside + root.only_there * (total / entries_of_items.size());
}

std::vector<DeltaBase> FindDeltaBases(const std::vector<NearRoot>& roots,
                                      const std::vector<Member>& members, size_t part) {
  std::vector<uint32_t> entries;
  for (const Member& member : members) entries.push_back(member.manifest.size());
  const uint64_t total = std::accumulate(entries.begin(), entries.end(), uint64_t{0});
  struct Candidate {
    DeltaBase base;
    uint64_t outside;
  };
  std::vector<Candidate> candidates;
  for (const NearRoot& root : roots) {
    const uint64_t outside = EntriesOutside(root, entries);
    if (outside * part > total) continue;
    candidates.push_back({{root.lowers, total}, outside});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.outside < b.outside; });
  std::vector<DeltaBase> bases;
  for (Candidate& candidate : candidates) {
    if (bases.size() == kMaxBases) break;
    bases.push_back(std::move(candidate.base));
  }
  return bases;
}

}  // namespace strata
