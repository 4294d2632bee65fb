// SPDX-License-Identifier: Apache-2.0
#include "base/cgroup.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/io.h"
#include "base/mount_table.h"
#include "base/sys.h"
#include "base/temp_dir.h"

namespace strata {
namespace {

constexpr std::string_view kNames[kControllers] = {"memory", "pids", "cpu"};
constexpr std::string_view kPrefix = "strata-";
constexpr uint64_t kCpuPeriodUs = 100000;
constexpr size_t kSmallFile = 1 << 20;

uint64_t& Of(CgroupLimits& limits, size_t controller) {
  return controller == 0 ? limits.memory : controller == 1 ? limits.pids : limits.cpu_milli;
}
uint64_t Of(const CgroupLimits& limits, size_t controller) {
  return Of(const_cast<CgroupLimits&>(limits), controller);
}

// Up to the next `separator`, which is taken off `text` too.
std::string_view Cut(std::string_view* text, char separator) {
  std::string_view part = text->substr(0, text->find(separator));
  text->remove_prefix(std::min(part.size() + 1, text->size()));
  return part;
}

bool HasWord(std::string_view list, std::string_view word, char separator) {
  while (!list.empty()) {
    if (Cut(&list, separator) == word) return true;
  }
  return false;
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The limit in a file of a v2 group; 0: none, and where there is no such file.
uint64_t ReadLimit(int dir_fd, const char* file) {
  auto text = ReadFile(dir_fd, file, kSmallFile);
  if (!text) return 0;
  std::string_view rest(*text);
  auto first = Number(Cut(&rest, ' '));
  if (!first || std::string_view(file) != "cpu.max") return first.value_or(0);
  uint64_t period = std::max<uint64_t>(Number(rest).value_or(kCpuPeriodUs), 1);
  return std::max<uint64_t>(*first * 1000 / period, 1);
}

std::optional<uint64_t> ReadNumber(int dir_fd, const char* file) {
  auto text = ReadFile(dir_fd, file, kSmallFile);
  return text ? Number(*text) : std::nullopt;
}

// Of "KEY NUMBER" lines.
std::optional<uint64_t> ReadField(int dir_fd, const char* file, std::string_view key) {
  auto text = ReadFile(dir_fd, file, kSmallFile);
  if (!text) return std::nullopt;
  std::string_view rest(*text);
  while (!rest.empty()) {
    std::string_view line = Cut(&rest, '\n');
    if (Cut(&line, ' ') == key) return Number(line);
  }
  return std::nullopt;
}

Result<void> WriteFile(int dir_fd, const std::string& file, std::string_view text) {
  STRATA_ASSIGN(UniqueFd fd, OpenAt(dir_fd, file, O_WRONLY));
  return WriteAll(fd.get(), text, file);
}

// Not every kernel counts swap, or has any to count.
void LimitSwap(int dir_fd, const char* file, std::string_view text) {
  static_cast<void>(WriteFile(dir_fd, file, text).has_value());
}

// Less than 1 ms per period is refused.
uint64_t CpuQuotaUs(uint64_t cpu_milli) {
  return std::max<uint64_t>(cpu_milli * kCpuPeriodUs / 1000, 1000);
}

Result<void> SetLimit(int dir_fd, int version, size_t controller, uint64_t limit) {
  std::string text = fmt::format("{}", limit);
  switch (static_cast<Controller>(controller)) {
    case Controller::kMemory:
      STRATA_TRY(WriteFile(dir_fd, version == 2 ? "memory.max" : "memory.limit_in_bytes", text));
      // v1 counts both in one, which may not be less than the limit of memory alone.
      if (version == 2) LimitSwap(dir_fd, "memory.swap.max", "0");
      if (version == 1) LimitSwap(dir_fd, "memory.memsw.limit_in_bytes", text);
      return {};
    case Controller::kPids:
      return WriteFile(dir_fd, "pids.max", text);
    case Controller::kCpu:
      break;
  }
  const uint64_t quota = CpuQuotaUs(limit);
  if (version == 2) {
    return WriteFile(dir_fd, "cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
  }
  STRATA_TRY(WriteFile(dir_fd, "cpu.cfs_period_us", fmt::format("{}", kCpuPeriodUs)));
  return WriteFile(dir_fd, "cpu.cfs_quota_us", fmt::format("{}", quota));
}

// Lets the groups in a v2 one have `needed`.
Result<void> HandDown(int dir_fd, const std::array<bool, kControllers>& needed) {
  // Only the root of all, which alone has no type, may have processes and groups with controllers.
  // The kernel refuses that for memory; pids and cpu it lets be handed down, but then nothing can
  // enter the groups.
  if (::faccessat(dir_fd, "cgroup.type", F_OK, 0) == 0) {
    STRATA_ASSIGN(std::string processes, ReadFile(dir_fd, "cgroup.procs"));
    if (!processes.empty()) {
      return Fail(Errc::kBusy, "it has processes, so it may not hand controllers down");
    }
  }
  STRATA_ASSIGN(std::string enabled, ReadFile(dir_fd, "cgroup.subtree_control", kSmallFile));
  while (!enabled.empty() && enabled.back() == '\n') enabled.pop_back();
  for (size_t i = 0; i < kControllers; ++i) {
    if (!needed[i] || HasWord(enabled, kNames[i], ' ')) continue;
    STRATA_TRY_WITH(WriteFile(dir_fd, "cgroup.subtree_control", fmt::format("+{}", kNames[i])),
                    fmt::format("hand {} down", kNames[i]));
  }
  return {};
}

bool MayUse(const std::string& directory) {
  return ::access(directory.c_str(), W_OK) == 0 &&
         ::access((directory + "/cgroup.procs").c_str(), W_OK) == 0;
}

// What killed stratas left: its lock is free.
void Sweep(int parent_fd) {
  UniqueFd copy(sys::OpenAt(parent_fd, ".", O_RDONLY | O_DIRECTORY));
  DIR* dir = copy.valid() ? ::fdopendir(copy.get()) : nullptr;
  if (dir == nullptr) return;
  static_cast<void>(copy.release());
  while (const dirent* entry = ::readdir(dir)) {
    if (std::string_view(entry->d_name).substr(0, kPrefix.size()) != kPrefix) continue;
    auto lock =
        FileLock::OnDirectory(parent_fd, entry->d_name, LockMode::kExclusive, LockWait::kFail);
    if (lock) sys::UnlinkAt(parent_fd, entry->d_name, AT_REMOVEDIR);
  }
  ::closedir(dir);
}

// `path` as seen from a mount of which `root` is the top.
std::optional<std::string> Below(std::string_view path, std::string_view root,
                                 std::string_view mount_point) {
  if (root == "/") root = {};
  if (path.substr(0, root.size()) != root) return std::nullopt;
  path.remove_prefix(root.size());
  if (!path.empty() && path[0] != '/') return std::nullopt;
  if (path.find("/..") != path.npos) return std::nullopt;  // outside of our cgroup namespace
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return fmt::format("{}{}", mount_point, path);
}

// The first mount of the hierarchy whose line in /proc/self/cgroup lists `controllers`.
void FindMount(const std::vector<MountEntry>& mounts, std::string_view controllers,
               std::string_view path, CgroupPlace* place) {
  const std::string_view first = controllers.substr(0, controllers.find(','));
  for (const MountEntry& mount : mounts) {
    if (mount.type != (place->version == 2 ? "cgroup2" : "cgroup")) continue;
    if (place->version == 1 && !HasWord(mount.options, first, ',')) continue;
    std::optional<std::string> own = Below(path, mount.root, mount.directory);
    if (!own) continue;
    place->top = mount.directory;
    place->own = std::move(*own);
    return;
  }
}

}  // namespace

std::vector<CgroupPlace> FindCgroups(std::string_view cgroups, std::string_view mountinfo) {
  const std::vector<MountEntry> mounts = ParseMountTable(mountinfo);
  std::vector<CgroupPlace> places;
  while (!cgroups.empty()) {
    std::string_view line = Cut(&cgroups, '\n');
    const std::string_view number = Cut(&line, ':');
    const std::string_view controllers = Cut(&line, ':');
    CgroupPlace place;
    place.version = number == "0" && controllers.empty() ? 2 : 1;
    for (size_t i = 0; i < kControllers; ++i) {
      place.controllers[i] = HasWord(controllers, kNames[i], ',');
    }
    if (place.version == 1 && place.controllers == std::array<bool, kControllers>{}) continue;
    FindMount(mounts, controllers, line, &place);
    if (!place.own.empty()) places.push_back(std::move(place));
  }
  return places;
}

std::vector<CgroupPlace> FindOwnCgroups() {
  auto cgroups = ReadFile(AT_FDCWD, "/proc/self/cgroup");
  auto mountinfo = ReadFile(AT_FDCWD, "/proc/self/mountinfo");
  if (!cgroups || !mountinfo) return {};
  return FindCgroups(*cgroups, *mountinfo);
}

void SweepCgroups() {
  for (const CgroupPlace& place : FindOwnCgroups()) {
    UniqueFd fd(sys::OpenAt(AT_FDCWD, place.own.c_str(), O_RDONLY | O_DIRECTORY));
    if (fd.valid()) Sweep(fd.get());
  }
}

void ReadCgroupUsage(int dir_fd, int version, CgroupUsage* usage) {
  auto keep = [](std::optional<uint64_t>* to, std::optional<uint64_t> value) {
    if (value) *to = value;
  };
  if (version == 2) {
    keep(&usage->memory_peak, ReadNumber(dir_fd, "memory.peak"));  // Linux 5.19
    keep(&usage->oom_kills, ReadField(dir_fd, "memory.events", "oom_kill"));
    if (ReadField(dir_fd, "memory.events", "oom").value_or(0) > 0) usage->memory_limit_hit = true;
  } else {
    keep(&usage->memory_peak, ReadNumber(dir_fd, "memory.max_usage_in_bytes"));
    keep(&usage->oom_kills, ReadField(dir_fd, "memory.oom_control", "oom_kill"));
    // Linux 6.13 stopped to count the failures. A charge is made for a few pages at a time.
    constexpr uint64_t kBatch = 1 << 20;
    auto limit = ReadNumber(dir_fd, "memory.limit_in_bytes");
    if (limit && usage->memory_peak && *usage->memory_peak + kBatch >= *limit) {
      usage->memory_limit_hit = true;
    }
  }
  keep(&usage->pids_peak, ReadNumber(dir_fd, "pids.peak"));  // Linux 6.1
  keep(&usage->pids_refused, ReadField(dir_fd, "pids.events", "max"));
}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  groups_.swap(other.groups_);
  version_.swap(other.version_);
  reason_.swap(other.reason_);
  return *this;
}

Cgroup::~Cgroup() {
  for (const Group& group : groups_) Remove(group);
}

// The kernel may still be taking a process apart that nobody can see any more.
void Cgroup::Remove(const Group& group) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (sys::UnlinkAt(group.parent.get(), group.name.c_str(), AT_REMOVEDIR) != -EBUSY) return;
    ::usleep(2000);
  }
}

