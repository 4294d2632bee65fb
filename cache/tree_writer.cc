// SPDX-License-Identifier: Apache-2.0
#include "cache/tree_writer.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>

#include "base/io.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/sys.h"

namespace strata {
namespace {

// Batches make locking cheap; small ones keep all workers busy and memory low.
constexpr size_t kBatchJobs = 64;
constexpr size_t kBatchBytes = 256 << 10;
constexpr size_t kBatchesPerWorker = 4;
constexpr size_t kStreamBytes = 16 << 20;

// setuid and setgid are in the manifest only.
uint32_t DiskMode(uint32_t mode) {
  return mode & 01777;
}

Result<void> SetUserXattrs(int fd, std::string_view path, const std::vector<Xattr>& xattrs) {
  for (const Xattr& xattr : xattrs) {
    if (!xattr.name.starts_with("user.")) continue;  // security.capability: in the manifest only
    int rc = sys::FsetXattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size());
    if (rc < 0) return FailSys(-rc, "fsetxattr " + QuotePath(xattr.name), QuotePath(path));
  }
  return {};
}

Result<void> SetMtime(int dir_fd, const char* path, int64_t sec, uint32_t nsec) {
  timespec times[2] = {{0, UTIME_OMIT}, {sec, static_cast<long>(nsec)}};
  if (::utimensat(dir_fd, path, times, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailSys(errno, "utimensat", QuotePath(path));
  }
  return {};
}

}  // namespace

bool ClearThreadUmask() {
  if (::unshare(CLONE_FS) != 0) return false;
  ::umask(0);
  return true;
}

// --- OutputFile

Result<void> OutputFile::Append(std::string_view data) {
  hash_.Update(data.data(), data.size());
  position_ += data.size();
  if (cloned_) return {};
  uint64_t start = position_ - data.size();
  if (written_ != start && ::lseek(fd_, static_cast<off_t>(start), SEEK_SET) < 0) {
    return FailSys(errno, "lseek", QuotePath(path_));
  }
  STRATA_TRY_WITH(WriteAll(fd_, data, ""), QuotePath(path_));
  written_ = position_;
  return {};
}

Result<void> OutputFile::SkipTo(uint64_t offset) {
  static const char kZeros[64 << 10] = {};
  while (position_ < offset) {
    size_t size = static_cast<size_t>(std::min<uint64_t>(offset - position_, sizeof kZeros));
    hash_.Update(kZeros, size);
    position_ += size;
  }
  return {};
}

bool OutputFile::CloneFrom(int source_fd) {
  cloned_ = ::ioctl(fd_, FICLONE, source_fd) == 0;
  return cloned_;
}

Result<void> OutputFile::Finish() {
  if (cloned_ || written_ == position_) return {};
  if (::ftruncate(fd_, static_cast<off_t>(position_)) != 0) {
    return FailSys(errno, "ftruncate", QuotePath(path_));
  }
  return {};
}

// --- ContentStream

bool ContentStream::Push(uint64_t offset, std::string_view data) {
  std::unique_lock lock(room_->mutex);
  room_->changed.wait(lock, [&] { return room_->bytes < kStreamBytes || abandoned_; });
  if (abandoned_) return false;
  Chunk chunk{offset, {}};
  if (!room_->spare.empty()) {
    chunk.data = std::move(room_->spare.back());
    room_->spare.pop_back();
  }
  room_->bytes += data.size();
  lock.unlock();
  chunk.data.assign(data);
  lock.lock();
  if (abandoned_) {
    Release(std::move(chunk));
    return false;
  }
  chunks_.push_back(std::move(chunk));
  room_->changed.notify_all();
  return true;
}

void ContentStream::Close(bool complete) {
  std::lock_guard lock(room_->mutex);
  closed_ = true;
  complete_ = complete;
  room_->changed.notify_all();
}

void ContentStream::Release(Chunk chunk) {
  room_->bytes -= chunk.data.size();
  room_->spare.push_back(std::move(chunk.data));
  room_->changed.notify_all();
}

// The worker's end of a ContentStream.
class StreamSource : public ContentSource {
 public:
  explicit StreamSource(std::shared_ptr<ContentStream> stream) : stream_(std::move(stream)) {}
  ~StreamSource() override {
    std::lock_guard lock(stream_->room_->mutex);
    stream_->abandoned_ = true;
    while (!stream_->chunks_.empty()) {
      stream_->Release(std::move(stream_->chunks_.front()));
      stream_->chunks_.pop_front();
    }
    stream_->room_->changed.notify_all();
  }

