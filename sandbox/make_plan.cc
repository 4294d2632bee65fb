// SPDX-License-Identifier: Apache-2.0
//
// From what the caller wants to what the cloned child needs: strings and numbers that are ready to
// be handed to the kernel.
#include "sandbox/make_plan.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace strata {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Where execvp would look, as paths.
std::vector<std::string> Candidates(const SandboxSpec& spec) {
  const std::string& command = spec.argv[0];
  if (command.find('/') != std::string::npos) return {command};
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& variable : spec.env) {
    if (variable.compare(0, 5, "PATH=") == 0) path = std::string_view(variable).substr(5);
  }
  std::vector<std::string> candidates;
  while (true) {
    size_t colon = path.find(':');
    std::string_view directory = path.substr(0, colon);
    candidates.push_back(fmt::format("{}/{}", directory.empty() ? "." : directory, command));
    if (colon == std::string_view::npos) return candidates;
    path.remove_prefix(colon + 1);
  }
}

uint64_t MemoryBytes() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return uint64_t{1} << 30;
  return uint64_t{info.totalram} * info.mem_unit;
}

void PlanRoot(const SandboxRoot& root, PlanStorage* storage) {
  ChildPlan& plan = storage->plan;
  plan.directory = root.directory.c_str();
  plan.attach_at = root.attach_at.c_str();
  for (const std::string& lower : root.lowers) storage->lowers.push_back(lower.c_str());
  plan.overlay.lowers = storage->lowers.data();
  plan.overlay.lower_count = storage->lowers.size();
  plan.overlay.attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  storage->upper = root.upper;
  storage->work = root.work;
  if (root.tmpfs_upper) {
    storage->upper = root.attach_at + "/upper";
    storage->work = root.attach_at + "/work";
    storage->tmpfs_upper_options =
        root.tmpfs_size == 0 ? "mode=0700" : fmt::format("mode=0700,size={}", root.tmpfs_size);
    plan.tmpfs_upper_options = storage->tmpfs_upper_options.c_str();
  }
  plan.overlay.uniform_inodes = root.uniform_inodes;
  if (!storage->upper.empty()) {
    plan.overlay.upper = storage->upper.c_str();
    plan.overlay.work = storage->work.c_str();
  } else {
    plan.overlay.attributes |= MOUNT_ATTR_RDONLY;
  }
}

// Files and directories take memory of the kernel's that does not count for the size, and by
// default there may be one for every other page of the machine's.
std::string TmpfsOptions(uint64_t size) {
  constexpr uint64_t kPage = 4096;
  return fmt::format("mode=1777,size={},nr_inodes={}", size,
                     std::max(size / kPage, uint64_t{1024}));
}

void PlanMounts(const SandboxSpec& spec, uint64_t tmpfs_size, PlanStorage* storage) {
  storage->mount_options.reserve(spec.mounts.size());  // pointers into it must stay
  for (const SandboxMount& mount : spec.mounts) {
    storage->mount_options.push_back(TmpfsOptions(mount.size == 0 ? tmpfs_size : mount.size));
    storage->mounts.push_back(
        {mount.kind, mount.source.c_str(), mount.target.c_str(), mount.make_target, mount.read_only,
         storage->mount_options.back().c_str(), mount.upper.c_str(), mount.work.c_str()});
  }
  storage->plan.mounts = storage->mounts.data();
  storage->plan.mount_count = storage->mounts.size();
}

}  // namespace

void MakePlan(const SandboxSpec& spec, std::vector<int> held, int status_fd, int lifeline_fd,
              PlanStorage* storage) {
  ChildPlan& plan = storage->plan;
  const uint64_t memory = MemoryBytes();
  // What could not be filled anyway need not look as if it could.
  const uint64_t most = spec.limits.memory != 0 ? spec.limits.memory : memory;
  PlanRoot(spec.root, storage);
  PlanMounts(spec, std::min(memory / 4, most), storage);
  storage->candidates = Candidates(spec);
  for (const std::string& path : storage->candidates) {
    storage->candidate_pointers.push_back(path.c_str());
  }
  storage->candidate_pointers.push_back(nullptr);
  storage->argv = Pointers(spec.argv);
  storage->envp = Pointers(spec.env);
  plan.candidates = storage->candidate_pointers.data();
  plan.argv = storage->argv.data();
  plan.envp = storage->envp.data();
  plan.working_directory = spec.directory.c_str();
  plan.hostname = spec.hostname.c_str();
  std::copy(spec.stdio.begin(), spec.stdio.end(), plan.stdio);
  plan.terminal.socket_fd = -1;
  plan.has_range = spec.ids && !spec.ids->IsSingle();
  plan.uid = spec.uid;
  plan.gid = spec.gid;
  plan.has_groups = plan.has_range && (spec.ids->gids.size() > 1 || spec.ids->gids[0].count > 1);
  if (!plan.has_range) {
    std::snprintf(plan.uid_map, sizeof plan.uid_map, "%u %u 1\n", spec.uid, ::geteuid());
    std::snprintf(plan.gid_map, sizeof plan.gid_map, "%u %u 1\n", spec.gid, ::getegid());
  }
  // The group tty, where there is one.
  std::snprintf(plan.pts_options, sizeof plan.pts_options,
                "newinstance,ptmxmode=0666,mode=0620,max=512%s",  // the machine has 4096
                plan.has_range && spec.ids->HasGid(5) ? ",gid=5" : "");
  plan.host_is_root = ::geteuid() == 0;
  plan.private_network = spec.network == Network::kNone;
  plan.nested_userns = spec.nested_userns;
  plan.own_session = spec.own_session;
  plan.terminal_is_stdin = spec.terminal_is_stdin;
  plan.stop_is_end = spec.stop_is_end;
  plan.in_library = spec.in_library;
  if (PidMaxIsNamespaced()) {
    std::snprintf(plan.pid_max, sizeof plan.pid_max, "%llu",
                  static_cast<unsigned long long>(kDefaultPids));
  }
  // Behind it: uid 0 in there may write to pid_max.
  plan.max_processes = kDefaultPids;
  storage->shm_options = TmpfsOptions(std::min(memory / 8, most));
  storage->tmp_options = TmpfsOptions(std::min(memory / 4, most));
  plan.shm_options = storage->shm_options.c_str();
  plan.tmp_options = storage->tmp_options.c_str();
  if (spec.seccomp) plan.filter = spec.seccomp->Program();
  plan.filter_is_foreign = spec.seccomp_is_foreign;
  plan.capabilities = spec.capabilities;
  plan.open_files = spec.open_files ? &*spec.open_files : nullptr;
  storage->kept = std::move(held);
  storage->kept.push_back(status_fd);
  std::sort(storage->kept.begin(), storage->kept.end());
  plan.kept = storage->kept.data();
  plan.kept_count = storage->kept.size();
  plan.status_fd = status_fd;
  plan.lifeline_fd = lifeline_fd;
}

}  // namespace strata
