// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <cerrno>
#include <optional>

#include "base/unique_fd.h"
#include "sandbox/compose_root.h"
#include "sandbox/composition.h"
#include "tools/libstrata/events.h"
#include "tools/libstrata/handles.h"
#include "tools/libstrata/set.h"

namespace strata {

std::unique_ptr<strata_root> MakeRoot(StorePtr store, CachedRoot root, std::vector<SetItem> items) {
  auto data = std::make_shared<RootData>();
  for (const std::string& lower : root.content.lowers) {
    data->lowers.push_back(lower.front() == '/' ? lower : store->path() + "/" + lower);
  }
  data->key = root.key.Hex();
  data->store = std::move(store);
  data->root = std::move(root);
  data->items = std::move(items);
  auto handle = std::make_unique<strata_root>();
  handle->data = std::move(data);
  return handle;
}

namespace {

Result<CachedRoot> ComposeSet(const Store& store, const DependencySet& set,
                              const strata_compose_options& given) {
  Events events;
  STRATA_TRY(events.Read(given.events));
  CompositionOptions options;
  options.mtime = Mtime(given.set_mtime, given.mtime);
  options.jobs = given.jobs;
  STRATA_ASSIGN(Composition composition, Compose(store, set, options, events.observer()));
  if (composition.root.hit) {
    // `strata run` looks when something has failed; who mounts by himself cannot come back.
    STRATA_ASSIGN(std::optional<std::string> lost, FindLostLower(store, composition.root));
    if (lost) {
      STRATA_TRY(DropLostRoot(store, std::move(composition.root), *lost));
      STRATA_ASSIGN(composition, Compose(store, set, options, events.observer()));
    }
  }
  if (!composition.root.hit) CollectAfterPublishing(store, events.observer());
  return std::move(composition.root);
}

// Without heap, so that the descriptors that were made are closed whatever happens.
Result<void> Duplicate(const std::vector<int>& leases, int* fds) {
  for (size_t i = 0; i < leases.size(); ++i) {
    fds[i] = ::fcntl(leases[i], F_DUPFD_CLOEXEC, 3);
    if (fds[i] >= 0) continue;
    const int error = errno;
    while (i-- > 0) {
      ::close(fds[i]);
      fds[i] = -1;
    }
    return FailSys(error, "fcntl", "F_DUPFD_CLOEXEC");
  }
  return {};
}

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Need;
using strata::Result;

int strata_compose(const strata_set* set, const strata_compose_options* options, strata_root** root,
                   strata_error** error) {
  if (root != nullptr) *root = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(root, "root"));
    STRATA_TRY(Need(set, "set"));
    STRATA_ASSIGN(strata_compose_options given,
                  strata::ReadOptions(options, "strata_compose_options"));
    strata::DependencySet whole = set->Whole();
    if (whole.items.empty()) return strata::Fail(strata::Errc::kInvalid, "the set has no layers");
    whole.Deduplicate();
    STRATA_ASSIGN(strata::CachedRoot composed, strata::ComposeSet(*set->store, whole, given));
    *root = strata::MakeRoot(set->store, std::move(composed), std::move(whole.items)).release();
    return {};
  });
}

int strata_root_open(const strata_store* store, const char* name, strata_root** root,
                     strata_error** error) {
  if (root != nullptr) *root = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(root, "root"));
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string text, strata::Text(name, "name"));
    STRATA_ASSIGN(strata::Target target, opened->ResolveTarget(text));
    if (!target.is_root()) {
      return strata::Fail(strata::Errc::kInvalid, "{} is a layer, not a composed root", text);
    }
    STRATA_ASSIGN(strata::CachedRoot found, strata::OpenRoot(*opened, target.root));
    found.hit = true;
    STRATA_ASSIGN(strata::DependencySet set, strata::DependencySet::Decode(found.encoded_set));
    *root = strata::MakeRoot(std::move(opened), std::move(found), std::move(set.items)).release();
    return {};
  });
}

const char* strata_root_key(const strata_root* root) {
  return root != nullptr ? root->data->key.c_str() : "";
}

int strata_root_hit(const strata_root* root) {
  return root != nullptr && root->data->root.hit ? 1 : 0;
}

size_t strata_root_depth(const strata_root* root) {
  return root != nullptr ? root->data->lowers.size() : 0;
}

const char* strata_root_lower(const strata_root* root, size_t index) {
  if (root == nullptr || index >= root->data->lowers.size()) return nullptr;
  return root->data->lowers[index].c_str();
}

int strata_root_lease(const strata_root* root, int* fds, size_t capacity, size_t* count,
                      strata_error** error) {
  for (size_t i = 0; fds != nullptr && i < capacity; ++i) fds[i] = -1;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(root, "root"));
    STRATA_TRY(Need(count, "count"));
    const std::vector<int> leases = root->data->root.Leases();
    *count = leases.size();
    if (capacity < leases.size()) {
      return strata::Fail(strata::Errc::kInvalid, "capacity: there are {} descriptors",
                          leases.size());
    }
    STRATA_TRY(Need(fds, "fds"));
    return strata::Duplicate(leases, fds);
  });
}

void strata_root_free(strata_root* root) {
  delete root;
}