Cgroup Cgroup::Make(const CgroupLimits& limits, const std::vector<CgroupPlace>& places) {
  Cgroup cgroup;
  for (std::string& reason : cgroup.reason_) reason = "no such controller is in sight";
  for (const CgroupPlace& place : places) {
    if (place.version == 1) cgroup.TryV1(limits, place);
  }
  CgroupLimits left = limits;
  for (size_t i = 0; i < kControllers; ++i) {
    if (cgroup.version_[i] != 0) Of(left, i) = 0;
  }
  for (const CgroupPlace& place : places) {
    if (place.version == 2) cgroup.TryV2(left, place);
  }
  return cgroup;
}

Result<Cgroup::Group> Cgroup::MakeGroup(const std::string& parent, int version) {
  Group group;
  group.version = version;
  STRATA_ASSIGN(group.parent, strata::OpenAt(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY));
  Sweep(group.parent.get());
  for (int attempt = 0;; ++attempt) {
    group.name = std::string(kPrefix) + RandomName();
    STRATA_TRY(sys::Check(sys::MkdirAt(group.parent.get(), group.name.c_str(), 0755), "mkdir",
                          parent + "/" + group.name));
    auto lock = FileLock::OnDirectory(group.parent.get(), group.name, LockMode::kExclusive,
                                      LockWait::kFail);
    if (lock) {
      group.lock = std::move(*lock);
      break;
    }
    // Another strata's sweep may have come in between.
    if (attempt == 5) return Unexpected(std::move(lock).error());
  }
  auto entrance = strata::OpenAt(group.lock.fd(), "cgroup.procs", O_WRONLY);
  if (!entrance) {
    Remove(group);
    return Unexpected(std::move(entrance).error());
  }
  group.entrance = std::move(*entrance);
  return group;
}