  Result<void> Produce(OutputFile& out, ManifestBuilder::Data& data) override {
    std::optional<ContentStream::Chunk> chunk;
    while (Next(chunk)) {
      STRATA_TRY(out.SkipTo(chunk->offset));
      STRATA_TRY(out.Append(chunk->data));
    }
    if (!stream_->complete_) return Fail(Errc::kCorrupt, "{}: incomplete", QuotePath(out.path()));
    return out.SkipTo(data.size);
  }

 private:
  // Gives back what `chunk` is, and takes the next one. False at the end.
  bool Next(std::optional<ContentStream::Chunk>& chunk) {
    std::unique_lock lock(stream_->room_->mutex);
    if (chunk) stream_->Release(std::move(*chunk));
    chunk.reset();
    stream_->room_->changed.wait(lock,
                                 [&] { return !stream_->chunks_.empty() || stream_->closed_; });
    if (stream_->chunks_.empty()) return false;
    chunk = std::move(stream_->chunks_.front());
    stream_->chunks_.pop_front();
    return true;
  }

  std::shared_ptr<ContentStream> stream_;
};

// --- TreeWriter: the reader's side

TreeWriter::TreeWriter(int tree_fd, unsigned jobs)
    : tree_fd_(tree_fd), batch_(std::make_unique<Batch>()) {
  jobs = DefaultJobs(jobs);
  workers_.reserve(jobs);
  spare_.reserve(jobs * kBatchesPerWorker + jobs);
  for (unsigned i = 0; i < jobs; ++i) {
    try {
      workers_.push_back(StartThread([this] { Work(); }));
    } catch (const std::system_error&) {
      if (workers_.empty()) throw;
      break;  // those that there are do it
    }
  }
}

TreeWriter::~TreeWriter() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    queue_.clear();
    work_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
}

Result<void> TreeWriter::MakeDirectory(const std::string& path) {
  // Writable for its owner until FinishTree, whatever its mode will be.
  int rc = sys::MkdirAt(tree_fd_, path.c_str(), 0755);
  if (rc < 0) return FailSys(-rc, "mkdir", QuotePath(path));
  return {};
}

TreeWriter::Job& TreeWriter::Append(std::string_view path, Data& data) {
  Job& job = batch_->jobs.emplace_back();
  job.data = &data;
  job.path_offset = batch_->bytes.size();
  job.path_size = path.size();
  batch_->bytes += path;
  batch_->bytes += '\0';
  return job;
}

Result<void> TreeWriter::Add(std::string_view path, Data& data, std::string_view content) {
  Job& job = Append(path, data);
  job.content_offset = batch_->bytes.size();
  job.content_size = content.size();
  batch_->bytes += content;
  if (batch_->jobs.size() < kBatchJobs && batch_->bytes.size() < kBatchBytes) return {};
  return Flush();
}

Result<void> TreeWriter::Add(std::string_view path, Data& data,
                             std::unique_ptr<ContentSource> source) {
  Append(path, data).source = std::move(source);
  if (batch_->jobs.size() < kBatchJobs) return {};
  return Flush();
}

Result<std::shared_ptr<ContentStream>> TreeWriter::AddStream(std::string_view path, Data& data) {
  auto stream = std::make_shared<ContentStream>(stream_room_);
  Append(path, data).source = std::make_unique<StreamSource>(stream);
  STRATA_TRY(Flush());
  return stream;
}

