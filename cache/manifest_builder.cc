// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <memory>

#include "cache/manifest.h"
#include "cache/manifest_layout.h"

namespace strata {

namespace {

// Grows without moving what it holds, in pieces large enough to cost the allocator nothing.
template <typename T>
class StableVector {
 public:
  T& operator[](size_t i) { return pieces_[i / kPiece][i % kPiece]; }
  const T& operator[](size_t i) const { return pieces_[i / kPiece][i % kPiece]; }
  size_t size() const { return size_; }
  T& Append() {
    if (size_ == pieces_.size() * kPiece) pieces_.push_back(std::make_unique<T[]>(kPiece));
    return (*this)[size_++];
  }

 private:
  static constexpr size_t kPiece = 256;
  std::vector<std::unique_ptr<T[]>> pieces_;
  size_t size_ = 0;
};

}  // namespace

struct ManifestBuilder::State {
  struct NodeRecord {
    Node parent = 0;
    uint16_t name_size = 0;
    size_t name_offset = 0;
    bool removed = false;
    uint32_t child_count = 0;
    Data data;
  };
  StableVector<NodeRecord> nodes;  // Data must not move, see the header
  std::string names;
  // Open addressing over (parent, name) -> node; kNoEntry is an empty slot. Removed nodes stay in
  // the table, and are skipped.
  std::vector<Node> table = std::vector<Node>(1024, kNoEntry);
  std::vector<std::string> commands;

  std::string_view Name(const NodeRecord& n) const {
    return std::string_view(names).substr(n.name_offset, n.name_size);
  }
  size_t Slot(Node parent, std::string_view name) const {
    return Xxh3Short(name, parent) & (table.size() - 1);
  }
  void Insert(Node node) {
    size_t slot = Slot(nodes[node].parent, Name(nodes[node]));
    while (table[slot] != kNoEntry) slot = (slot + 1) & (table.size() - 1);
    table[slot] = node;
  }
  void Grow() {
    table.assign(table.size() * 2, kNoEntry);
    for (Node node = 1; node < nodes.size(); ++node) {
      if (!nodes[node].removed) Insert(node);
    }
  }
};

ManifestBuilder::ManifestBuilder() : state_(std::make_unique<State>()) {
  state_->nodes.Append();
}
ManifestBuilder::~ManifestBuilder() = default;
ManifestBuilder::ManifestBuilder(ManifestBuilder&&) noexcept = default;
ManifestBuilder& ManifestBuilder::operator=(ManifestBuilder&&) noexcept = default;

std::optional<ManifestBuilder::Node> ManifestBuilder::Find(Node parent,
                                                           std::string_view name) const {
  const State& s = *state_;
  for (size_t slot = s.Slot(parent, name);; slot = (slot + 1) & (s.table.size() - 1)) {
    Node node = s.table[slot];
    if (node == kNoEntry) return std::nullopt;
    const State::NodeRecord& record = s.nodes[node];
    if (!record.removed && record.parent == parent && s.Name(record) == name) return node;
  }
}

ManifestBuilder::Node ManifestBuilder::Add(Node parent, std::string_view name) {
  State& s = *state_;
  if (s.nodes.size() * 2 > s.table.size()) s.Grow();
  Node node = static_cast<Node>(s.nodes.size());
  State::NodeRecord& record = s.nodes.Append();
  record.parent = parent;
  record.name_offset = s.names.size();
  record.name_size = static_cast<uint16_t>(name.size());
  s.names += name;
  s.Insert(node);
  ++s.nodes[parent].child_count;
  return node;
}

ManifestBuilder::Data& ManifestBuilder::At(Node node) {
  return state_->nodes[node].data;
}
const ManifestBuilder::Data& ManifestBuilder::At(Node node) const {
  return state_->nodes[node].data;
}
std::string_view ManifestBuilder::Name(Node node) const {
  return state_->Name(state_->nodes[node]);
}
ManifestBuilder::Node ManifestBuilder::Parent(Node node) const {
  return state_->nodes[node].parent;
}

std::string ManifestBuilder::Path(Node node) const {
  std::string path;
  for (Node at = node; at != kRoot; at = Parent(at)) {
    if (!path.empty()) path.insert(0, "/");
    path.insert(0, Name(at));
  }
  return path;
}

void ManifestBuilder::Remove(Node node) {
  State& s = *state_;
  s.nodes[node].removed = true;
  --s.nodes[s.nodes[node].parent].child_count;
  // Children are reached through their parent only: Finish leaves out what hangs on nothing.
}

bool ManifestBuilder::HasChildren(Node node) const {
  return state_->nodes[node].child_count > 0;
}
size_t ManifestBuilder::size() const {
  const State& s = *state_;
  std::vector<bool> gone(s.nodes.size());
  size_t live = 0;
  for (Node node = 0; node < s.nodes.size(); ++node) {  // parents come before their children
    gone[node] = s.nodes[node].removed || gone[s.nodes[node].parent];
    if (!gone[node]) ++live;
  }
  return live;
}

void ManifestBuilder::AddIntegrationCommand(std::string command) {
  state_->commands.push_back(std::move(command));
}

namespace {

void AppendXattrs(std::string& strings, std::vector<Xattr> xattrs) {
  std::sort(xattrs.begin(), xattrs.end());
  for (const Xattr& xattr : xattrs) {
    uint16_t name_size = static_cast<uint16_t>(xattr.name.size());
    uint32_t value_size = static_cast<uint32_t>(xattr.value.size());
    strings.append(reinterpret_cast<const char*>(&name_size), sizeof name_size);
    strings.append(reinterpret_cast<const char*>(&value_size), sizeof value_size);
    strings += xattr.name;
    strings += xattr.value;
  }
}

}  // namespace

Result<std::vector<uint8_t>> ManifestBuilder::Finish(std::vector<Node>* node_order) const {
  const State& s = *state_;
  // Children of each node, sorted by name: a counting sort by parent, then by name within each.
  std::vector<uint32_t> start(s.nodes.size() + 1, 0);
  for (Node node = 1; node < s.nodes.size(); ++node) {
    if (!s.nodes[node].removed) ++start[s.nodes[node].parent + 1];
  }
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<Node> children(start.back());
  {
    std::vector<uint32_t> fill(start.begin(), start.end() - 1);
    for (Node node = 1; node < s.nodes.size(); ++node) {
      if (!s.nodes[node].removed) children[fill[s.nodes[node].parent]++] = node;
    }
  }
  std::vector<Node> order{kRoot};
  std::vector<uint32_t> index_of(s.nodes.size(), kNoEntry);
  index_of[kRoot] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    Node node = order[i];
    if (s.nodes[node].data.type != EntryType::kDirectory) continue;
    auto first = children.begin() + start[node];
    auto last = children.begin() + start[node + 1];
    std::sort(first, last, [&](Node a, Node b) { return s.Name(s.nodes[a]) < s.Name(s.nodes[b]); });
    for (auto child = first; child != last; ++child) {
      index_of[*child] = static_cast<uint32_t>(order.size());
      order.push_back(*child);
    }
  }

