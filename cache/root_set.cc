// SPDX-License-Identifier: Apache-2.0
//
// The canonical encoding of a dependency set (format.md), which is what a root's key is made of.
#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "cache/byte_reader.h"
#include "cache/roots.h"

namespace strata {
namespace {

constexpr uint32_t kSetVersion = 1;

// Layer ids are digests: any eight bytes of one are a hash. (Of a directory without a key: zero.)
struct HashItem {
  size_t operator()(const SetItem& item) const {
    uint64_t seed;
    std::memcpy(&seed, item.id.bytes.data(), sizeof seed);
    if (!item.view.empty()) seed = Xxh3Short(item.view, seed);
    return item.directory.empty() ? seed : Xxh3Short(item.directory, seed);
  }
};

}  // namespace

void DependencySet::Deduplicate() {
  std::unordered_set<SetItem, HashItem> seen;
  std::vector<SetItem> kept;
  kept.reserve(items.size());
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (seen.insert(*item).second) kept.push_back(std::move(*item));
  }
  std::reverse(kept.begin(), kept.end());
  items = std::move(kept);
}

bool DependencySet::cacheable() const {
  return std::none_of(items.begin(), items.end(), [](const SetItem& item) {
    return !item.directory.empty() && item.id == LayerId{};
  });
}

std::string DependencySet::Encode() const {
  DependencySet set = *this;
  set.Deduplicate();
  std::string bytes;
  bytes.reserve(16 + set.items.size() * 40);
  PutU32(bytes, kSetVersion);
  PutU32(bytes, static_cast<uint32_t>(set.on_conflict));
  PutU32(bytes, static_cast<uint32_t>(set.items.size()));
  PutU32(bytes, static_cast<uint32_t>(set.integration.size()));
  for (const SetItem& item : set.items) {
    bytes.append(reinterpret_cast<const char*>(item.id.bytes.data()), item.id.bytes.size());
    PutText(bytes, item.view);
    PutText(bytes, item.directory);
  }
  for (const std::string& command : set.integration) PutText(bytes, command);
  return bytes;
}

Result<DependencySet> DependencySet::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  DependencySet set;
  if (in.U32() != kSetVersion) return Fail(Errc::kCorrupt, "a dependency set of another version");
  uint32_t policy = in.U32();
  uint32_t item_count = in.U32();
  uint32_t command_count = in.U32();
  if (policy > static_cast<uint32_t>(ConflictPolicy::kSkip)) in.SetBad();
  set.on_conflict = static_cast<ConflictPolicy>(policy);
  // Counts are not trusted with memory: the bytes end a wrong one soon.
  for (uint32_t i = 0; i < item_count && in.ok(); ++i) {
    SetItem item;
    std::string_view id = in.Bytes(item.id.bytes.size());
    if (in.ok()) std::memcpy(item.id.bytes.data(), id.data(), id.size());
    item.view = in.Text();
    item.directory = in.Text();
    set.items.push_back(std::move(item));
  }
  for (uint32_t i = 0; i < command_count && in.ok(); ++i) set.integration.emplace_back(in.Text());
  if (!in.AtEnd()) return Fail(Errc::kCorrupt, "a damaged dependency set");
  return set;
}

RootKey KeyOfSet(std::string_view encoded_set) {
  return Xxh3(encoded_set);
}

std::string_view RootMethodName(RootMethod method) {
  switch (method) {
    case RootMethod::kDirect:
      return "direct";
    case RootMethod::kDelta:
      return "delta";
    case RootMethod::kSegments:
      return "segments";
  }
  return "unknown";
}

}  // namespace strata
