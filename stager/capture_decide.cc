// SPDX-License-Identifier: Apache-2.0
//
// What is kept, and what has to be done on disk for it.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/remove_tree.h"
#include "base/sys.h"
#include "stager/capture_session.h"

namespace strata {

void CaptureSession::Decide() {
  for (const auto& [inode, names] : linked_) SettleLinked(names);
  DropUnchanged();
  PlanActions();
}

// Several names of one inode share what it is, and their fate: one changed name keeps them all.
void CaptureSession::SettleLinked(std::vector<Node> names) {
  const Node leader = names.front();
  if (names.size() == 1) {  // the other names were left out
    Settle(leader);
  } else {
    Data& data = builder_.At(leader);
    // Inherits from the first name (in path order) with the same content below, else from the first
    // one that exists there at all.
    std::vector<std::pair<std::string, Node>> by_path;
    for (Node name : names) {
      if (entries_[name].lower) by_path.emplace_back(builder_.Path(name), name);
    }
    std::sort(by_path.begin(), by_path.end());
    auto source = std::find_if(by_path.begin(), by_path.end(), [&](const auto& name) {
      return SameContent(data, *entries_[name.second].lower);
    });
    if (source == by_path.end()) source = by_path.begin();
    SetNewOwner(data);
    if (source != by_path.end()) Inherit(data, *entries_[source->second].lower, false);
    bool changed = !LinkedBelow(names) || std::any_of(names.begin(), names.end(), [&](Node name) {
      return entries_[name].covered || !Matches(data, *entries_[name].lower);
    });
    for (Node name : names) entries_[name].changed = changed;
    if (changed) SetWantedMtime(data);
  }
  entries_[leader].set_mtime = entries_[leader].changed && options_.mtime.has_value();
}

// Whether all the names are names of one inode in the chain, too.
bool CaptureSession::LinkedBelow(const std::vector<Node>& names) const {
  const std::optional<Place>& first = entries_[names.front()].lower;
  return std::all_of(names.begin(), names.end(), [&](Node name) {
    const std::optional<Place>& lower = entries_[name].lower;
    return lower && lower->layer == first->layer && lower_.entry(*lower).hardlink != kNoEntry &&
           lower_.entry(*lower).hardlink == lower_.entry(*first).hardlink;
  });
}

void CaptureSession::DropUnchanged() {
  // Children have higher numbers than their directory: each one is decided before it.
  for (Node node = static_cast<Node>(entries_.size() - 1); node != ManifestBuilder::kRoot; --node) {
    Entry& entry = entries_[node];
    const Data& data = builder_.At(node);
    if (entry.changed || entry.keeps_child) {
      entries_[builder_.Parent(node)].keeps_child = true;
      if (data.hardlink_to == kNoEntry) content_bytes_ += data.size;
    } else {
      entry.dropped = true;
      ++dropped_;
      builder_.Remove(node);
    }
  }
}

void CaptureSession::PlanActions() {
  for (Node node = static_cast<Node>(entries_.size() - 1); node != ManifestBuilder::kRoot; --node) {
    const Entry& entry = entries_[node];
    Node parent = builder_.Parent(node);
    if (entry.dropped ? !entries_[parent].dropped
                      : entry.visit || entry.widened || entry.set_mtime) {
      actions_.push_back({parent, node});
      entries_[parent].visit = true;
    }
  }
  std::sort(actions_.begin(), actions_.end(), [](const Action& a, const Action& b) {
    return std::pair(a.parent, a.node) < std::pair(b.parent, b.node);
  });
}

Result<void> CaptureSession::Apply() {
  return ApplyIn(ManifestBuilder::kRoot, root_->get());
}

Result<void> CaptureSession::ApplyIn(Node directory, int dir_fd) {
  auto action = std::lower_bound(actions_.begin(), actions_.end(), directory,
                                 [](const Action& a, Node node) { return a.parent < node; });
  for (; action != actions_.end() && action->parent == directory; ++action) {
    const Node node = action->node;
    const std::string name(builder_.Name(node));
    const Data& data = builder_.At(node);
    if (entries_[node].dropped) {
      STRATA_TRY(RemoveTree(dir_fd, name));
    } else if (data.type == EntryType::kDirectory) {
      UniqueFd fd(OpenQuietly(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY));
      if (!fd.valid()) return FailSys(-fd.get(), "open", Describe(node));
      STRATA_TRY(ApplyIn(node, fd.get()));
      int rc = SetMtime(fd.get(), data.mtime_sec, data.mtime_nsec);
      if (rc < 0) return FailSys(-rc, "utimensat", Describe(node));
      if (entries_[node].widened && ::fchmod(fd.get(), data.mode & 01777) != 0) {
        return FailSys(errno, "chmod", Describe(node));
      }
    } else {
      int rc = SetMtime(dir_fd, name.c_str(), data.mtime_sec, data.mtime_nsec);
      if (rc < 0) return FailSys(-rc, "utimensat", Describe(node));
    }
  }
  return {};
}

}  // namespace strata