Result<void> TreeWriter::Flush() {
  std::unique_lock lock(mutex_);
  if (batch_->jobs.empty()) return error_ ? Result<void>(Unexpected(*error_)) : Result<void>();
  room_.wait(lock, [&] { return queue_.size() < kBatchesPerWorker * workers_.size(); });
  queue_.push_back(std::move(batch_));
  work_.notify_one();
  if (spare_.empty()) {
    batch_ = std::make_unique<Batch>();
  } else {
    batch_ = std::move(spare_.back());
    spare_.pop_back();
  }
  if (error_) return Unexpected(*error_);
  return {};
}

Result<void> TreeWriter::Drain() {
  STRATA_TRY(Flush());
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return queue_.empty() && active_ == 0; });
  if (error_) return Unexpected(*error_);
  return {};
}

// --- TreeWriter: the workers

void TreeWriter::Work() {
  const bool umask_clear = ClearThreadUmask();
  Sha256 hash;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return !queue_.empty() || closing_; });
    if (closing_) return;
    std::unique_ptr<Batch> batch = std::move(queue_.front());
    queue_.pop_front();
    ++active_;
    room_.notify_all();
    lock.unlock();
    for (const Job& job : batch->jobs) {
      if (failed_.load(std::memory_order_relaxed)) break;
      try {
        Result<void> written = Write(*batch, job, umask_clear, hash);
        if (!written) Fail(std::move(written).error());
      } catch (const std::bad_alloc&) {
        Fail(Error(Errc::kSystem, "out of memory"));
      }
    }
    batch->jobs.clear();  // and with them their sources, so that no reader waits for one
    batch->bytes.clear();
    lock.lock();
    spare_.push_back(std::move(batch));
    --active_;
    room_.notify_all();
  }
}

void TreeWriter::Fail(Error error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  failed_.store(true, std::memory_order_relaxed);
}

Result<void> TreeWriter::Write(const Batch& batch, const Job& job, bool umask_clear, Sha256& hash) {
  const Data& data = *job.data;
  if (data.type == EntryType::kFile) return WriteFile(batch, job, umask_clear, hash);
  const char* path = batch.bytes.c_str() + job.path_offset;
  if (data.type == EntryType::kSymlink) {
    int rc = sys::SymlinkAt(data.target.c_str(), tree_fd_, path);
    if (rc < 0) return FailSys(-rc, "symlink", QuotePath(path));
  } else {
    int rc = sys::MknodAt(tree_fd_, path, S_IFIFO | 0600, 0);
    if (rc < 0) return FailSys(-rc, "mkfifo", QuotePath(path));
    if (::fchmodat(tree_fd_, path, DiskMode(data.mode), 0) != 0) {
      return FailSys(errno, "chmod", QuotePath(path));
    }
  }
  return SetMtime(tree_fd_, path, data.mtime_sec, data.mtime_nsec);
}