  // Hardlink groups: the node that holds the data, then the group's first member in final order.
  auto owner_of = [&](Node node) {
    while (s.nodes[node].data.hardlink_to != kNoEntry) node = s.nodes[node].data.hardlink_to;
    return node;
  };
  std::vector<uint32_t> leader(s.nodes.size(), kNoEntry);
  std::vector<uint32_t> members(s.nodes.size(), 0);
  for (uint32_t i = 0; i < order.size(); ++i) {
    Node owner = owner_of(order[i]);
    if (leader[owner] == kNoEntry) leader[owner] = i;
    ++members[owner];
  }

  std::vector<ManifestEntry> entries(order.size());
  std::string strings;
  auto append = [&](std::string_view text) -> uint32_t {
    uint32_t offset = text.empty() ? 0 : static_cast<uint32_t>(strings.size());
    strings += text;
    return offset;
  };
  uint64_t content_size = 0;
  uint32_t whiteouts = 0;
  for (uint32_t i = 0; i < order.size(); ++i) {
    Node node = order[i];
    Node owner = owner_of(node);
    const State::NodeRecord& record = s.nodes[node];
    const Data& data = s.nodes[owner].data;
    ManifestEntry& e = entries[i];
    std::string_view name = s.Name(record);
    e.parent = index_of[record.parent];
    e.name_offset = append(name);
    e.name_size = static_cast<uint16_t>(name.size());
    e.type = data.type;
    if (data.type == EntryType::kWhiteout) {
      ++whiteouts;
      continue;
    }
    if (data.type == EntryType::kDirectory) {
      e.flags = data.flags;
      e.child_count = start[node + 1] - start[node];
      if (e.child_count > 0) e.first_child = index_of[children[start[node]]];
    } else if (members[owner] > 1) {
      e.hardlink = leader[owner];
    }
    if (node == kRoot) e.flags &= kOpaque;
    if (node == kRoot || (e.flags & kImplicit) != 0) {
      e.mode = 0755;
      e.mtime_sec = kRootMtime;
      continue;
    }
    e.mode = data.type == EntryType::kSymlink ? 0777 : data.mode & 07777;
    e.uid = data.uid;
    e.gid = data.gid;
    e.mtime_sec = data.mtime_sec;
    e.mtime_nsec = data.mtime_nsec;
    if (data.type == EntryType::kSymlink) {
      e.target_offset = append(data.target);
      e.target_size = static_cast<uint32_t>(data.target.size());
    }
    if (data.type == EntryType::kFile) {
      e.size = data.size;
      e.digest = data.digest;
      if (e.hardlink == kNoEntry || e.hardlink == i) content_size += e.size;
    }
    if (!data.xattrs.empty()) {
      e.xattrs_offset = static_cast<uint32_t>(strings.size());
      AppendXattrs(strings, data.xattrs);
      e.xattrs_size = static_cast<uint32_t>(strings.size()) - e.xattrs_offset;
    }
    if (strings.size() > 0xffffffffU) {
      return Fail(Errc::kInvalid, "more than 4 GiB of names, targets and attributes in one layer");
    }
  }
  std::string commands;
  for (const std::string& command : s.commands) {
    commands += command;
    commands += '\0';
  }

  ManifestHeader header{};
  std::memcpy(header.magic, kManifestMagic, sizeof header.magic);
  header.version = kManifestVersion;
  header.header_size = sizeof header;
  header.entry_size = sizeof(ManifestEntry);
  header.entry_count = static_cast<uint32_t>(entries.size());
  header.commands_offset = append(commands);
  header.commands_size = static_cast<uint32_t>(commands.size());
  header.strings_size = strings.size();
  header.content_size = content_size;
  header.whiteout_count = whiteouts;

  std::vector<uint8_t> bytes(sizeof header + entries.size() * sizeof(ManifestEntry) +
                             strings.size());
  uint8_t* out = bytes.data();
  std::memcpy(out, &header, sizeof header);
  out += sizeof header;
  std::memcpy(out, entries.data(), entries.size() * sizeof(ManifestEntry));
  out += entries.size() * sizeof(ManifestEntry);
  if (!strings.empty()) std::memcpy(out, strings.data(), strings.size());
  if (node_order != nullptr) *node_order = std::move(order);
  return bytes;
}

}  // namespace strata
