// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <memory>

#include "cache/manifest.h"
#include "cache/manifest_layout.h"

namespace strata {

namespace {

// What names, targets, attributes and commands are gathered in.
struct Strings {
  std::string text;

  uint32_t Append(std::string_view more) {
    uint32_t offset = more.empty() ? 0 : static_cast<uint32_t>(text.size());
    text += more;
    return offset;
  }
};

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

  // The nodes as a manifest has them: each directory's children side by side, sorted by name.
  struct Order {
    std::vector<Node> nodes;
    std::vector<uint32_t> index_of;  // this and the others by node
    std::vector<uint32_t> child_count;
    std::vector<uint32_t> first_child;
  };
  // By the node that has a group's data: its first name in the manifest, and how many there are.
  struct HardlinkGroups {
    std::vector<uint32_t> leader;
    std::vector<uint32_t> members;
  };

  Order InOrder() const;
  HardlinkGroups GroupsIn(const Order& order) const;
  ManifestEntry EntryOf(uint32_t index, const Order& order, const HardlinkGroups& groups,
                        Strings* strings) const;

  // The node that has the data of this one, which may be a hardlink.
  Node DataNode(Node node) const {
    while (nodes[node].data.hardlink_to != kNoEntry) node = nodes[node].data.hardlink_to;
    return node;
  }
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

std::vector<uint8_t> Encode(const ManifestHeader& header, const std::vector<ManifestEntry>& entries,
                            const std::string& strings) {
  const size_t entries_size = entries.size() * sizeof(ManifestEntry);
  std::vector<uint8_t> bytes(sizeof header + entries_size + strings.size());
  uint8_t* out = bytes.data();
  std::memcpy(out, &header, sizeof header);
  out += sizeof header;
  std::memcpy(out, entries.data(), entries_size);
  out += entries_size;
  if (!strings.empty()) std::memcpy(out, strings.data(), strings.size());
  return bytes;
}

}  // namespace

ManifestBuilder::State::Order ManifestBuilder::State::InOrder() const {
  // The children of each node: a counting sort by parent, then by name within each.
  std::vector<uint32_t> start(nodes.size() + 1, 0);
  for (Node node = 1; node < nodes.size(); ++node) {
    if (!nodes[node].removed) ++start[nodes[node].parent + 1];
  }
  Order order;
  order.child_count.assign(start.begin() + 1, start.end());
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<Node> children(start.back());
  {
    std::vector<uint32_t> fill(start.begin(), start.end() - 1);
    for (Node node = 1; node < nodes.size(); ++node) {
      if (!nodes[node].removed) children[fill[nodes[node].parent]++] = node;
    }
  }

  order.nodes.push_back(kRoot);
  order.index_of.assign(nodes.size(), kNoEntry);
  order.index_of[kRoot] = 0;
  order.first_child.assign(nodes.size(), 0);
  for (size_t i = 0; i < order.nodes.size(); ++i) {
    const Node node = order.nodes[i];
    if (nodes[node].data.type != EntryType::kDirectory) continue;
    auto first = children.begin() + start[node];
    auto last = children.begin() + start[node + 1];
    std::sort(first, last, [&](Node a, Node b) { return Name(nodes[a]) < Name(nodes[b]); });
    if (first != last) order.first_child[node] = static_cast<uint32_t>(order.nodes.size());
    for (auto child = first; child != last; ++child) {
      order.index_of[*child] = static_cast<uint32_t>(order.nodes.size());
      order.nodes.push_back(*child);
    }
  }
  return order;
}

ManifestBuilder::State::HardlinkGroups ManifestBuilder::State::GroupsIn(const Order& order) const {
  HardlinkGroups groups;
  groups.leader.assign(nodes.size(), kNoEntry);
  groups.members.assign(nodes.size(), 0);
  for (uint32_t i = 0; i < order.nodes.size(); ++i) {
    const Node owner = DataNode(order.nodes[i]);
    if (groups.leader[owner] == kNoEntry) groups.leader[owner] = i;
    ++groups.members[owner];
  }
  return groups;
}

ManifestEntry ManifestBuilder::State::EntryOf(uint32_t index, const Order& order,
                                              const HardlinkGroups& groups,
                                              Strings* strings) const {
  const Node node = order.nodes[index];
  const Node owner = DataNode(node);
  const NodeRecord& record = nodes[node];
  const Data& data = nodes[owner].data;
  ManifestEntry e;
  std::string_view name = Name(record);
  e.parent = order.index_of[record.parent];
  e.name_offset = strings->Append(name);
  e.name_size = static_cast<uint16_t>(name.size());
  e.type = data.type;
  if (data.type == EntryType::kWhiteout) return e;
  if (data.type == EntryType::kDirectory) {
    e.flags = data.flags;
    e.child_count = order.child_count[node];
    e.first_child = order.first_child[node];
  } else if (groups.members[owner] > 1) {
    e.hardlink = groups.leader[owner];
  }
  if (node == kRoot) e.flags &= kOpaque;
  if (node == kRoot || (e.flags & kImplicit) != 0) {
    e.mode = 0755;
    e.mtime_sec = kRootMtime;
    return e;
  }
  e.mode = data.type == EntryType::kSymlink ? 0777 : data.mode & 07777;
  e.uid = data.uid;
  e.gid = data.gid;
  e.mtime_sec = data.mtime_sec;
  e.mtime_nsec = data.mtime_nsec;
  if (data.type == EntryType::kSymlink) {
    e.target_offset = strings->Append(data.target);
    e.target_size = static_cast<uint32_t>(data.target.size());
  }
  if (data.type == EntryType::kFile) {
    e.size = data.size;
    e.digest = data.digest;
  }
  if (!data.xattrs.empty()) {
    e.xattrs_offset = static_cast<uint32_t>(strings->text.size());
    AppendXattrs(strings->text, data.xattrs);
    e.xattrs_size = static_cast<uint32_t>(strings->text.size()) - e.xattrs_offset;
  }
  return e;
}

Result<std::vector<uint8_t>> ManifestBuilder::Finish(std::vector<Node>* node_order) const {
  State::Order order = state_->InOrder();
  const State::HardlinkGroups groups = state_->GroupsIn(order);

  ManifestHeader header{};
  std::vector<ManifestEntry> entries(order.nodes.size());
  Strings strings;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    ManifestEntry& e = entries[i];
    e = state_->EntryOf(i, order, groups, &strings);
    if (e.hardlink == kNoEntry || e.hardlink == i) header.content_size += e.size;
    if (e.type == EntryType::kWhiteout) ++header.whiteout_count;
    if (strings.text.size() > 0xffffffffU) {
      return Fail(Errc::kInvalid, "more than 4 GiB of names, targets and attributes in one layer");
    }
  }
  std::string commands;
  for (const std::string& command : state_->commands) {
    commands += command;
    commands += '\0';
  }

  std::memcpy(header.magic, kManifestMagic, sizeof header.magic);
  header.version = kManifestVersion;
  header.header_size = sizeof header;
  header.entry_size = sizeof(ManifestEntry);
  header.entry_count = static_cast<uint32_t>(entries.size());
  header.commands_offset = strings.Append(commands);
  header.commands_size = static_cast<uint32_t>(commands.size());
  header.strings_size = strings.text.size();
  if (node_order != nullptr) *node_order = std::move(order.nodes);
  return Encode(header, entries, strings.text);
}

}  // namespace strata
