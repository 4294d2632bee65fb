// SPDX-License-Identifier: Apache-2.0
#include "stager/stager.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "base/file_lock.h"
#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"

namespace strata {
namespace {

// As RealPath, but the last component may be a mount whose daemon is gone, which cannot be looked
// at.
Result<std::string> PlacePath(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto real = RealPath(path);
  if (real || real.error().sys_errno() != ENOTCONN) return real;
  size_t slash = path.rfind('/');
  STRATA_ASSIGN(std::string parent,
                RealPath(slash == std::string::npos ? "." : path.substr(0, slash + 1)));
  return parent + "/" + path.substr(slash == std::string::npos ? 0 : slash + 1);
}

Result<bool> IsEmpty(const std::string& path) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return FailSys(errno, "open", path);
  bool empty = true;
  while (const dirent* entry = ::readdir(dir)) {
    std::string_view name(entry->d_name);
    if (name != "." && name != "..") empty = false;
  }
  ::closedir(dir);
  return empty;
}

bool IsOrIsBelow(std::string_view path, std::string_view directory) {
  return path == directory || (path.size() > directory.size() && path.starts_with(directory) &&
                               path[directory.size()] == '/');
}

std::vector<StageMethod> MethodsToTry(const StageAtOptions& options) {
  if (options.method != StageMethod::kAuto) return {options.method};
  if (options.access == StageAccess::kReadOnly) return {StageMethod::kOverlay, StageMethod::kFuse};
  return {StageMethod::kOverlay, StageMethod::kFuse, StageMethod::kReflink, StageMethod::kCopy};
}

// One method at one directory, from the record to the record.
Result<StageRecord> TryStage(const Store& store, const CachedRoot& root,
                             const StageDirectory& directory, const StageAtOptions& options,
                             const Stager& stager) {
  STRATA_ASSIGN(UniqueFd stages_at, store.OpenDir("stages-at"));
  StageRecord record;
  STRATA_ASSIGN(TempDir place, NewStageRecord(stages_at.get(), record));
  record.directory = directory.path;
  record.method = stager.method();
  record.root = root.key;
  record.made_directory = directory.made;
  STRATA_TRY(WriteStageRecord(place.fd(), record));
  StageSite site{&store,         &root,        directory.path,  "stages-at/" + record.id,
                 options.access, options.jobs, options.progress};
  Result<void> put = stager.Put(site);
  if (put) {
    record.complete = true;
    put = WriteStageRecord(place.fd(), record);
  }
  if (!put) {
    static_cast<void>(stager.Remove(store, record));
    return Unexpected(std::move(put).error());
  }
  static_cast<void>(place.Release());
  return record;
}

}  // namespace

Result<StageDirectory> PrepareStageDirectory(const Store& store, const std::string& path) {
  StageDirectory directory;
  int rc = sys::MkdirAt(AT_FDCWD, path.c_str(), 0755);
  directory.made = rc == 0;
  if (rc < 0 && rc != -EEXIST) return FailSys(-rc, "mkdir", path);
  auto check = [&]() -> Result<void> {
    STRATA_ASSIGN(directory.path, RealPath(path));
    STRATA_ASSIGN(std::string store_path, RealPath(store.path()));
    if (IsOrIsBelow(directory.path, store_path)) {
      return Fail(Errc::kInvalid, "{} is in the store", path);
    }
    if (IsOrIsBelow(store_path, directory.path)) {
      return Fail(Errc::kInvalid, "the store is in {}", path);
    }
    STRATA_ASSIGN(bool empty, IsEmpty(directory.path));
    if (empty) return {};
    STRATA_ASSIGN(std::vector<ListedStage> stages, ListStageRecords(store));
    for (const ListedStage& stage : stages) {
      if (stage.record.directory != directory.path) continue;
      return Unexpected(
          Error(Errc::kExists, fmt::format("{}: a root is staged there already", path))
              .Hint(fmt::format("strata unstage {}", path)));
    }
    return Unexpected(Error(Errc::kExists, fmt::format("{} is not empty", path))
                          .Hint("a root is staged at an empty or new directory"));
  };
  Result<void> checked = check();
  if (checked) return directory;
  if (directory.made) ::rmdir(path.c_str());
  return Unexpected(std::move(checked).error());
}

