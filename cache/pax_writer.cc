// SPDX-License-Identifier: Apache-2.0
#include "cache/pax_writer.h"

#include <cstring>

namespace strata {
namespace {

struct UstarHeader {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[155];
  char padding[12];
};
static_assert(sizeof(UstarHeader) == kTarBlock);

// Octal digits and a NUL, if they fit the field.
template <size_t kSize>
bool PutNumber(char (&field)[kSize], uint64_t value) {
  if (value >> (3 * (kSize - 1)) != 0) value = UINT64_MAX;
  bool fits = value != UINT64_MAX;
  std::string digits = fmt::format("{:0{}o}", fits ? value : 0, kSize - 1);
  std::memcpy(field, digits.c_str(), kSize);
  return fits;
}

// Cut to what fits; an entry of the extended header has the whole then.
template <size_t kSize>
bool PutText(char (&field)[kSize], std::string_view text) {
  bool fits = text.size() <= kSize;
  std::memcpy(field, text.data(), fits ? text.size() : kSize);
  return fits;
}

void AppendBlock(std::string& out, UstarHeader& header) {
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
  PutNumber(header.device_major, 0);
  PutNumber(header.device_minor, 0);
  std::memset(header.checksum, ' ', sizeof header.checksum);
  unsigned sum = 0;
  for (size_t i = 0; i < sizeof header; ++i) sum += reinterpret_cast<unsigned char*>(&header)[i];
  std::string digits = fmt::format("{:06o}", sum);
  std::memcpy(header.checksum, digits.c_str(), 7);
  out.append(reinterpret_cast<const char*>(&header), sizeof header);
}

// "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
void AppendRecord(std::string& records, std::string_view key, std::string_view value) {
  size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (rest + fmt::formatted_size("{}", length) != length) {
    length = rest + fmt::formatted_size("{}", length);
  }
  records += fmt::format("{} {}={}\n", length, key, value);
}

// A time before 1970 with a fraction is written as libarchive reads it: the whole seconds with
// their sign, and then the fraction to be added.
std::string TimeText(int64_t seconds, uint32_t nanoseconds) {
  if (nanoseconds == 0) return fmt::format("{}", seconds);
  std::string text = fmt::format("{}.{:09}", seconds, nanoseconds);
  while (text.back() == '0') text.pop_back();
  return text;
}

}  // namespace

Result<void> AppendTarHeader(std::string& out, const TarMember& member) {
  UstarHeader header{};
  std::string records;
  if (!PutText(header.name, member.name)) AppendRecord(records, "path", member.name);
  if (!PutText(header.link, member.link)) AppendRecord(records, "linkpath", member.link);
  PutNumber(header.mode, member.mode);
  if (!PutNumber(header.uid, member.uid)) {
    AppendRecord(records, "uid", fmt::format("{}", member.uid));
  }
  if (!PutNumber(header.gid, member.gid)) {
    AppendRecord(records, "gid", fmt::format("{}", member.gid));
  }
  if (!PutNumber(header.size, member.size)) {
    AppendRecord(records, "size", fmt::format("{}", member.size));
  }
  bool whole = PutNumber(header.mtime, static_cast<uint64_t>(member.mtime_sec));
  if (!whole || member.mtime_nsec != 0) {
    AppendRecord(records, "mtime", TimeText(member.mtime_sec, member.mtime_nsec));
  }
  for (const Xattr& xattr : member.xattrs) {
    if (xattr.name.find('=') != std::string::npos) {
      return Fail(Errc::kUnsupported, "{}: a tar archive cannot hold the attribute {}", member.name,
                  xattr.name);
    }
    AppendRecord(records, "SCHILY.xattr." + xattr.name, xattr.value);
  }
  header.type = member.type;

  if (!records.empty()) {
    UstarHeader extended{};
    PutText(extended.name, "PaxHeaders/" + member.name);
    PutNumber(extended.mode, 0644);
    PutNumber(extended.uid, 0);
    PutNumber(extended.gid, 0);
    PutNumber(extended.size, records.size());
    PutNumber(extended.mtime, 0);
    extended.type = 'x';
    AppendBlock(out, extended);
    out += records;
    out.append(TarPadding(records.size()), '\0');
  }
  AppendBlock(out, header);
  return {};
}

}  // namespace strata
