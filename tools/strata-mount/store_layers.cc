// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-mount/store_layers.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/io.h"
#include "base/sys.h"
#include "cache/layer_text.h"
#include "sandbox/compose_root.h"
#include "stager/stage_record.h"
#include "stager/stager.h"

namespace strata::mount {
namespace {

// mount(8) takes HOME away from its helpers. The file is read as it is: a static executable has no
// other sources of users.
void SetMissingHome() {
  if (::getenv("HOME") != nullptr) return;
  std::unique_ptr<FILE, decltype(&::fclose)> users(::fopen("/etc/passwd", "re"), &::fclose);
  if (users == nullptr) return;
  while (const passwd* user = ::fgetpwent(users.get())) {
    if (user->pw_uid == ::getuid()) {
      ::setenv("HOME", user->pw_dir, 1);
      return;
    }
  }
}

Result<std::string> StorePath(const Request& request) {
  if (!request.store.empty()) return request.store;
  SetMissingHome();
  return Store::DefaultPath();
}

bool IsDirectory(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

// `names` is topmost first, a set bottom first.
Result<DependencySet> ReadLayers(const Store& store, const std::vector<std::string>& names) {
  DependencySet set;
  std::optional<DependencySet> root;
  for (size_t i = names.size(); i-- > 0;) STRATA_TRY(AddLayerText(store, names[i], &set, &root));
  if (root && names.size() == 1) return std::move(*root);
  return set;
}

// Whether the store knows the name. None is made to find out.
bool IsLayer(const Request& request, const std::string& name) {
  auto path = StorePath(request);
  if (!path || !IsDirectory(*path)) return false;
  auto store = Store::Open(*path);
  return store && ReadLayers(*store, {name});
}

enum class Kind { kDirectory, kLayer };

Result<Kind> KindOf(const Request& request, const std::string& name) {
  if (IsPlainPath(name)) return Kind::kDirectory;
  if (name.starts_with("dir:") || !IsDirectory(name)) return Kind::kLayer;
  if (!IsLayer(request, name)) return Kind::kDirectory;
  return Unexpected(
      Error(Errc::kAmbiguous, fmt::format("{} is a directory here, and a layer of the store", name))
          .Hint(fmt::format("write ./{} for the directory; for the layer, start elsewhere", name)));
}

Result<CachedRoot> ComposeLayers(const Store& store, const Request& request) {
  STRATA_ASSIGN(DependencySet set, ReadLayers(store, request.lowers));
  ComposeRootOptions options;
  options.compose.name_of = [&](const SetItem& item) { return DescribeItem(store, item); };
  STRATA_ASSIGN(CachedRoot root, ComposeRoot(store, set, options));
  if (root.lease.held()) return root;
  return Unexpected(
      Error(Errc::kInvalid,
            "these layers cannot be cached, and so nothing would keep them while they are mounted")
          .Hint("a plain directory among layers needs a key: dir:PATH@KEY"));
}

// From the record to the record, as StageAt has it.
Result<void> MountWithRecord(const Store& store, const CachedRoot& root, const Request& request,
                             Overlay overlay) {
  STRATA_ASSIGN(UniqueFd stages_at, store.OpenDir("stages-at"));
  StageRecord record;
  STRATA_ASSIGN(TempDir place, NewStageRecord(stages_at.get(), record));
  STRATA_ASSIGN(record.directory, RealPath(request.target));
  record.method = StageMethod::kOverlay;
  record.root = root.key;
  STRATA_TRY(WriteStageRecord(place.fd(), record));
  const StageAccess access =
      overlay.upper.empty() ? StageAccess::kReadOnly : StageAccess::kWritable;
  STRATA_ASSIGN(std::vector<std::string> lowers,
                OverlayLowers(store, root.content, "stages-at/" + record.id, access));
  for (const std::string& lower : lowers) {
    overlay.lowers.insert(overlay.lowers.begin(), lower.starts_with('/')
                                                      ? lower
                                                      : fmt::format("{}/{}", store.path(), lower));
  }
  STRATA_TRY(AttachOverlay(request, overlay));
  record.complete = true;
  Result<void> written = WriteStageRecord(place.fd(), record);
  if (!written) {
    sys::Umount2(record.directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    return written;
  }
  static_cast<void>(place.Release());
  return {};
}

}  // namespace

Result<bool> AreStoreLayers(const Request& request) {
  std::optional<Kind> first;
  for (const std::string& name : request.lowers) {
    STRATA_ASSIGN_WITH(Kind kind, KindOf(request, name), "lowerdir");
    if (first && kind != *first) {
      return Unexpected(
          Error(
              Errc::kInvalid,
              fmt::format("lowerdir: {} and {}: directories and layers of the store are not mixed",
                          request.lowers[0], name))
              .Hint("dir:PATH@KEY makes a layer of a directory"));
    }
    first = kind;
  }
  return first == Kind::kLayer;
}

Result<void> MountStoreLayers(const Request& request) {
  STRATA_ASSIGN(std::string path, StorePath(request));
  STRATA_ASSIGN(Store store, Store::Open(path));
  static_cast<void>(CleanStaleStages(store));  // in a store that cannot be written to, they stay
  Overlay overlay;
  STRATA_TRY(PrepareUpper(request, &overlay));
  STRATA_ASSIGN_WITH(CachedRoot root, ComposeLayers(store, request), "lowerdir");
  return MountWithRecord(store, root, request, std::move(overlay));
}

}  // namespace strata::mount
