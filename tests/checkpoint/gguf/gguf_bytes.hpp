// SPDX-License-Identifier: Apache-2.0
// GGUF files byte by byte, by the text of the format (ggml's docs/gguf.md), however wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::test {

template <class T>
std::string little(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string gguf_text(std::string_view text) {
  return little(std::uint64_t{text.size()}).append(text);
}

/// A key with a value of that number of type.
inline std::string gguf_pair(std::string_view key, std::uint32_t type, std::string_view value) {
  return gguf_text(key) + little(type).append(value);
}

/// A tensor's row; extents in the file's order, the innermost first.
inline std::string gguf_tensor(std::string_view name, const std::vector<std::uint64_t>& extents,
                               std::uint32_t type, std::uint64_t offset) {
  std::string bytes = gguf_text(name) + little(static_cast<std::uint32_t>(extents.size()));
  for (const std::uint64_t extent : extents) bytes += little(extent);
  return bytes + little(type) + little(offset);
}

struct GgufFile {
  std::uint32_t version = 3;
  std::vector<std::string> pairs{};
  std::vector<std::string> tensors{};
  std::string data{};
  std::size_t alignment = 32;

  std::string header() const {
    std::string bytes = "GGUF" + little(version) + little(std::uint64_t{tensors.size()}) +
                        little(std::uint64_t{pairs.size()});
    for (const std::string& pair : pairs) bytes += pair;
    for (const std::string& tensor : tensors) bytes += tensor;
    return bytes;
  }
  std::string bytes() const {
    std::string bytes = header();
    bytes.append((alignment - bytes.size() % alignment) % alignment, '\0');
    return bytes + data;
  }
};

}  // namespace octavo::test
