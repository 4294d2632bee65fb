// SPDX-License-Identifier: Apache-2.0
//
// Where the time of a sandbox's start goes. Each case does what the one before it does and one
// thing more, in one process that ends by executing a static /bin/true; the calls are those that
// pid 1 of a sandbox makes (sandbox/child_plan.h). A sandbox does some of them at the same time, in
// two processes.
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <iterator>
#include <memory>

#include "bench/support.h"
#include "sandbox/child_plan.h"
#include "sandbox/loopback.h"
#include "sandbox/make_plan.h"

namespace strata::bench {
namespace {

enum Step {
  kFork,
  kUser,
  kMount,
  kPid,
  kIpcUtsCgroup,
  kNetwork,
  kLoopback,
  kOverlay,
  kPivot,
  kProc,
  kDev,
  kTmp,
  kCapabilities,
  kSeccomp,
  kUpperOnTmpfs,
  kUpperOnDisk,
  kSteps
};
constexpr const char* kNames[] = {"spawn",
                                  "user_namespace",
                                  "mount_namespace",
                                  "pid_namespace",
                                  "ipc_uts_cgroup",
                                  "net_namespace",
                                  "loopback_up",
                                  "overlay_read_only",
                                  "pivot_root",
                                  "proc",
                                  "dev",
                                  "tmp",
                                  "no_capabilities",
                                  "seccomp_filter",
                                  "an_upper_on_tmpfs",
                                  "an_upper_on_disk_instead"};
static_assert(std::size(kNames) == kSteps);

// A root of two layers, and what pid 1 would be told of it.
class Start {
 public:
  explicit Start(Step last) : last_(last), layers_(Layers::Get()) {}

  // Outside the clock.
  void Prepare() {
    spec_ = {};
    spec_.root.directory = layers_.bench.store().path();
    spec_.root.attach_at = "mnt";
    spec_.root.lowers = layers_.paths;
    if (last_ == kUpperOnTmpfs) spec_.root.tmpfs_upper = true;
    if (last_ == kUpperOnDisk) {
      const std::string scratch = layers_.bench.FreshDirectory();
      spec_.root.upper = scratch + "/upper";
      spec_.root.work = scratch + "/work";
      MustSys(::mkdir(spec_.root.upper.c_str(), 0755), "upper");
      MustSys(::mkdir(spec_.root.work.c_str(), 0755), "work");
    }
    spec_.argv = {"/bin/true"};
    spec_.seccomp = BuildFilter(ChownPolicy::kFail, NestedUserns::kDenied);
    spec_.capabilities = DefaultCapabilities();
    storage_ = std::make_unique<PlanStorage>();
    MakePlan(spec_, {}, -1, -1, storage_.get());
  }

  void Run(benchmark::State& state) const {
    uint64_t flags = 0;
    if (last_ >= kUser) flags |= CLONE_NEWUSER;
    if (last_ >= kMount) flags |= CLONE_NEWNS;
    if (last_ >= kPid) flags |= CLONE_NEWPID;
    if (last_ >= kIpcUtsCgroup) flags |= CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (last_ >= kNetwork) flags |= CLONE_NEWNET;
    int pid_fd = -1;
    const int64_t pid = sys::Clone(flags, &pid_fd);
    if (pid == 0) Child();
    int status = 0;
    if (pid < 0 || ::waitpid(static_cast<pid_t>(pid), &status, 0) != pid || status != 0) {
      state.SkipWithError("a step failed");
    }
    ::close(pid_fd);
  }

 private:
  struct Layers {
    static Layers& Get() {
      static Layers layers;
      return layers;
    }
    BenchStore bench;
    std::vector<std::string> paths;
    std::string program;  // outside of the root

   private:
    Layers() {
      testing::LayerMaker base(bench.store());
      for (const char* point : {"proc", "dev", "tmp"}) base.Dir(point);
      base.File("bin/true", Must(ReadFile(AT_FDCWD, "/bin/busybox", 16 << 20)), 0755);
      for (const LayerId& id :
           {base.Publish(), MakeLayer(bench.store(), ManyFiles("artifact", 1000), "")}) {
        paths.push_back("layers/" + id.Hex() + "/tree");
      }
      program = bench.store().path() + "/" + paths[0] + "/bin/true";
      Settle(bench);
    }
  };

  static void Require(int rc) {
    if (rc < 0) ::_exit(1);
  }

  static void Write(const char* path, const char* text) {
    const UniqueFd fd(sys::OpenAt(AT_FDCWD, path, O_WRONLY));
    Require(static_cast<int>(sys::Write(fd.get(), text, std::strlen(text))));
  }

  [[noreturn]] void Child() const {
    const ChildPlan& plan = storage_->plan;
    ChildFailure failure;
    if (last_ >= kUser) {
      Write("/proc/self/setgroups", "deny");
      Write("/proc/self/uid_map", plan.uid_map);
      Write("/proc/self/gid_map", plan.gid_map);
    }
    if (last_ >= kLoopback) Require(BringUpLoopback(&failure));
    int root_fd = -1;
    if (last_ >= kOverlay) Require(root_fd = MountRoot(plan, &failure));
    if (last_ >= kProc) Require(MountProc(plan, root_fd, &failure));
    if (last_ >= kDev) Require(MountDev(plan, root_fd, &failure));
    if (last_ >= kTmp) Require(MountTmp(plan, root_fd, &failure));
    if (last_ >= kPivot) {
      Require(::fchdir(root_fd));
      Require(sys::PivotRoot(".", "."));
      Require(sys::Umount2(".", MNT_DETACH));
    }
    if (last_ >= kCapabilities) {
      Require(LimitPrivileges(plan, &failure));
      Require(KeepCapabilities(plan.capabilities, &failure));
    }
    if (last_ >= kSeccomp)
      Require(sys::Seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &plan.filter));
    const char* program = last_ >= kPivot ? "/bin/true" : layers_.program.c_str();
    char name[] = "true";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    ::execve(program, argv, envp);
    ::_exit(127);
  }

  const Step last_;
  Layers& layers_;
  SandboxSpec spec_;
  std::unique_ptr<PlanStorage> storage_;
};

void AddStart(Step last) {
  auto start = std::make_shared<std::unique_ptr<Start>>();
  Add({.name = fmt::format("start/{}", kNames[last]),
       .cached = "all warm",
       .repetitions = 101,
       .prepare =
           [=] {
             if (!*start) *start = std::make_unique<Start>(last);
             (*start)->Prepare();
           },
       .work = [=](benchmark::State& state) { (*start)->Run(state); }});
}

}  // namespace
}  // namespace strata::bench

int main(int argc, char** argv) {
  for (int step = 0; step < strata::bench::kSteps; ++step) {
    strata::bench::AddStart(static_cast<strata::bench::Step>(step));
  }
  return strata::bench::Run(argc, argv);
}
