// SPDX-License-Identifier: Apache-2.0
//
// TarBuilder: hand-made tar archives, for tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata {

// Writes ustar headers byte by byte, so that it can lie in them.
class TarBuilder {
 public:
  uint32_t mode = 0644;
  uint64_t uid = 0;
  uint64_t gid = 0;
  uint64_t mtime = 1000;

  TarBuilder& Dir(std::string_view name, uint32_t dir_mode = 0755) {
    return With(dir_mode, [&] { Header(name, '5', 0); });
  }
  TarBuilder& File(std::string_view name, std::string_view content = "",
                   uint32_t file_mode = 0644) {
    return With(file_mode, [&] {
      Header(name, '0', content.size());
      Body(content);
    });
  }
  TarBuilder& Symlink(std::string_view name, std::string_view target) {
    return With(0777, [&] { Header(name, '2', 0, target); });
  }
  TarBuilder& Hardlink(std::string_view name, std::string_view target) {
    Header(name, '1', 0, target);
    return *this;
  }
  TarBuilder& Fifo(std::string_view name) {
    Header(name, '6', 0);
    return *this;
  }
  TarBuilder& Device(std::string_view name, char type, unsigned major, unsigned minor) {
    Header(name, type, 0, "", major, minor);
    return *this;
  }
  // For the next entry.
  TarBuilder& Pax(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string body;
    for (const auto& [key, value] : records) {
      size_t rest = key.size() + value.size() + 3;
      size_t size = rest + std::to_string(rest).size();
      if (std::to_string(size).size() != std::to_string(rest).size()) ++size;
      body += fmt::format("{} {}={}\n", size, key, value);
    }
    Header("pax", 'x', body.size());
    Body(body);
    return *this;
  }
  TarBuilder& Header(std::string_view name, char type, uint64_t size, std::string_view target = "",
                     unsigned major = 0, unsigned minor = 0) {
    if (name.size() > 100) {
      Header("././@LongLink", 'L', name.size() + 1);
      Body(std::string(name) + '\0');
      name = name.substr(0, 100);
    }
    std::string block(512, '\0');
    auto put = [&](size_t at, std::string_view text) { block.replace(at, text.size(), text); };
    put(0, name);
    put(100, fmt::format("{:07o}", mode));
    put(108, fmt::format("{:07o}", uid));
    put(116, fmt::format("{:07o}", gid));
    put(124, fmt::format("{:011o}", size));
    put(136, fmt::format("{:011o}", mtime));
    put(156, std::string_view(&type, 1));
    put(157, target);
    put(257, std::string_view("ustar\00000", 8));
    put(329, fmt::format("{:07o}", major));
    put(337, fmt::format("{:07o}", minor));
    put(148, "        ");
    unsigned sum = 0;
    for (char c : block) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum) + '\0');
    bytes_ += block;
    return *this;
  }
  TarBuilder& Body(std::string_view content) {
    bytes_ += content;
    bytes_.resize((bytes_.size() + 511) / 512 * 512);
    return *this;
  }
  const std::string& Unfinished() const { return bytes_; }
  std::string Finish() const { return bytes_ + std::string(1024, '\0'); }

 private:
  template <typename Write>
  TarBuilder& With(uint32_t entry_mode, Write write) {
    uint32_t saved = std::exchange(mode, entry_mode);
    write();
    mode = saved;
    return *this;
  }

  std::string bytes_;
};

}  // namespace strata
