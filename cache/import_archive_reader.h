// SPDX-License-Identifier: Apache-2.0
//
// ArchiveReader: a tar stream, compressed or not, read with libarchive. Private to import.
//
// The calling thread must be in the C locale (see import.cc). No program is ever run for a
// compression.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct archive;
struct archive_entry;

namespace strata {

class ArchiveReader {
 public:
  // `fd` must outlive the reader. `bytes_read` (may be null) counts what comes from it.
  static Result<std::unique_ptr<ArchiveReader>> Open(int fd, std::atomic<uint64_t>* bytes_read);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  // The next entry, valid until the next call; null after the last one.
  Result<archive_entry*> Next();
  // What libarchive had to say about that entry, though it goes on; mostly empty.
  std::string TakeWarning() { return std::move(warning_); }

  // The next piece of the entry's content, valid until the next call; none at its end. Offsets
  // grow; what lies between pieces is a hole.
  struct Block {
    uint64_t offset;
    std::string_view data;
  };
  Result<std::optional<Block>> NextBlock();

 private:
  explicit ArchiveReader(int fd, std::atomic<uint64_t>* bytes_read);
  static ssize_t Read(archive* a, void* self, const void** buffer);
  Result<void> CheckEnd();
  Error Explain();
  Error NotTar() const;

  int fd_;
  std::atomic<uint64_t>* bytes_read_;
  archive* archive_;
  archive_entry* entry_;
  std::unique_ptr<char[]> buffer_;
  std::string start_;  // the first bytes of the source
  std::string warning_;
  bool at_end_ = false;  // the source has no more
  int read_errno_ = 0;
};

}  // namespace strata
