// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <cstring>

// The low-level SHA256_* calls: EVP costs a fetch and an allocation for each digest, which is most
// of the time for the many small files of a layer. They are marked deprecated in OpenSSL 3.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fmt/format.h>
#include <openssl/sha.h>
#include <xxhash.h>

namespace strata {

std::string Digest::Hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(64, '0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return hex;
}

namespace {

// Sixteen digits at once, by whatever vector instructions there are: the ids of thousands of layers
// are read at the start of a run, and are most of what it does then.
using Bytes16 = uint8_t __attribute__((vector_size(16)));
using Bytes8 = uint8_t __attribute__((vector_size(8)));

}  // namespace

std::optional<Digest> Digest::FromHex(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  std::optional<Digest> digest(std::in_place);
  Bytes16 wrong{};
  for (size_t i = 0; i < 4; ++i) {
    Bytes16 text;
    std::memcpy(&text, hex.data() + 16 * i, sizeof text);
    // Right for each digit, and below 25 for all else.
    const Bytes16 values = (text & 0x0f) + ((text >> 6 & 1) * 9);
    // The digit for each value up to 15, which must be the one read.
    const Bytes16 digits =
        values + '0' + (reinterpret_cast<Bytes16>(values > 9) & ('a' - '0' - 10));
    wrong |= (digits ^ text) | (values & 0xf0);
    const Bytes8 high = __builtin_shufflevector(values, values, 0, 2, 4, 6, 8, 10, 12, 14);
    const Bytes8 low = __builtin_shufflevector(values, values, 1, 3, 5, 7, 9, 11, 13, 15);
    const Bytes8 eight = high << 4 | low;
    std::memcpy(digest->bytes.data() + 8 * i, &eight, sizeof eight);
  }
  uint64_t any[2];
  std::memcpy(any, &wrong, sizeof any);
  if ((any[0] | any[1]) != 0) digest.reset();
  return digest;
}

struct Sha256::State {
  SHA256_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  SHA256_Init(&state_->context);
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::Update(const void* data, size_t size) {
  SHA256_Update(&state_->context, data, size);
}

Digest Sha256::Finish() {
  Digest digest;
  SHA256_Final(digest.bytes.data(), &state_->context);
  SHA256_Init(&state_->context);
  return digest;
}

Digest Sha256::Of(const void* data, size_t size) {
  SHA256_CTX context;  // the one-shot SHA256() goes through EVP in OpenSSL 3
  SHA256_Init(&context);
  SHA256_Update(&context, data, size);
  Digest digest;
  SHA256_Final(digest.bytes.data(), &context);
  return digest;
}

std::string Key128::Hex() const {
  return fmt::format("{:016x}{:016x}", high, low);
}

std::optional<Key128> Key128::FromHex(std::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  Key128 key;
  for (size_t i = 0; i < 32; ++i) {
    char c = hex[i];
    int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0) return std::nullopt;
    uint64_t& half = i < 16 ? key.high : key.low;
    half = half << 4 | static_cast<uint64_t>(value);
  }
  return key;
}

Key128 Xxh3(std::string_view data) {
  XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  return {hash.high64, hash.low64};
}

uint64_t Xxh3Short(std::string_view data, uint64_t seed) {
  return XXH3_64bits_withSeed(data.data(), data.size(), seed);
}

}  // namespace strata
