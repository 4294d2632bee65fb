// SPDX-License-Identifier: Apache-2.0
//
// One entry: its content, its attributes, and how it compares with the chain's.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "base/sys.h"
#include "cache/xattr_policy.h"
#include "stager/capture_session.h"

namespace strata {
namespace {

constexpr char kOpaqueAttribute[] = "user.overlay.opaque";
constexpr char kCapability[] = "security.capability";
constexpr size_t kAttributeLimit = 65536;  // XATTR_LIST_MAX and XATTR_SIZE_MAX

// The names, each ended by a NUL byte. -errno on failure.
int64_t ListAttributes(int fd, std::string& names) {
  char small[256];
  ssize_t size = ::flistxattr(fd, small, sizeof small);
  if (size >= 0) {
    names.assign(small, static_cast<size_t>(size));
    return size;
  }
  if (errno == ENOTSUP) return 0;
  if (errno != ERANGE) return -errno;
  names.resize(kAttributeLimit);
  size = ::flistxattr(fd, names.data(), names.size());
  if (size < 0) return -errno;
  names.resize(static_cast<size_t>(size));
  return size;
}

// -errno on failure.
int64_t ReadAttribute(int fd, Xattr& xattr) {
  char small[256];
  ssize_t size = ::fgetxattr(fd, xattr.name.c_str(), small, sizeof small);
  if (size >= 0) {
    xattr.value.assign(small, static_cast<size_t>(size));
    return size;
  }
  if (errno != ERANGE) return -errno;
  xattr.value.resize(kAttributeLimit);
  size = ::fgetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size());
  if (size < 0) return -errno;
  xattr.value.resize(static_cast<size_t>(size));
  return size;
}

}  // namespace

int OpenQuietly(int dir_fd, const char* name, int flags) noexcept {
  int fd = sys::OpenAt(dir_fd, name, flags | O_NOFOLLOW | O_NOATIME);
  if (fd == -EPERM) fd = sys::OpenAt(dir_fd, name, flags | O_NOFOLLOW);
  return fd;
}

