// SPDX-License-Identifier: Apache-2.0
//
// Little-endian numbers and length-prefixed texts in a string: writing, and reading of bytes that
// may be anything. A reader that went past the end is bad from then on and gives zeros and empty
// views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace strata {

inline void PutU32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xff);
}
inline void PutU64(std::string& out, uint64_t value) {
  PutU32(out, static_cast<uint32_t>(value));
  PutU32(out, static_cast<uint32_t>(value >> 32));
}
inline void PutText(std::string& out, std::string_view text) {
  PutU32(out, static_cast<uint32_t>(text.size()));
  out += text;
}

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  std::string_view Bytes(size_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view found = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return found;
  }
  uint32_t U32() {
    uint32_t value = 0;
    int shift = 0;
    for (char c : Bytes(4)) {
      value |= static_cast<uint32_t>(static_cast<unsigned char>(c)) << shift;
      shift += 8;
    }
    return value;
  }
  uint64_t U64() {
    uint64_t low = U32();
    return low | static_cast<uint64_t>(U32()) << 32;
  }
  std::string_view Text() { return Bytes(U32()); }

  // All that is left.
  std::string_view Rest() { return Bytes(rest_.size()); }

  void SetBad() { ok_ = false; }
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace strata