Result<void> TreeWriter::WriteFile(const Batch& batch, const Job& job, bool umask_clear,
                                   Sha256& hash) {
  Data& data = *job.data;
  const char* path = batch.bytes.c_str() + job.path_offset;
  std::string_view name(path, job.path_size);
  const uint32_t mode = DiskMode(data.mode);
  // Names are quoted on failure only: this is the hot path.
  UniqueFd fd(sys::OpenAt(tree_fd_, path, O_WRONLY | O_CREAT | O_EXCL, mode));
  if (!fd.valid()) return FailSys(-fd.get(), "create", QuotePath(name));
  OutputFile out(fd.get(), name, hash);
  if (job.source != nullptr) {
    STRATA_TRY(job.source->Produce(out, data));
    STRATA_TRY(out.Finish());
  } else if (job.content_size > 0) {
    STRATA_TRY(out.Append({batch.bytes.data() + job.content_offset, job.content_size}));
  }
  data.digest = hash.Finish();

  const bool xattrs = !data.xattrs.empty();
  if (xattrs) {  // the kernel wants a mode with w for them
    if (::fchmod(fd.get(), 0600) != 0) return FailSys(errno, "fchmod", QuotePath(name));
    STRATA_TRY(SetUserXattrs(fd.get(), name, data.xattrs));
  }
  if ((xattrs || !umask_clear) && ::fchmod(fd.get(), mode) != 0) {
    return FailSys(errno, "fchmod", QuotePath(name));
  }
  timespec times[2] = {{0, UTIME_OMIT}, {data.mtime_sec, static_cast<long>(data.mtime_nsec)}};
  if (::futimens(fd.get(), times) != 0) return FailSys(errno, "futimens", QuotePath(name));
  // Network file systems report a full disk here.
  if (::close(fd.release()) != 0) return FailSys(errno, "close", QuotePath(name));
  return {};
}

// --- FinishTree

namespace {

class Finisher {
 public:
  Finisher(int tree_fd, const Manifest& manifest) : tree_fd_(tree_fd), manifest_(manifest) {}

  Result<void> Run(unsigned jobs) {
    std::vector<uint32_t> directories;
    std::vector<uint32_t> closed;  // nobody gets through these once they have their mode
    for (uint32_t i = 0; i < manifest_.size(); ++i) {
      const ManifestEntry& e = manifest_.entry(i);
      if (e.type == EntryType::kWhiteout) {
        STRATA_TRY(sys::Check(sys::MknodAt(tree_fd_, manifest_.Path(i).c_str(), S_IFCHR, 0),
                              "mknod (whiteout)", QuotePath(manifest_.Path(i))));
      }
      if (!e.is_directory()) continue;
      directories.push_back(i);
      if (i != 0 && (e.mode & S_IXUSR) == 0) closed.push_back(i);
    }
    std::mutex mutex;
    std::optional<Error> error;
    ParallelFor(directories.size(), jobs, [&](size_t k) {
      Result<void> done = FinishDirectory(directories[k]);
      if (done) return;
      std::lock_guard lock(mutex);
      if (!error) error = std::move(done).error();
    });
    if (error) return Unexpected(std::move(*error));
    // Entries come breadth-first: backwards, children come before their parents.
    for (auto i = closed.rbegin(); i != closed.rend(); ++i) STRATA_TRY(SetMode(*i));
    return {};
  }

 private:
  Result<void> FinishDirectory(uint32_t i) {
    const ManifestEntry& e = manifest_.entry(i);
    std::string path = i == 0 ? "." : manifest_.Path(i);
    if (e.opaque() || e.xattrs_size > 0) {
      STRATA_ASSIGN(UniqueFd fd, OpenAt(tree_fd_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      std::vector<Xattr> xattrs = manifest_.xattrs(e);
      if (e.opaque()) xattrs.push_back({"user.overlay.opaque", "y"});
      STRATA_TRY(SetUserXattrs(fd.get(), path, xattrs));
    }
    if (i == 0) return {};  // Publish sees to it
    STRATA_TRY(SetMtime(tree_fd_, path.c_str(), e.mtime_sec, e.mtime_nsec));
    if ((e.mode & S_IXUSR) != 0) STRATA_TRY(SetMode(i));
    return {};
  }

  Result<void> SetMode(uint32_t i) {
    std::string path = manifest_.Path(i);
    if (::fchmodat(tree_fd_, path.c_str(), DiskMode(manifest_.entry(i).mode), 0) != 0) {
      return FailSys(errno, "chmod", QuotePath(path));
    }
    return {};
  }

  int tree_fd_;
  const Manifest& manifest_;
};

}  // namespace

Result<void> FinishTree(int tree_fd, const Manifest& manifest, unsigned jobs) {
  return Finisher(tree_fd, manifest).Run(jobs);
}

}  // namespace strata