int SetMtime(int dir_fd, const char* name, int64_t sec, uint32_t nsec) noexcept {
  timespec times[2] = {{0, UTIME_OMIT}, {sec, static_cast<long>(nsec)}};
  return ::utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int SetMtime(int fd, int64_t sec, uint32_t nsec) noexcept {
  timespec times[2] = {{0, UTIME_OMIT}, {sec, static_cast<long>(nsec)}};
  return ::futimens(fd, times) == 0 ? 0 : -errno;
}

Result<void> CaptureSession::CaptureFile(const FileJob& job) {
  Data& data = builder_.At(job.node);
  Entry& entry = entries_[job.node];
  const std::string name(builder_.Name(job.node));
  bool restore_mode = (data.mode & 06000) != 0;
  if ((data.mode & 0400) == 0) {
    if (::fchmodat(job.dir_fd, name.c_str(), 0600, 0) != 0) {
      return FailSys(errno, "chmod", Describe(job.node));
    }
    restore_mode = true;
  }
  int opened = OpenQuietly(job.dir_fd, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  STRATA_ASSIGN(UniqueFd fd, sys::CheckFd(opened, "open", Describe(job.node)));
  STRATA_TRY(ReadContent(fd.get(), job.node));
  STRATA_ASSIGN(Attributes found, TakeAttributes(fd.get(), job.node));
  if (!found.strip.empty() || found.capability) {
    if ((data.mode & 0200) == 0) {  // attributes are content: changing them takes write permission
      if (::fchmod(fd.get(), 0600) != 0) return FailSys(errno, "chmod", Describe(job.node));
      restore_mode = true;
    }
    STRATA_TRY(StripAttributes(fd.get(), job.node, found));
  }
  STRATA_TRY(TakeFromOwner(fd.get(), job.node));
  if (restore_mode && ::fchmod(fd.get(), data.mode & 01777) != 0) {
    return FailSys(errno, "chmod", Describe(job.node));
  }
  if (entry.linked) return {};
  Settle(job.node);
  if (entry.changed && options_.mtime) {
    int rc = SetMtime(fd.get(), data.mtime_sec, data.mtime_nsec);
    if (rc < 0) return FailSys(-rc, "utimensat", Describe(job.node));
  }
  return {};
}

Result<void> CaptureSession::ReadContent(int fd, Node node) {
  Data& data = builder_.At(node);
  char buffer[128 << 10];
  std::optional<Sha256> hash;  // only for what does not fit the buffer
  uint64_t total = 0;
  while (total < data.size || total == 0) {
    int64_t size = sys::Read(fd, buffer, sizeof buffer);
    if (size < 0) return FailSys(static_cast<int>(-size), "read", Describe(node));
    total += static_cast<uint64_t>(size);
    if (total == data.size && !hash) {
      data.digest = Sha256::Of(buffer, static_cast<size_t>(size));
      break;
    }
    if (size == 0) break;
    if (!hash) hash.emplace();
    hash->Update(buffer, static_cast<size_t>(size));
  }
  if (total != data.size) {
    return Fail(Errc::kBusy, "{}: its size changed while it was captured", Describe(node));
  }
  if (hash) data.digest = hash->Finish();
  if (options_.progress != nullptr) options_.progress->bytes += total;
  return {};
}

// Fills in the attributes that the manifest keeps, and tells which have to go from the disk.
Result<CaptureSession::Attributes> CaptureSession::TakeAttributes(int fd, Node node) {
  Attributes found;
  std::string names;
  int64_t listed = ListAttributes(fd, names);
  if (listed < 0) return FailSys(static_cast<int>(-listed), "flistxattr", Describe(node));
  if (listed == 0) return found;
  Data& data = builder_.At(node);
  for (size_t at = 0; at < names.size(); at += std::char_traits<char>::length(&names[at]) + 1) {
    Xattr xattr{&names[at], {}};
    int64_t size = ReadAttribute(fd, xattr);
    if (size < 0) {
      return FailSys(static_cast<int>(-size), "fgetxattr", Describe(node) + ": " + xattr.name);
    }
    switch (JudgeXattr(xattr.name, xattr.value)) {
      case XattrVerdict::kKeep:
        if (xattr.name == kCapability) {
          found.capability = true;
        } else if (node == ManifestBuilder::kRoot) {  // the root's metadata is always the same
          Warn(fmt::format("attribute {} of / left out", QuotePath(xattr.name)));
          found.strip.push_back(std::move(xattr.name));
          break;
        }
        data.xattrs.push_back(std::move(xattr));
        break;
      case XattrVerdict::kOverlay:
        if (source_ == CaptureSource::kDirectory) {
          Warn(fmt::format("{}: attribute {} left out: it is overlayfs's own", Describe(node),
                           QuotePath(xattr.name)));
        } else if (xattr.name == kOpaqueAttribute && xattr.value == "y" &&
                   data.type == EntryType::kDirectory) {
          found.opaque = true;
          break;  // Whether it has to go depends on what is below.
        } else if (xattr.name.find(".overlay.overlay.") != std::string::npos) {
          Warn(fmt::format("{}: an attribute in overlayfs's name space left out (seen as {})",
                           Describe(node), QuotePath(xattr.name)));
        }
        found.strip.push_back(std::move(xattr.name));
        break;
      case XattrVerdict::kDrop:
        Warn(fmt::format("{}: attribute {} left out", Describe(node), QuotePath(xattr.name)));
        found.strip.push_back(std::move(xattr.name));
        break;
    }
  }
  std::sort(data.xattrs.begin(), data.xattrs.end());
  return found;
}

Result<void> CaptureSession::StripAttributes(int fd, Node node, const Attributes& attributes) {
  for (const std::string& name : attributes.strip) {
    if (::fremovexattr(fd, name.c_str()) == 0 || errno == ENODATA) continue;
    // A security module's label, which the kernel itself puts on every file and keeps there.
    if (name.starts_with("security.")) continue;
    return FailSys(errno, "fremovexattr", Describe(node) + ": " + name);
  }
  // Removing a capability takes CAP_SETFCAP over the file system, but a change of owner to nobody
  // in particular drops it (with the setuid bit) for anyone who owns the file.
  if (attributes.capability && ::fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(-1)) != 0) {
    return FailSys(errno, "fchown", Describe(node));
  }
  return {};
}

// After its attributes are read: a change of owner drops capabilities. The node still has the owner
// that is on disk.
Result<void> CaptureSession::TakeFromOwner(int fd, Node node) {
  const Data& data = builder_.At(node);
  if (mapping_ == nullptr || (data.uid == 0 && data.gid == 0)) return {};
  if (::fchown(fd, 0, 0) == 0) return {};
  return FailSys(errno, "fchown", Describe(node));
}

void CaptureSession::SetNewOwner(Data& data) const {
  if (mapping_ != nullptr) return;
  data.uid = options_.uid;
  data.gid = options_.gid;
}

void CaptureSession::InheritOwner(Data& data, const ManifestEntry& below) const {
  if (mapping_ == nullptr || (data.uid == 0 && !mapping_->HasUid(below.uid))) data.uid = below.uid;
  if (mapping_ == nullptr || (data.gid == 0 && !mapping_->HasGid(below.gid))) data.gid = below.gid;
}

bool CaptureSession::SameContent(const Data& data, const Place& place) const {
  const ManifestEntry& below = lower_.entry(place);
  switch (data.type) {
    case EntryType::kDirectory:
      return (data.flags & kOpaque) == 0;
    case EntryType::kFile:
      return data.size == below.size && data.digest == below.digest;
    case EntryType::kSymlink:
      return data.target == lower_.manifest(place).target(below);
    default:
      return true;
  }
}

// No tree on disk shows owners, setuid bits or the capabilities of a layer: a copy of such an entry
// gets them back from the chain, the latter two only as long as it is the same program.
void CaptureSession::Inherit(Data& data, const Place& place, bool covered) const {
  const ManifestEntry& below = lower_.entry(place);
  InheritOwner(data, below);
  if (data.type == EntryType::kSymlink || !SameContent(data, place)) return;
  if (data.type == EntryType::kDirectory && covered) return;
  const bool same_owner = data.uid == below.uid && data.gid == below.gid;
  if (data.type != EntryType::kDirectory && !same_owner) return;  // chown takes both away
  data.mode |= below.mode & 06000;
  auto is_capability = [](const Xattr& xattr) { return xattr.name == kCapability; };
  if (std::any_of(data.xattrs.begin(), data.xattrs.end(), is_capability)) return;
  for (Xattr& xattr : lower_.manifest(place).xattrs(below)) {
    if (is_capability(xattr)) data.xattrs.push_back(std::move(xattr));
  }
  std::sort(data.xattrs.begin(), data.xattrs.end());
}

bool CaptureSession::Matches(const Data& data, const Place& place) const {
  const ManifestEntry& below = lower_.entry(place);
  return data.mode == below.mode && data.uid == below.uid && data.gid == below.gid &&
         data.mtime_sec == below.mtime_sec && data.mtime_nsec == below.mtime_nsec &&
         SameContent(data, place) && data.xattrs == lower_.manifest(place).xattrs(below);
}

void CaptureSession::Settle(Node node) {
  Data& data = builder_.At(node);
  Entry& entry = entries_[node];
  SetNewOwner(data);
  entry.changed = true;
  if (entry.lower) {
    Inherit(data, *entry.lower, entry.covered);
    entry.changed = entry.covered || !Matches(data, *entry.lower);
  }
  if (entry.changed) SetWantedMtime(data);
}

void CaptureSession::SetWantedMtime(Data& data) const {
  if (!options_.mtime) return;
  data.mtime_sec = *options_.mtime;
  data.mtime_nsec = 0;
}

}  // namespace strata
