// SPDX-License-Identifier: Apache-2.0
#include "sandbox/compose_root.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "base/file_lock.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/turn.h"
#include "sandbox/integration.h"
#include "stager/composition.h"

namespace strata {
namespace {

bool CannotWrite(const Error& error) {
  return error.sys_errno() == EROFS || error.sys_errno() == EACCES || error.sys_errno() == EPERM;
}

Result<CachedRoot> Uncached(const std::string& encoded_set, RootDraft draft) {
  if (!draft.commands.empty()) {
    return Unexpected(
        Error(Errc::kInvalid,
              fmt::format("integrate: {}: these layers are not cached, and it would run each time",
                          draft.commands.front()))
            .Hint("give each plain directory a key that stands for its content: dir:PATH@KEY"));
  }
  CachedRoot root;
  root.key = KeyOfSet(encoded_set);
  root.content = std::move(draft.content);
  root.encoded_set = encoded_set;
  root.draft_leases = std::move(draft.leases);
  return root;
}

Result<CachedRoot> Publish(const Store& store, const std::string& encoded_set, RootDraft draft) {
  Result<CachedRoot> root = PublishRoot(store, encoded_set, draft.content);
  bool made_nothing = draft.content.method == RootMethod::kDirect && draft.commands.empty();
  if (root || !made_nothing || !CannotWrite(root.error())) return root;
  return Uncached(encoded_set, std::move(draft));
}

// One process runs the commands. Who waits for it says so: they may take long, or for ever.
Result<Turn> TakeTurn(const Store& store, const RootKey& key, const ComposeRootOptions& options) {
  using Clock = std::chrono::steady_clock;
  const std::string name = "integrate-" + key.Hex();
  const auto until = Clock::now() + std::chrono::milliseconds(options.timeout_ms);
  for (bool told = false;; told = true) {
    Result<Turn> turn = Turn::Take(store, name, LockWait::kFail);
    if (turn || turn.error().code() != Errc::kBusy) return turn;
    if (!told && options.warn) {
      options.warn("waiting for another strata that runs the commands of this root");
    }
    if (options.timeout_ms == 0) return Turn::Take(store, name);
    if (Clock::now() > until) {
      return Fail(Errc::kBusy, "timed out while another strata runs the commands of this root");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

Result<CachedRoot> ComposeRoot(const Store& store, const DependencySet& set,
                               const ComposeRootOptions& options) {
  const std::string encoded_set = set.Encode();
  std::optional<CachedRoot> found;
  if (set.cacheable()) {
    STRATA_ASSIGN(found, FindRoot(store, encoded_set));
  }
  if (found) return std::move(*found);

  if (options.on_miss) options.on_miss();
  STRATA_ASSIGN(RootDraft draft, DraftRoot(store, set, options.compose));
  if (options.warn) {
    for (const std::string& warning : draft.warnings) options.warn(warning);
  }
  if (!set.cacheable()) return Uncached(encoded_set, std::move(draft));
  if (draft.commands.empty()) return Publish(store, encoded_set, std::move(draft));

  STRATA_ASSIGN_WITH(Turn turn, TakeTurn(store, KeyOfSet(encoded_set), options), "integrate");
  STRATA_ASSIGN(found, FindRoot(store, encoded_set));
  if (found) {
    found->hit = false;  // it was not there when the caller asked
    return std::move(*found);
  }
  STRATA_ASSIGN(std::optional<DerivedLayer> layer, Integrate(store, draft, encoded_set, options));
  if (layer) {
    STRATA_ASSIGN(Manifest manifest, OpenTreeManifest(store, layer->path));
    if (manifest.has_foreign_owners()) {
      draft.content.foreign_lowers.push_back(static_cast<uint32_t>(draft.content.lowers.size()));
      if (manifest.has_files_of_other_users()) draft.content.needs_range = true;
    }
    draft.content.lowers.push_back(layer->path);
    draft.leases.push_back(std::move(layer->lease));
  }
  return Publish(store, encoded_set, std::move(draft));
}

Result<std::optional<std::string>> FindLostLower(const Store& store, const CachedRoot& root) {
  for (const std::string& lower : root.content.lowers) {
    struct stat st;
    int rc = sys::FstatAt(store.fd(), lower.c_str(), &st);
    if (rc == 0 && S_ISDIR(st.st_mode)) continue;
    if (rc == 0 || rc == -ENOENT || rc == -ENOTDIR) return lower;
    return FailSys(-rc, "stat", lower);
  }
  return std::nullopt;
}

Result<void> DropLostRoot(const Store& store, CachedRoot root, const std::string& lost) {
  if (!lost.starts_with("derived/")) {
    return Unexpected(
        Error(Errc::kCorrupt,
              fmt::format("{}/{} is gone: a layer of this root was removed or changed by hand",
                          store.path(), lost))
            .Hint("`strata fsck` finds all such damage; import the layer again"));
  }
  root.lease = FileLock();
  root.draft_leases.clear();
  auto removed = RemoveRoot(store, root.key);
  if (!removed && removed.error().code() != Errc::kNotFound) return removed;
  // A manifest without its tree would be in the way of the new one.
  const std::string rest = lost.substr(0, lost.rfind('/'));
  const std::string trash = "trash/" + RandomName();
  int rc = sys::RenameAt2(store.fd(), rest.c_str(), store.fd(), trash.c_str());
  if (rc == -ENOENT) return {};
  if (rc < 0) return FailSys(-rc, "rename", rest);
  return RemoveTree(store.fd(), trash);
}

}  // namespace strata
