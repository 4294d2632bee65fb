// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (libcrypto, hardware-accelerated) for content and identity, and XXH3-128 for keys and
// buckets, where a collision costs a comparison and nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <compare>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace strata {

struct Digest {
  std::array<uint8_t, 32> bytes{};

  std::string Hex() const;                                     // 64 digits, lower case
  static std::optional<Digest> FromHex(std::string_view hex);  // 64 digits, lower case
  auto operator<=>(const Digest&) const = default;
};

// Incremental. One object may be used again after Finish. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void Update(const void* data, size_t size);
  Digest Finish();  // and starts anew
  static Digest Of(const void* data, size_t size);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Key128 {
  uint64_t high = 0;
  uint64_t low = 0;
  std::string Hex() const;                                     // 32 digits, lower case
  static std::optional<Key128> FromHex(std::string_view hex);  // 32 digits, lower case
  auto operator<=>(const Key128&) const = default;
};

Key128 Xxh3(std::string_view data);
uint64_t Xxh3Short(std::string_view data, uint64_t seed = 0);

}  // namespace strata

template <>
struct std::hash<strata::Digest> {
  size_t operator()(const strata::Digest& digest) const {
    size_t value;
    __builtin_memcpy(&value, digest.bytes.data(), sizeof value);
    return value;
  }
};
