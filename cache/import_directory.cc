// SPDX-License-Identifier: Apache-2.0
//
// Import of a directory: one thread walks, the workers copy.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <memory>
#include <utility>

#include "base/io.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/import_context.h"

namespace strata {
namespace {

using Node = ManifestBuilder::Node;

// Smaller files are read anyway, and a clone costs more than a write.
constexpr int64_t kWorthCloning = 64 << 10;
constexpr size_t kBufferSize = 256 << 10;

// Opens below the source without following any link: it may change while it is read.
Result<UniqueFd> OpenBelow(int root_fd, const std::string& path, int flags) {
  flags |= O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  int fd = sys::OpenAt2(root_fd, path.c_str(), flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  if (fd == -ENOSYS || fd == -EPERM) fd = sys::OpenAt(root_fd, path.c_str(), flags);
  return sys::CheckFd(fd, "open", QuotePath(path));
}

Result<void> ReadXattrs(ImportContext& context, int fd, std::string_view path,
                        ManifestBuilder::Data& data) {
  char small[1024];
  std::string large;
  char* names = small;
  ssize_t size = ::flistxattr(fd, small, sizeof small);
  if (size < 0 && errno == ERANGE) {
    large.resize(65536);  // the kernel's limit
    names = large.data();
    size = ::flistxattr(fd, names, large.size());
  }
  if (size < 0) {
    if (errno == ENOTSUP) return {};
    return FailSys(errno, "flistxattr", QuotePath(path));
  }
  for (const char* name = names; name < names + size; name += std::string_view(name).size() + 1) {
    std::string value(65536, '\0');
    ssize_t length = ::fgetxattr(fd, name, value.data(), value.size());
    if (length < 0 && (errno == ENODATA || errno == EPERM)) continue;  // gone, or not for us
    if (length < 0) {
      return FailSys(errno, fmt::format("fgetxattr {}", QuotePath(name)), QuotePath(path));
    }
    value.resize(static_cast<size_t>(length));
    STRATA_TRY(context.AddXattr(path, data, name, std::move(value)));
  }
  return {};
}

Unexpected Changed(std::string_view path) {
  return Fail(Errc::kBusy, "{}: changed while it was read", QuotePath(path));
}

// What all files of a source share (and outlives the walk, when that fails).
struct SourceTree {
  SourceTree(ImportContext& the_context, int fd) : context(the_context), root_fd(fd) {}
  ImportContext& context;
  const int root_fd;
  std::atomic<bool> try_clone{true};
};

class FileCopy : public ContentSource {
 public:
  FileCopy(std::shared_ptr<SourceTree> tree, const struct stat& st)
      : tree_(std::move(tree)), found_(st) {}

  Result<void> Produce(OutputFile& out, ManifestBuilder::Data& data) override {
    std::string path(out.path());
    STRATA_ASSIGN(UniqueFd fd, OpenBelow(tree_->root_fd, path, O_RDONLY));
    STRATA_TRY(CheckUnchanged(fd.get(), path));
    STRATA_TRY(ReadXattrs(tree_->context, fd.get(), path, data));
    if (found_.st_size >= kWorthCloning && tree_->try_clone.load(std::memory_order_relaxed) &&
        !out.CloneFrom(fd.get())) {
      tree_->try_clone = false;
    }
    STRATA_TRY(found_.st_blocks * 512 < found_.st_size ? CopySparse(fd.get(), out)
                                                       : CopyRange(fd.get(), out, found_.st_size));
    if (out.position() != static_cast<uint64_t>(found_.st_size)) return Changed(path);
    tree_->context.CountBytes(out.position());
    return CheckUnchanged(fd.get(), path);
  }

 private:
  Result<void> CheckUnchanged(int fd, std::string_view path) const {
    struct stat st;
    if (::fstat(fd, &st) != 0) return FailSys(errno, "fstat", QuotePath(path));
    bool same = st.st_ino == found_.st_ino && st.st_dev == found_.st_dev &&
                st.st_size == found_.st_size && st.st_mtim.tv_sec == found_.st_mtim.tv_sec &&
                st.st_mtim.tv_nsec == found_.st_mtim.tv_nsec;
    if (!same) return Changed(path);
    return {};
  }

  Result<void> CopyRange(int fd, OutputFile& out, int64_t end) {
    static thread_local std::unique_ptr<char[]> buffer(new char[kBufferSize]);
    while (out.position() < static_cast<uint64_t>(end)) {
      size_t size = std::min(static_cast<size_t>(end) - out.position(), kBufferSize);
      int64_t n = sys::Read(fd, buffer.get(), size);
      if (n < 0) return FailSys(static_cast<int>(-n), "read", QuotePath(out.path()));
      if (n == 0) return Changed(out.path());
      STRATA_TRY(out.Append({buffer.get(), static_cast<size_t>(n)}));
    }
    return {};
  }

  Result<void> CopySparse(int fd, OutputFile& out) {
    for (int64_t at = 0; at < found_.st_size;) {
      int64_t data = ::lseek(fd, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;  // a hole up to the end
      int64_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
      if (hole < 0 || ::lseek(fd, data, SEEK_SET) < 0) {
        return FailSys(errno, "lseek", QuotePath(out.path()));
      }
      STRATA_TRY(out.SkipTo(static_cast<uint64_t>(data)));
      at = std::min(hole, static_cast<int64_t>(found_.st_size));
      STRATA_TRY(CopyRange(fd, out, at));
    }
    return out.SkipTo(static_cast<uint64_t>(found_.st_size));
  }

  std::shared_ptr<SourceTree> tree_;
  struct stat found_;
};

class DirectoryImport {
 public:
  DirectoryImport(ImportContext& context, int root_fd)
      : context_(context), tree_(std::make_shared<SourceTree>(context, root_fd)) {}

  Result<void> Run() {
    struct stat store;
    if (::fstat(context_.store.fd(), &store) != 0) return FailSys(errno, "fstat", "store");
    store_ = {store.st_dev, store.st_ino};
    pending_.push_back({"", ManifestBuilder::kRoot});
    while (!pending_.empty()) {
      Directory directory = std::move(pending_.back());
      pending_.pop_back();
      STRATA_TRY(Enter(directory));
    }
    return {};
  }

 private:
  struct Directory {
    std::string path;
    Node node;
  };

  Result<void> Enter(const Directory& directory);
  Result<void> Take(const Directory& directory, int dir_fd, const char* name);
  Result<void> SetMetadata(std::string_view path, Node node, const struct stat& st) {
    return context_.SetMetadata(path, context_.builder.At(node), st.st_mode, st.st_uid, st.st_gid,
                                st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  }

  ImportContext& context_;
  std::shared_ptr<SourceTree> tree_;
  std::pair<dev_t, ino_t> store_;
  std::vector<Directory> pending_;
  std::map<std::pair<dev_t, ino_t>, Node> linked_;  // files with several names
};

Result<void> DirectoryImport::Enter(const Directory& directory) {
  const bool root = directory.node == ManifestBuilder::kRoot;
  STRATA_ASSIGN(UniqueFd fd,
                OpenBelow(tree_->root_fd, root ? "." : directory.path, O_RDONLY | O_DIRECTORY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return FailSys(errno, "fstat", QuotePath(directory.path));
  if (store_ == std::pair(st.st_dev, st.st_ino)) {
    return Unexpected(Error(Errc::kInvalid, fmt::format("{}: the store itself is in there",
                                                        QuotePath(root ? "." : directory.path)))
                          .Hint("export STRATA_STORE=DIR, with a directory elsewhere"));
  }
  STRATA_TRY(SetMetadata(directory.path, directory.node, st));
  STRATA_TRY(ReadXattrs(context_, fd.get(), root ? "." : directory.path,
                        context_.builder.At(directory.node)));

  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", QuotePath(directory.path));
  std::unique_ptr<DIR, decltype([](DIR* d) { ::closedir(d); })> owner(dir);
  int dir_fd = fd.release();
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir);
    if (entry == nullptr) {
      if (errno != 0) return FailSys(errno, "readdir", QuotePath(directory.path));
      return {};
    }
    std::string_view name(entry->d_name);
    if (name != "." && name != "..") STRATA_TRY(Take(directory, dir_fd, entry->d_name));
  }
}

Result<void> DirectoryImport::Take(const Directory& directory, int dir_fd, const char* name) {
  ManifestBuilder& builder = context_.builder;
  std::string path = directory.path.empty() ? name : directory.path + "/" + name;
  if (path.size() > 4095) return SplitPath(path).map([](const auto&) {});  // says what is wrong
  struct stat st;
  STRATA_TRY(sys::Check(sys::FstatAt(dir_fd, name, &st), "stat", QuotePath(path)));
  if (S_ISSOCK(st.st_mode)) {
    context_.warnings.Add(fmt::format("{}: left out a socket", QuotePath(path)));
    return {};
  }
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
    return JudgeDevice(context_, path, S_ISCHR(st.st_mode), major(st.st_rdev), minor(st.st_rdev));
  }

  context_.CountEntry();
  Node node = builder.Add(directory.node, name);
  ManifestBuilder::Data& data = builder.At(node);
  if (S_ISDIR(st.st_mode)) {
    data.type = EntryType::kDirectory;
    STRATA_TRY(context_.writer.MakeDirectory(path));
    pending_.push_back({std::move(path), node});
    return {};
  }
  if (st.st_nlink > 1) {
    auto [known, fresh] = linked_.try_emplace({st.st_dev, st.st_ino}, node);
    if (!fresh) {
      context_.AddLink(node, known->second);
      return {};
    }
  }
  STRATA_TRY(SetMetadata(path, node, st));
  if (S_ISREG(st.st_mode)) {
    data.type = EntryType::kFile;
    data.size = static_cast<uint64_t>(st.st_size);
    return context_.writer.Add(path, data, std::make_unique<FileCopy>(tree_, st));
  }
  if (S_ISLNK(st.st_mode)) {
    char target[4096];
    int64_t size = sys::ReadlinkAt(dir_fd, name, target, sizeof target);
    if (size < 0) return FailSys(static_cast<int>(-size), "readlink", QuotePath(path));
    data.type = EntryType::kSymlink;
    data.target.assign(target, static_cast<size_t>(size));
  } else {
    data.type = EntryType::kFifo;
  }
  return context_.writer.Add(path, data);
}

}  // namespace

Result<void> ImportDirectory(ImportContext& context, int source_fd) {
  return DirectoryImport(context, source_fd).Run();
}

}  // namespace strata
