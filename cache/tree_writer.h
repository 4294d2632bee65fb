// SPDX-License-Identifier: Apache-2.0
//
// TreeWriter: puts the entries of an import on disk, below one directory (format.md, "Trees").
//
// One thread (the reader) decides and calls; a few others create, write and hash the files. What
// waits between them is bounded: a few batches of small files, and 16 MiB of large ones.
//
// The tree must be private to the caller while it is written, and the reader answers for the paths:
// each is clean ("usr/bin/cc"), and every parent is a directory that it has made here. So the
// kernel may resolve whole paths: no symlink of the source is ever a parent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "cache/manifest.h"

namespace strata {

// Gives the calling thread an umask of its own, 0, so that the mode given at creation is the mode
// on disk. False where a container denies it: then modes have to be set afterwards.
bool ClearThreadUmask();

// A file under way: what is appended is written and hashed.
class OutputFile {
 public:
  OutputFile(int fd, std::string_view path, Sha256& hash) : fd_(fd), path_(path), hash_(hash) {}

  Result<void> Append(std::string_view data);
  // Leaves a hole up to `offset`; its zeros are hashed.
  Result<void> SkipTo(uint64_t offset);
  // Takes the content of another file over without copying it, where the file system can. What is
  // appended from then on is hashed only.
  bool CloneFrom(int source_fd);
  uint64_t position() const { return position_; }
  std::string_view path() const { return path_; }
  // Gives the file its length, where it ends in a hole.
  Result<void> Finish();

 private:
  int fd_;
  std::string_view path_;
  Sha256& hash_;
  uint64_t position_ = 0;
  uint64_t written_ = 0;  // where the descriptor stands
  bool cloned_ = false;
};

// Where the content of a file comes from, unless it was handed over whole.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  // Runs on a worker. May complete `data`, whose size must be `out.position()` in the end.
  virtual Result<void> Produce(OutputFile& out, ManifestBuilder::Data& data) = 0;
};

// What all large files on their way from the reader to the workers share. That several of them are
// keeps the workers busy: one alone would hash at the speed of one.
struct StreamRoom {
  std::mutex mutex;
  std::condition_variable changed;
  size_t bytes = 0;                // that wait in all streams
  std::vector<std::string> spare;  // memory to use again
};

// A large file's content on its way from the reader to a worker. Shared by the two; dropped
// unfinished by either, it fails the other.
class ContentStream {
 public:
  explicit ContentStream(std::shared_ptr<StreamRoom> room) : room_(std::move(room)) {}
  // False when the worker has given up; the writer's Drain says why.
  bool Push(uint64_t offset, std::string_view data);
  void Close(bool complete);  // no more will come

 private:
  friend class StreamSource;
  struct Chunk {
    uint64_t offset;
    std::string data;
  };
  void Release(Chunk chunk);  // with the lock held
  std::shared_ptr<StreamRoom> room_;
  std::deque<Chunk> chunks_;
  bool closed_ = false;
  bool complete_ = false;
  bool abandoned_ = false;
};

class TreeWriter {
 public:
  using Data = ManifestBuilder::Data;

  // For use by the calling thread. `jobs`: 0 for as many workers as there are processors.
  TreeWriter(int tree_fd, unsigned jobs);
  ~TreeWriter();  // what still waits is dropped
  TreeWriter(const TreeWriter&) = delete;
  TreeWriter& operator=(const TreeWriter&) = delete;

  // Each `data` must stay where it is, and be left alone, until Drain; a file's digest is put
  // there. A failure of a worker is reported by whatever is called next.
  Result<void> MakeDirectory(const std::string& path);  // done on return; FinishTree sets its mode
  Result<void> Add(std::string_view path, Data& data, std::string_view content = {});
  Result<void> Add(std::string_view path, Data& data, std::unique_ptr<ContentSource> source);
  Result<std::shared_ptr<ContentStream>> AddStream(std::string_view path, Data& data);
  // Waits until everything that was added is on disk.
  Result<void> Drain();
  int tree_fd() const { return tree_fd_; }

 private:
  struct Job {
    Data* data;
    size_t path_offset;
    size_t path_size;
    size_t content_offset;
    size_t content_size;
    std::unique_ptr<ContentSource> source;
  };
  struct Batch {
    std::string bytes;  // paths (each with a NUL) and contents
    std::vector<Job> jobs;
  };

  Job& Append(std::string_view path, Data& data);
  Result<void> Flush();
  Result<void> Status();
  void Work();
  Result<void> Write(const Batch& batch, const Job& job, bool umask_clear, Sha256& hash);
  Result<void> WriteFile(const Batch& batch, const Job& job, bool umask_clear, Sha256& hash);
  void Fail(Error error);

  const int tree_fd_;
  const std::shared_ptr<StreamRoom> stream_room_ = std::make_shared<StreamRoom>();
  std::unique_ptr<Batch> batch_;  // being filled by the reader

  std::mutex mutex_;
  std::condition_variable work_;  // something to do, or closing
  std::condition_variable room_;  // a batch was taken, or finished
  std::deque<std::unique_ptr<Batch>> queue_;
  std::vector<std::unique_ptr<Batch>> spare_;
  size_t active_ = 0;
  bool closing_ = false;
  std::optional<Error> error_;
  std::atomic<bool> failed_{false};
  std::vector<std::thread> workers_;
};

// What a tree of `manifest` needs when all files are there: whiteouts, opaque marks, the
// attributes, modes and mtimes of directories.
Result<void> FinishTree(int tree_fd, const Manifest& manifest, unsigned jobs);

}  // namespace strata
