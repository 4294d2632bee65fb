// SPDX-License-Identifier: Apache-2.0
#include "stager/stage_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>

#include "base/file_lock.h"
#include "base/id_map.h"
#include "base/io.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/mount_table.h"

namespace strata {
namespace {

constexpr std::string_view kFirstLine = "strata stage 1";
constexpr const char* kNames[] = {"auto", "overlay", "fuse", "hardlink", "reflink", "copy"};

std::string BootId() {
  auto id = ReadFile(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64);
  if (!id) return "unknown";
  while (!id->empty() && id->back() == '\n') id->pop_back();
  return *id;
}

uint64_t MountNamespace() {
  struct stat st;
  return sys::FstatAt(AT_FDCWD, "/proc/self/ns/mnt", &st, 0) == 0 ? st.st_ino : 0;
}

// Of the mount that `path` is on; 0 where it cannot be told.
uint64_t MountId(const std::string& path) {
  struct statx st;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (::statx(AT_FDCWD, path.c_str(), flags, STATX_MNT_ID, &st) != 0) return 0;
  return (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0;  // Linux 5.8
}

uint64_t OwnNamespaceId() {
  UniqueFd fd(sys::OpenAt(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY));
  return fd.valid() ? sys::MountNamespaceId(fd.get()) : 0;
}

// Whether the user namespace of this process was made by its user (of the first one root is the maker).
bool MadeUserNamespace() {
  UniqueFd fd(sys::OpenAt(AT_FDCWD, "/proc/self/ns/user", O_RDONLY));
  uid_t owner = 0;
  return fd.valid() && sys::Ioctl(fd.get(), NS_GET_OWNER_UID, &owner) == 0 && owner == ::geteuid();
}

// Whether the mount is there; nothing where the kernel does not tell this process. From the first user
// namespace it tells root of all mounts, and others of those in the user namespaces that they made.
std::optional<bool> AskForMount(const StageRecord& record, uid_t owner_of_record) {
  if (!record.complete || record.unique_mount == 0 || record.unique_namespace == 0) return std::nullopt;
  const uid_t user = ::geteuid();
  if (record.unique_namespace != OwnNamespaceId() &&
      !(IsInFirstUserNamespace() && (user == 0 || user == owner_of_record))) {
    return std::nullopt;
  }
  int rc = sys::FindMount(record.unique_mount, record.unique_namespace);
  if (rc == 0) return true;
  return rc == -ENOENT ? std::optional(false) : std::nullopt;
}

struct Identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t birth = 0;
};

// -errno
int ReadIdentity(int dir_fd, const char* path, Identity* identity) {
  struct statx st;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(dir_fd, path, flags, STATX_INO | STATX_BTIME, &st) != 0) return -errno;
  identity->device = makedev(st.stx_dev_major, st.stx_dev_minor);
  identity->inode = st.stx_ino;
  if ((st.stx_mask & STATX_BTIME) != 0) {
    identity->birth = st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
  }
  return 0;
}

bool IsSame(const Identity& identity, const StageRecord& record) {
  return identity.inode == record.inode && identity.device == record.device &&
         identity.birth == record.birth;
}

// Fields, each a name and a value, all ended by NUL: a path may hold anything else.
std::string Encode(const StageRecord& record) {
  std::string text(kFirstLine);
  text += '\0';
  auto put = [&](std::string_view name, std::string_view value) {
    text.append(name).push_back('\0');
    text.append(value).push_back('\0');
  };
  put("directory", record.directory);
  put("method", StageMethodName(record.method));
  put("root", record.root.Hex());
  put("started", std::to_string(record.started));
  put("made-directory", record.made_directory ? "1" : "0");
  put("complete", record.complete ? "1" : "0");
  put("boot", record.boot_id);
  put("mount-namespace", std::to_string(record.mount_namespace));
  put("mount", std::to_string(record.mount_id));
  put("unique-mount", std::to_string(record.unique_mount));
  put("unique-namespace", std::to_string(record.unique_namespace));
  put("device", std::to_string(record.device));
  put("inode", std::to_string(record.inode));
  put("birth", std::to_string(record.birth));
  return text;
}

template <typename Number>
bool Parse(std::string_view text, Number* number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

bool SetField(std::string_view name, std::string_view value, StageRecord& record) {
  if (name == "directory") {
    record.directory = value;
    return value.starts_with('/');
  }
  if (name == "method") {
    auto method = StageMethodFromName(value);
    if (method) record.method = *method;
    return method.has_value();
  }
  if (name == "root") {
    auto key = RootKey::FromHex(value);
    if (key) record.root = *key;
    return key.has_value();
  }
  if (name == "started") return Parse(value, &record.started);
  if (name == "made-directory") {
    record.made_directory = value == "1";
    return true;
  }
  if (name == "complete") {
    record.complete = value == "1";
    return true;
  }
  if (name == "boot") {
    record.boot_id = value;
    return true;
  }
  if (name == "mount-namespace") return Parse(value, &record.mount_namespace);
  if (name == "mount") return Parse(value, &record.mount_id);
  if (name == "unique-mount") return Parse(value, &record.unique_mount);
  if (name == "unique-namespace") return Parse(value, &record.unique_namespace);
  if (name == "device") return Parse(value, &record.device);
  if (name == "inode") return Parse(value, &record.inode);
  if (name == "birth") return Parse(value, &record.birth);
  return false;
}

std::optional<StageRecord> Decode(const std::string& id, std::string_view text) {
  auto next = [&]() -> std::optional<std::string_view> {
    size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view field = text.substr(0, end);
    text.remove_prefix(end + 1);
    return field;
  };
  if (next() != kFirstLine) return std::nullopt;
  StageRecord record;
  record.id = id;
  while (!text.empty()) {
    auto name = next();
    auto value = next();
    if (!name || !value || !SetField(*name, *value, record)) return std::nullopt;
  }
  if (record.directory.empty()) return std::nullopt;
  return record;
}

bool IsRoot(const MountEntry& mount) {
  return mount.type == "overlay" || mount.type.starts_with("fuse");
}

// Whether the root of the record is mounted: by the table of mounts, as something may be mounted
// over it, and then the directory tells of that one.
bool IsMounted(const StageRecord& record) {
  auto mounts = ReadMountTable();
  if (!mounts) return true;  // who cannot tell leaves it alone
  return std::any_of(mounts->begin(), mounts->end(), [&](const MountEntry& mount) {
    if (!IsRoot(mount)) return false;
    if (record.complete && record.mount_id != 0) return mount.id == record.mount_id;
    // Left half-made: its number is of the mount that was there before.
    return mount.directory == record.directory && mount.id != record.mount_id;
  });
}

StageState StateOf(const StageRecord& record, uid_t owner_of_record) {
  if (IsCopy(record.method)) {
    Identity identity;
    bool same = ReadIdentity(AT_FDCWD, record.directory.c_str(), &identity) == 0 &&
                IsSame(identity, record);
    return same ? StageState::kLive : StageState::kStale;
  }
  if (record.boot_id != BootId()) return StageState::kStale;
  if (auto there = AskForMount(record, owner_of_record)) {
    return *there ? StageState::kLive : StageState::kStale;
  }
  // What is mounted in another mount namespace cannot be seen from here.
  if (record.mount_namespace != MountNamespace()) return StageState::kLive;
  return IsMounted(record) ? StageState::kLive : StageState::kStale;
}

// The stages and, with `remove`, without the stale ones afterwards.
Result<std::vector<ListedStage>> Look(const Store& store, bool remove) {
  std::vector<ListedStage> stages;
  int fd = sys::OpenAt(store.fd(), "stages-at", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd == -ENOENT) return stages;
  STRATA_ASSIGN(UniqueFd parent, sys::CheckFd(fd, "open", "stages-at"));
  UniqueFd listing(sys::OpenAt(parent.get(), ".", O_RDONLY | O_DIRECTORY));
  DIR* dir = ::fdopendir(listing.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", "stages-at");
  static_cast<void>(listing.release());
  while (const dirent* entry = ::readdir(dir)) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    auto lock = FileLock::OnDirectory(parent.get(), name, LockMode::kExclusive, LockWait::kFail);
    bool busy = !lock && lock.error().code() == Errc::kBusy;
    if (!lock && !busy) continue;  // just removed
    auto text = ReadFile(parent.get(), name + "/record", 64 << 10);
    std::optional<StageRecord> record;
    if (text) record = Decode(name, *text);
    struct stat st;
    // Its owner locks it just after making it: so soon, we may have been first.
    if (sys::FstatAt(parent.get(), name.c_str(), &st) < 0) continue;
    bool young = ::time(nullptr) - st.st_mtime < 2;
    if (!record) {
      if (remove && !busy && !young) static_cast<void>(RemoveTree(parent.get(), name));
      continue;
    }
    StageState state = busy ? StageState::kMaking : StateOf(*record, st.st_uid);
    if (state == StageState::kStale && remove && RemoveTree(parent.get(), name)) continue;
    stages.push_back({std::move(*record), state});
  }
  ::closedir(dir);
  std::sort(stages.begin(), stages.end(), [](const ListedStage& a, const ListedStage& b) {
    return a.record.directory < b.record.directory;
  });
  return stages;
}

}  // namespace

std::string_view StageMethodName(StageMethod method) {
  return kNames[static_cast<size_t>(method)];
}

std::optional<StageMethod> StageMethodFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<StageMethod>(i);
  }
  return std::nullopt;
}