void Cgroup::TryV1(const CgroupLimits& limits, const CgroupPlace& place) {
  bool wanted = false;
  for (size_t i = 0; i < kControllers; ++i) {
    if (place.controllers[i] && Of(limits, i) != 0) wanted = true;
  }
  if (!wanted) return;
  auto refuse = [&](const Error& error) {
    for (size_t i = 0; i < kControllers; ++i) {
      if (place.controllers[i]) reason_[i] = error.message();
    }
  };
  auto group = MakeGroup(place.own, 1);
  if (!group) return refuse(group.error());
  for (size_t i = 0; i < kControllers; ++i) {
    if (!place.controllers[i] || Of(limits, i) == 0) continue;
    auto set = SetLimit(group->lock.fd(), 1, i, Of(limits, i));
    if (!set) {
      Remove(*group);
      return refuse(set.error());
    }
  }
  for (size_t i = 0; i < kControllers; ++i) {
    if (place.controllers[i] && Of(limits, i) != 0) version_[i] = 1;
  }
  groups_.push_back(std::move(*group));
}

void Cgroup::TryV2(const CgroupLimits& limits, const CgroupPlace& place) {
  // All in one group if that can be had; else without the processor's, which can be done by
  // affinity.
  const CgroupLimits choices[] = {limits,
                                  {.memory = limits.memory, .pids = limits.pids},
                                  {.memory = limits.memory},
                                  {.pids = limits.pids}};
  for (const CgroupLimits& choice : choices) {
    bool any = choice.memory != 0 || choice.pids != 0 || choice.cpu_milli != 0;
    if (!any) continue;
    CgroupLimits inherited;
    std::string directory = place.own;
    while (MayUse(directory)) {
      Result<void> made = TryV2In(directory, choice, inherited);
      if (made) return;
      for (size_t i = 0; i < kControllers; ++i) {
        if (Of(choice, i) != 0)
          reason_[i] = fmt::format("{}: {}", directory, made.error().message());
      }
      if (directory.size() <= place.top.size()) break;
      UniqueFd left_out(sys::OpenAt(AT_FDCWD, directory.c_str(), O_RDONLY | O_DIRECTORY));
      for (size_t i = 0; i < kControllers; ++i) {
        uint64_t limit = ReadLimit(left_out.get(), fmt::format("{}.max", kNames[i]).c_str());
        uint64_t& tightest = Of(inherited, i);
        if (limit != 0 && (tightest == 0 || limit < tightest)) tightest = limit;
      }
      directory.resize(directory.rfind('/'));
    }
    if (directory != place.own) continue;
    for (size_t i = 0; i < kControllers; ++i) {
      if (Of(choice, i) != 0 && !MayUse(directory)) reason_[i] = directory + " is not writable";
    }
  }
}

