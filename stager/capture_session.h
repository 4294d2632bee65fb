// SPDX-License-Identifier: Apache-2.0
//
// Private to capture: one capture under way, in the order Scan, Decide, Apply, and then the
// manifest.
//
//   Scan   walks the tree once, beside the chain, reads what each entry is, hashes file content on
//          several threads, and already removes what can never be part of a layer
//   Decide keeps what differs from the chain, what it is linked to, and the directories above
//   Apply  goes back to the few places where something has to be removed or restored
//
// Directories that their owner could not read, search or write are widened by Scan and get their
// mode back in Apply.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/manifest.h"
#include "stager/capture.h"
#include "stager/lower_chain.h"

namespace strata {

// What 0:0 devices and user.overlay.* attributes are: overlayfs's own records, or forgeries.
enum class CaptureSource { kUpper, kDirectory };

class CaptureSession {
 public:
  CaptureSession(CaptureSource source, const LowerChain& lower, const CaptureOptions& options)
      : source_(source), lower_(lower), options_(options), entries_(1) {
    if (options.mapping != nullptr && !options.mapping->IsSingle()) mapping_ = options.mapping;
  }

  // `name` in `parent_fd` is the tree.
  Result<void> Scan(int parent_fd, const char* name);
  // What the layer is to hold. Fills in the result.
  void Decide();
  Result<void> Apply();
  const ManifestBuilder& builder() const { return builder_; }
  // All but the id.
  CaptureResult TakeResult();

 private:
  using Node = ManifestBuilder::Node;
  using Data = ManifestBuilder::Data;
  using Place = LowerChain::Place;
  using Merged = LowerChain::Merged;

  // What is known of a node besides its Data.
  struct Entry {
    std::optional<Place> lower;  // the chain's entry at this path, where it has the same type
    bool covered = false;      // an opaque directory above hides the chain: nothing is "unchanged"
    bool linked = false;       // one of several names of an inode: decided in Decide
    bool changed = true;       // differs from `lower`
    bool keeps_child = false;  // a directory with something in it that is kept
    bool dropped = false;
    bool widened = false;    // a directory whose mode is to be restored
    bool set_mtime = false;  // an inode with several names, whose mtime is still to be set
    bool visit = false;      // Apply has something to do here
  };
  // A directory while it is scanned.
  struct Level {
    Node node;
    std::shared_ptr<UniqueFd> dir;
    std::optional<Merged> below;  // the chain's directory
    bool covered;                 // for what is in it
    bool touched = false;         // something was removed from it: its mtime is to be restored
  };
  struct Attributes {
    bool opaque = false;
    bool capability = false;
    std::vector<std::string> strip;
  };
  struct FileJob {
    Node node;
    int dir_fd;
  };
  struct Action {
    Node parent;
    Node node;
  };

  // capture_scan.cc
  Result<void> ScanDirectory(Level& level, const struct stat& st);
  Result<void> ScanEntry(Level& level, const std::string& name);
  Result<void> ScanChildDirectory(Level& level, const std::string& name, const struct stat& st);
  Result<void> ScanLeaf(Level& level, const std::string& name, const struct stat& st);
  Result<void> Discard(Level& level, const std::string& name);
  Node Add(const Level& level, const std::string& name, EntryType type, const struct stat& st);
  std::vector<std::string_view> LeftOutOf(Node directory) const;
  Result<void> HashPending();

  // capture_entry.cc
  Result<void> CaptureFile(const FileJob& job);
  Result<void> ReadContent(int fd, Node node);
  Result<Attributes> TakeAttributes(int fd, Node node);
  Result<void> StripAttributes(int fd, Node node, const Attributes& attributes);
  bool SameContent(const Data& data, const Place& place) const;
  Result<void> TakeFromOwner(int fd, Node node);
  void SetNewOwner(Data& data) const;
  void InheritOwner(Data& data, const ManifestEntry& below) const;
  void Inherit(Data& data, const Place& place, bool covered) const;
  bool Matches(const Data& data, const Place& place) const;
  void Settle(Node node);  // owner, inherited bits, `changed` and the wanted mtime of one entry
  void SetWantedMtime(Data& data) const;

  // capture_decide.cc
  void SettleLinked(std::vector<Node> names);
  bool LinkedBelow(const std::vector<Node>& names) const;
  void DropUnchanged();
  void PlanActions();
  Result<void> ApplyIn(Node directory, int dir_fd);

  // The path of a node, or of an entry in it, for messages.
  std::string Describe(Node node, std::string_view child = {}) const;
  void Warn(std::string line);

  const CaptureSource source_;
  const LowerChain& lower_;
  const CaptureOptions& options_;
  const IdMapping* mapping_ = nullptr;  // of several ids: those on disk are what counts
  ManifestBuilder builder_;
  std::vector<Entry> entries_;  // by node
  std::shared_ptr<UniqueFd> root_;
  std::unordered_map<uint64_t, std::vector<Node>> linked_;  // by inode number
  std::vector<FileJob> jobs_;
  std::vector<std::shared_ptr<UniqueFd>> job_dirs_;  // keeps the jobs' directories open
  std::vector<Action> actions_;                      // sorted by parent

  uint64_t dropped_ = 0;
  uint64_t content_bytes_ = 0;
  std::mutex mutex_;  // guards the two below while HashPending runs
  std::vector<std::string> warnings_;
  size_t more_warnings_ = 0;
};

// A directory or file, without touching its atime where that is allowed. -errno on failure.
int OpenQuietly(int dir_fd, const char* name, int flags) noexcept;
// futimens to the mtime, the atime left alone. -errno on failure.
int SetMtime(int dir_fd, const char* name, int64_t sec, uint32_t nsec) noexcept;
int SetMtime(int fd, int64_t sec, uint32_t nsec) noexcept;

}  // namespace strata
