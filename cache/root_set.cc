// SPDX-License-Identifier: Apache-2.0
//
// The canonical encoding of a dependency set (format.md), which is what a root's key is made of.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cache/byte_reader.h"
#include "cache/roots.h"

namespace strata {
namespace {

constexpr uint32_t kSetVersion = 1;
constexpr uint32_t kIdsShift = 8;  // above the conflict policy

// Layer ids are digests: any eight bytes of one are a hash. (Of a directory without a key: zero.)
struct HashItem {
  size_t operator()(const SetItem& item) const {
    uint64_t seed;
    std::memcpy(&seed, item.id.bytes.data(), sizeof seed);
    if (!item.view.empty()) seed = Xxh3Short(item.view, seed);
    return item.directory.empty() ? seed : Xxh3Short(item.directory, seed);
  }
};

// The indices of the items that count, in order. Part of every hit: nothing is copied or allocated
// for each item.
std::vector<uint32_t> Counting(const std::vector<SetItem>& items) {
  size_t slots = 16;
  while (slots < items.size() * 2) slots *= 2;
  std::vector<uint32_t> table(slots, 0);  // open addressing; index + 1, 0 is an empty slot
  std::vector<uint32_t> kept;
  kept.reserve(items.size());
  for (uint32_t i = static_cast<uint32_t>(items.size()); i-- > 0;) {
    size_t slot = HashItem()(items[i]) & (slots - 1);
    while (table[slot] != 0 && items[table[slot] - 1] != items[i]) slot = (slot + 1) & (slots - 1);
    if (table[slot] != 0) continue;
    table[slot] = i + 1;
    kept.push_back(i);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

}  // namespace

void DependencySet::Deduplicate() {
  const std::vector<uint32_t> kept = Counting(items);
  if (kept.size() == items.size()) return;
  std::vector<SetItem> left;
  left.reserve(kept.size());
  for (uint32_t i : kept) left.push_back(std::move(items[i]));
  items = std::move(left);
}

bool DependencySet::cacheable() const {
  return std::none_of(items.begin(), items.end(), [](const SetItem& item) {
    return !item.directory.empty() && item.id == LayerId{};
  });
}

std::string DependencySet::Encode() const {
  std::string bytes;
  bytes.reserve(16 + items.size() * (sizeof(Digest) + 8));
  const std::vector<uint32_t> kept = Counting(items);
  PutU32(bytes, kSetVersion);
  PutU32(bytes, static_cast<uint32_t>(on_conflict) | static_cast<uint32_t>(integration_ids)
                                                         << kIdsShift);
  PutU32(bytes, static_cast<uint32_t>(kept.size()));
  PutU32(bytes, static_cast<uint32_t>(integration.size()));
  for (uint32_t i : kept) {
    const SetItem& item = items[i];
    bytes.append(reinterpret_cast<const char*>(item.id.bytes.data()), item.id.bytes.size());
    PutText(bytes, item.view);
    PutText(bytes, item.directory);
  }
  for (const std::string& command : integration) PutText(bytes, command);
  return bytes;
}

Result<DependencySet> DependencySet::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  DependencySet set;
  if (in.U32() != kSetVersion) return Fail(Errc::kCorrupt, "a dependency set of another version");
  const uint32_t options = in.U32();
  const uint32_t policy = options & 0xff;
  const uint32_t ids = options >> kIdsShift;
  uint32_t item_count = in.U32();
  uint32_t command_count = in.U32();
  if (policy > static_cast<uint32_t>(ConflictPolicy::kSkip)) in.SetBad();
  set.on_conflict = static_cast<ConflictPolicy>(policy);
  if (ids > static_cast<uint32_t>(DependencySet::Ids::kRange)) in.SetBad();
  set.integration_ids = static_cast<DependencySet::Ids>(ids);
  // Counts are not trusted with memory: the bytes end a wrong one soon.
  constexpr size_t kLeastItem = sizeof(Digest) + 8;
  set.items.reserve(std::min<size_t>(item_count, bytes.size() / kLeastItem));
  for (uint32_t i = 0; i < item_count && in.ok(); ++i) {
    SetItem item;
    std::string_view id = in.Bytes(item.id.bytes.size());
    if (in.ok()) std::memcpy(item.id.bytes.data(), id.data(), id.size());
    item.view = in.Text();
    item.directory = in.Text();
    set.items.push_back(std::move(item));
  }
  for (uint32_t i = 0; i < command_count && in.ok(); ++i) set.integration.emplace_back(in.Text());
  const bool whole = in.AtEnd() && Counting(set.items).size() == set.items.size();
  if (!whole) return Fail(Errc::kCorrupt, "a damaged dependency set");
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