Result<void> Cgroup::TryV2In(const std::string& directory, const CgroupLimits& limits,
                             const CgroupLimits& inherited) {
  CgroupLimits tightest = limits;
  std::array<bool, kControllers> needed{};
  for (size_t i = 0; i < kControllers; ++i) {
    uint64_t& limit = Of(tightest, i);
    if (Of(inherited, i) != 0 && (limit == 0 || Of(inherited, i) < limit)) limit = Of(inherited, i);
    needed[i] = limit != 0;
  }
  {
    STRATA_ASSIGN(UniqueFd parent, strata::OpenAt(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY));
    STRATA_TRY(HandDown(parent.get(), needed));
  }
  STRATA_ASSIGN(Group group, MakeGroup(directory, 2));
  for (size_t i = 0; i < kControllers; ++i) {
    if (!needed[i]) continue;
    auto set = SetLimit(group.lock.fd(), 2, i, Of(tightest, i));
    if (!set) {
      Remove(group);
      return set;
    }
  }
  for (size_t i = 0; i < kControllers; ++i) {
    if (Of(limits, i) != 0) version_[i] = 2;
  }
  groups_.push_back(std::move(group));
  return {};
}

int Cgroup::v2_fd() const {
  for (const Group& group : groups_) {
    if (group.version == 2) return group.lock.fd();
  }
  return -1;
}

std::vector<int> Cgroup::EntranceFds(int version) const {
  std::vector<int> fds;
  for (const Group& group : groups_) {
    if (group.version == version) fds.push_back(group.entrance.get());
  }
  return fds;
}

CgroupUsage Cgroup::Usage() const {
  CgroupUsage usage;
  for (const Group& group : groups_) ReadCgroupUsage(group.lock.fd(), group.version, &usage);
  return usage;
}

}  // namespace strata
