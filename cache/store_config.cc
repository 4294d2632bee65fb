// SPDX-License-Identifier: Apache-2.0
#include "cache/store_config.h"

#include <cerrno>
#include <string>
#include <string_view>

#include "base/io.h"
#include "base/numbers.h"

namespace strata {
namespace {

constexpr size_t kMostBytes = 64 << 10;

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

Result<void> ReadLine(std::string_view line, StoreConfig& config) {
  line = Trim(line);
  if (line.empty() || line.front() == '#') return {};
  size_t equals = line.find('=');
  if (equals == std::string_view::npos) return Fail(Errc::kInvalid, "'{}' has no '='", line);
  std::string_view key = Trim(line.substr(0, equals));
  if (key != "max-size") return Fail(Errc::kInvalid, "there is no setting '{}'", key);
  STRATA_ASSIGN(config.max_size, ParseSize(Trim(line.substr(equals + 1))));
  return {};
}

}  // namespace

Result<StoreConfig> ReadStoreConfig(const Store& store) {
  StoreConfig config;
  auto text = ReadFile(store.fd(), "config", kMostBytes);
  if (!text && text.error().sys_errno() == ENOENT) return config;
  if (!text) return Unexpected(std::move(text).error());
  std::string_view rest(*text);
  for (int number = 1; !rest.empty(); ++number) {
    size_t end = std::min(rest.find('\n'), rest.size());
    STRATA_TRY_WITH(ReadLine(rest.substr(0, end), config),
                    fmt::format("{}/config, line {}", store.path(), number));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return config;
}

}  // namespace strata