namespace {

// What is left in place needs its root for as long as it is there, and only the cache keeps one. (A
// copy needs nothing any more.)
Result<void> CheckKept(const CachedRoot& root, const StageAtOptions& options) {
  if (options.access == StageAccess::kReadOnly && IsCopy(options.method)) {
    return Fail(Errc::kInvalid, "{}: a copy is the caller's own, and cannot be read-only",
                StageMethodName(options.method));
  }
  if (root.lease.held() || IsCopy(options.method)) return {};
  return Unexpected(
      Error(Errc::kInvalid, "this root cannot be cached, and so not be left in place")
          .Hint("a plain directory needs a key: dir:PATH@KEY; or give a COMMAND, and it "
                "is there for that long"));
}

}  // namespace

Result<StageRecord> StageAt(const Store& store, const CachedRoot& root, const std::string& path,
                            const StageAtOptions& options) {
  STRATA_TRY(CheckKept(root, options));
  STRATA_TRY(CleanStaleStages(store));
  STRATA_ASSIGN(StageDirectory directory, PrepareStageDirectory(store, path));
  std::optional<Error> last;
  std::string tried;
  for (StageMethod method : MethodsToTry(options)) {
    Result<StageRecord> staged = TryStage(store, root, directory, options, *MakeStager(method));
    if (staged) return staged;
    last = std::move(staged).error();
    if (last->code() != Errc::kUnsupported) break;
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", last->message());
  }
  if (directory.made) ::rmdir(directory.path.c_str());
  if (options.method == StageMethod::kAuto && last->code() == Errc::kUnsupported) {
    return Fail(Errc::kUnsupported, "no method works here: {}", tried);
  }
  return Unexpected(std::move(*last));
}

Result<void> Unstage(const Store& store, const std::string& path) {
  // Of one that is not there any more there may still be a record.
  std::string place = PlacePath(path).value_or(path);
  STRATA_ASSIGN(std::vector<ListedStage> stages, ListStageRecords(store));
  const ListedStage* found = nullptr;
  for (const ListedStage& stage : stages) {
    if (stage.record.directory == place) found = &stage;
    if (found == &stage && stage.state == StageState::kLive) break;
  }
  if (found == nullptr || found->state == StageState::kStale) {
    static_cast<void>(CleanStaleStages(store));
    return Unexpected(
        Error(Errc::kNotFound, fmt::format("{}: this store has staged nothing there", path))
            .Hint("`strata list stages` shows what is staged"));
  }
  const StageRecord& record = found->record;
  if (found->state == StageState::kMaking) {
    return Fail(Errc::kBusy, "{}: another process is staging or unstaging it", path);
  }
  const std::string name = "stages-at/" + record.id;
  STRATA_ASSIGN(FileLock lock,
                FileLock::OnDirectory(store.fd(), name, LockMode::kExclusive, LockWait::kFail));
  STRATA_TRY(MakeStager(record.method)->Remove(store, record));
  if (record.made_directory && ::rmdir(record.directory.c_str()) != 0 && errno != ENOENT &&
      errno != EBUSY && errno != ENOTEMPTY) {
    return FailSys(errno, "rmdir", record.directory);
  }
  return RemoveTree(store.fd(), name);
}

Result<std::vector<std::string>> OverlayLowers(const Store& store, const RootContent& content,
                                               const std::string& scratch, StageAccess access) {
  std::vector<std::string> lowers = content.lowers;
  if (access == StageAccess::kReadOnly && lowers.size() == 1) {
    std::string empty = scratch + "/empty";
    STRATA_TRY(sys::Check(sys::MkdirAt(store.fd(), empty.c_str(), 0755), "mkdir", empty));
    lowers.insert(lowers.begin(), empty);
  }
  return lowers;
}

}  // namespace strata