Result<TempDir> NewStageRecord(int stages_at_fd, StageRecord& record) {
  STRATA_ASSIGN(TempDir dir, TempDir::Create(stages_at_fd, ""));
  record.id = dir.name();
  record.started = ::time(nullptr);
  return dir;
}

Result<void> WriteStageRecord(int record_dir_fd, StageRecord& record) {
  record.boot_id = BootId();
  record.mount_namespace = MountNamespace();
  record.mount_id = MountId(record.directory);
  if (MadeUserNamespace()) {
    record.unique_mount = sys::UniqueMountId(record.directory.c_str());
    record.unique_namespace = OwnNamespaceId();
  }
  Identity identity;
  int rc = ReadIdentity(AT_FDCWD, record.directory.c_str(), &identity);
  if (rc < 0) return FailSys(-rc, "statx", record.directory);
  record.device = identity.device;
  record.inode = identity.inode;
  record.birth = identity.birth;
  return ReplaceFile(record_dir_fd, "record", Encode(record), 0600);
}

Result<bool> IsStagedDirectory(int directory_fd, const StageRecord& record) {
  Identity identity;
  int rc = ReadIdentity(directory_fd, "", &identity);
  if (rc < 0) return FailSys(-rc, "statx", record.directory);
  return IsSame(identity, record);
}

Result<std::vector<ListedStage>> ListStageRecords(const Store& store) {
  return Look(store, /*remove=*/false);
}

Result<void> CleanStaleStages(const Store& store) {
  STRATA_TRY(Look(store, /*remove=*/true));
  return {};
}

Result<std::vector<RootKey>> RootsHeldByStages(const Store& store) {
  STRATA_ASSIGN(std::vector<ListedStage> stages, Look(store, /*remove=*/false));
  std::vector<RootKey> keys;
  for (const ListedStage& stage : stages) {
    // A copy needs no root any more; who is making one has a lease on it.
    if (stage.state == StageState::kStale || IsCopy(stage.record.method)) continue;
    keys.push_back(stage.record.root);
  }
  return keys;
}

}  // namespace strata
