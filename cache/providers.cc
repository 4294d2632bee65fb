// SPDX-License-Identifier: Apache-2.0
#include "cache/providers.h"

#include <fcntl.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "base/hash.h"
#include "base/io.h"
#include "cache/byte_reader.h"

namespace strata {
namespace {

constexpr std::string_view kMagic = "STRATAPR";
constexpr uint32_t kVersion = 1;
constexpr size_t kLimit = 1 << 30;

static_assert(std::endian::native == std::endian::little, "pairs are written as they are");
static_assert(sizeof(Provider) == 8 && sizeof(Providers::Layer) == 8);

template <typename Pair>
std::string_view BytesOf(const std::vector<Pair>& pairs) {
  static_assert(std::is_trivially_copyable_v<Pair>);
  return {reinterpret_cast<const char*>(pairs.data()), pairs.size() * sizeof(Pair)};
}

template <typename Pair>
void Take(ByteReader& in, uint32_t count, std::vector<Pair>& pairs) {
  const std::string_view bytes = in.Bytes(size_t{count} * sizeof(Pair));
  if (!in.ok() || bytes.empty()) return;
  pairs.resize(count);
  std::memcpy(pairs.data(), bytes.data(), bytes.size());
}

}  // namespace

std::string EncodeProviders(const Providers& providers) {
  std::string bytes(kMagic);
  bytes.reserve(64 + providers.layers.size() * 8 + providers.entries.size() * 8);
  PutU32(bytes, kVersion);
  PutU32(bytes, static_cast<uint32_t>(providers.layers.size()));
  PutU32(bytes, static_cast<uint32_t>(providers.entries.size()));
  bytes += BytesOf(providers.layers);
  bytes += BytesOf(providers.entries);
  PutU64(bytes, Xxh3Short(bytes));
  return bytes;
}

std::optional<Providers> DecodeProviders(std::string_view bytes) {
  if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
  const std::string_view summed = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  if (ByteReader(bytes.substr(summed.size())).U64() != Xxh3Short(summed)) return std::nullopt;
  ByteReader in(summed);
  if (in.Bytes(kMagic.size()) != kMagic || in.U32() != kVersion) return std::nullopt;
  const uint32_t layers = in.U32();
  const uint32_t entries = in.U32();
  Providers providers;
  Take(in, layers, providers.layers);
  Take(in, entries, providers.entries);
  if (!in.AtEnd()) return std::nullopt;
  for (const Provider& provider : providers.entries) {
    if (provider.layer >= layers || provider.count == 0 || provider.count > layers) {
      return std::nullopt;
    }
  }
  return providers;
}

std::optional<Providers> ReadProviders(const Store& store, const std::string& path) {
  auto bytes = ReadFile(store.fd(), path + "/" + kProvidersFile, kLimit);
  if (!bytes) return std::nullopt;
  return DecodeProviders(*bytes);
}

std::string CheckProviders(const Store& store, const std::string& path, size_t entries) {
  auto bytes = ReadFile(store.fd(), path + "/" + kProvidersFile, kLimit);
  if (!bytes && bytes.error().sys_errno() == ENOENT) return std::string();
  if (!bytes) return bytes.error().message();
  const std::optional<Providers> providers = DecodeProviders(*bytes);
  if (!providers) return std::string("is damaged");
  if (providers->entries.size() != entries) {
    return std::string("is of another manifest");
  }
  return std::string();
}

}  // namespace strata
