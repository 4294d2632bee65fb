// SPDX-License-Identifier: Apache-2.0
#include "cache/import_archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>

#include "base/sys.h"

namespace strata {
namespace {

constexpr size_t kBufferSize = 256 << 10;
constexpr uint64_t kMostPadding = 64 << 20;  // far above the largest record that a tar is padded to

// What the source is, if it is something that people take for a tar.
std::string_view Guess(std::string_view start) {
  struct Magic {
    size_t offset;
    std::string_view bytes;
    std::string_view what;
  };
  using namespace std::string_view_literals;
  static constexpr Magic kMagics[] = {
      {0, "PK\3\4"sv, "a zip file"},
      {0, "!<arch>\n"sv, "an ar archive or Debian package"},
      {0, "\xed\xab\xee\xdb"sv, "an RPM package"},
      {0, "0707"sv, "a cpio archive"},
      {0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip file"},
      {0, "hsqs"sv, "a squashfs image"},
      {0,
       "\x7f"
       "ELF"sv,
       "an ELF program"},
      {0, "#!"sv, "a script"},
      {0, "{"sv, "JSON"},
      {0, "<"sv, "HTML or XML"},
      {0, "STRATAMF"sv, "a strata manifest"},
      {0x8001, "CD001"sv, "an ISO image"},
  };
  for (const Magic& magic : kMagics) {
    if (start.size() > magic.offset && start.substr(magic.offset).starts_with(magic.bytes)) {
      return magic.what;
    }
  }
  return {};
}

}  // namespace

ArchiveReader::ArchiveReader(int fd, std::atomic<uint64_t>* bytes_read)
    : fd_(fd),
      bytes_read_(bytes_read),
      archive_(::archive_read_new()),
      entry_(::archive_entry_new()),
      buffer_(new char[kBufferSize]) {
  if (archive_ == nullptr || entry_ == nullptr) throw std::bad_alloc();
}

ArchiveReader::~ArchiveReader() {
  ::archive_entry_free(entry_);
  ::archive_read_free(archive_);
}

Result<std::unique_ptr<ArchiveReader>> ArchiveReader::Open(int fd,
                                                           std::atomic<uint64_t>* bytes_read) {
  std::unique_ptr<ArchiveReader> reader(new ArchiveReader(fd, bytes_read));
  archive* a = reader->archive_;
  // All that libarchive decodes itself; it would run programs for the others.
  ::archive_read_support_filter_bzip2(a);
  ::archive_read_support_filter_compress(a);
  ::archive_read_support_filter_gzip(a);
  ::archive_read_support_filter_lz4(a);
  ::archive_read_support_filter_lzip(a);
  ::archive_read_support_filter_lzma(a);
  ::archive_read_support_filter_xz(a);
  ::archive_read_support_filter_zstd(a);
  ::archive_read_support_format_tar(a);
  if (::archive_read_open(a, reader.get(), nullptr, &ArchiveReader::Read, nullptr) != ARCHIVE_OK) {
    if (reader->start_.empty() && reader->read_errno_ == 0) {
      return Fail(Errc::kCorrupt, "empty: not a tar archive");
    }
    return Unexpected(reader->Explain());
  }
  return reader;
}

ssize_t ArchiveReader::Read(archive* a, void* self, const void** buffer) {
  auto* reader = static_cast<ArchiveReader*>(self);
  int64_t n = sys::Read(reader->fd_, reader->buffer_.get(), kBufferSize);
  if (n < 0) {
    reader->read_errno_ = static_cast<int>(-n);
    ::archive_set_error(a, reader->read_errno_, "read");
    return -1;
  }
  *buffer = reader->buffer_.get();
  size_t size = static_cast<size_t>(n);
  if (reader->start_.empty())
    reader->start_.assign(reader->buffer_.get(), size < 0x9000 ? size : 0x9000);
  if (reader->bytes_read_ != nullptr) *reader->bytes_read_ += size;
  reader->at_end_ = n == 0;
  return n;
}

Result<archive_entry*> ArchiveReader::Next() {
  int rc = ::archive_read_next_header2(archive_, entry_);
  if (rc == ARCHIVE_EOF) {
    STRATA_TRY(CheckEnd());
    return nullptr;
  }
  if (rc == ARCHIVE_WARN) {
    const char* text = ::archive_error_string(archive_);
    std::string_view warning = text != nullptr ? text : "";
    // That is what keeps names as they are, see import.cc.
    if (warning.find("can't be converted") == std::string_view::npos) warning_ = warning;
    return entry_;
  }
  if (rc != ARCHIVE_OK) return Unexpected(Explain());
  return entry_;
}

Result<std::optional<ArchiveReader::Block>> ArchiveReader::NextBlock() {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  int rc = ::archive_read_data_block(archive_, &data, &size, &offset);
  if (rc == ARCHIVE_EOF) return std::nullopt;
  if (rc != ARCHIVE_OK) return Unexpected(Explain());
  return Block{static_cast<uint64_t>(offset), {static_cast<const char*>(data), size}};
}

// libarchive takes any end at an entry's boundary for the end of the archive. Where nothing else,
// such as the checksum of a compression, vouches for that, the mark (two blocks of zeros) must be
// there.
Result<void> ArchiveReader::CheckEnd() {
  bool marked = ::archive_filter_bytes(archive_, 0) > ::archive_read_header_position(archive_);
  bool compressed = ::archive_filter_count(archive_) > 1;
  if (!marked && !compressed) {
    return Unexpected(Error(Errc::kCorrupt, "truncated archive: it has no end mark"));
  }
  struct stat st;
  if (::fstat(fd_, &st) == 0 && S_ISFIFO(st.st_mode)) {
    // Tars are padded. Whoever writes the rest into the pipe should not die of it, unless there is
    // no end.
    for (uint64_t left = kMostPadding; left > 0;) {
      int64_t n = sys::Read(fd_, buffer_.get(), std::min<uint64_t>(left, kBufferSize));
      if (n <= 0) break;
      left -= static_cast<uint64_t>(n);
    }
  }
  return {};
}

Error ArchiveReader::Explain() {
  if (read_errno_ != 0) return Error::Sys(read_errno_, "read");
  const char* text = ::archive_error_string(archive_);
  std::string reason = text != nullptr ? text : "unknown error";
  const bool tar_so_far = ::archive_format(archive_) != 0;
  // Whoever wanted more than there was, was cut short, whatever the decoder makes of it.
  if (reason.find("runcated") != std::string::npos || (tar_so_far && at_end_)) {
    return Error(Errc::kCorrupt, fmt::format("truncated archive: {}", reason));
  }
  if (!tar_so_far) return NotTar();
  return Error(Errc::kCorrupt, fmt::format("damaged archive: {}", reason));
}

Error ArchiveReader::NotTar() const {
  std::string_view guess = Guess(start_);
  std::string looks = guess.empty() ? "" : fmt::format(" (it looks like {})", guess);
  if (::archive_filter_count(archive_) > 1) {
    looks = fmt::format(" (it is {} data, but not of a tar)", ::archive_filter_name(archive_, 0));
  }
  return Error(Errc::kCorrupt, "not a tar archive" + looks);
}

}  // namespace strata
