// SPDX-License-Identifier: Apache-2.0
#include "tools/strata-bwrap/status.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <string>

#include "base/sys.h"
#include "tools/strata-bwrap/message.h"

namespace strata::bwrap {
namespace {

int WriteText(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const int64_t rc = sys::Write(fd, text.data() + done, text.size() - done);
    if (rc < 0) return static_cast<int>(rc);
    done += static_cast<size_t>(rc);
  }
  return 0;
}

// The user namespace is left out: the sandbox may get another one later.
std::string Namespaces(const SandboxPlan& plan, pid_t pid, const char* separator) {
  const Options& o = plan.options;
  struct Namespace {
    const char* name;
    bool is_new;
  };
  const Namespace namespaces[] = {
      {"cgroup", o.unshare_cgroup}, {"ipc", o.unshare_ipc}, {"mnt", true},
      {"net", o.unshare_net},       {"pid", o.unshare_pid}, {"uts", o.unshare_uts}};
  std::string text;
  for (const Namespace& entry : namespaces) {
    if (!entry.is_new) continue;
    const std::string path = std::to_string(pid) + "/ns/" + entry.name;
    struct stat st;
    if (sys::FstatAt(plan.proc_fd, path.c_str(), &st, 0) < 0) continue;
    text += std::string(",") + separator + "\"" + entry.name +
            "-namespace\": " + std::to_string(st.st_ino);
  }
  return text;
}

void Report(int fd, const std::string& text) {
  const int rc = WriteText(fd, text);
  if (rc < 0) DieWith(rc, "Write to info_fd");
}

}  // namespace

void ReportStart(const SandboxPlan& plan, pid_t pid) {
  const Options& o = plan.options;
  if (o.info_fd >= 0) {
    Report(o.info_fd, "{\n    \"child-pid\": " + std::to_string(pid) +
                          Namespaces(plan, pid, "\n    ") + "\n}\n");
    ::close(o.info_fd);
  }
  if (o.json_status_fd >= 0) {
    Report(o.json_status_fd,
           "{ \"child-pid\": " + std::to_string(pid) + Namespaces(plan, pid, " ") + " }\n");
  }
}

void ReportEnd(const SandboxPlan& plan, int exit_status) {
  const int fd = plan.options.json_status_fd;
  if (fd < 0) return;
  // One byte: exec was tried and worked. None: it did not come to that. Two: it failed.
  char bytes[2];
  if (sys::Read(plan.exec_pipe[0], bytes, sizeof bytes) != 1) return;
  // The reader may be gone.
  static_cast<void>(WriteText(fd, "{ \"exit-code\": " + std::to_string(exit_status) + " }\n"));
}

}  // namespace strata::bwrap
