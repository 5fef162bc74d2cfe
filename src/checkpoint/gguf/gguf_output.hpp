// SPDX-License-Identifier: Apache-2.0
// A GGUF file to be: keys, then tensors, in the order in which they are put.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf/block_types.hpp"

namespace octavo::checkpoint {

class GgufLayout {
 public:
  void put(std::string_view key, std::string_view text);
  void put(std::string_view key, std::uint32_t value);
  void put(std::string_view key, float value);
  void put(std::string_view key, bool value);
  void put(std::string_view key, std::span<const std::string> texts);
  void put(std::string_view key, std::span<const std::int32_t> values);
  /// A tensor with the outermost extent first; returns its number.
  std::size_t add(std::string_view name, std::span<const std::int64_t> shape,
                  const BlockType& type);

  /// The bytes before the data section, padding included.
  std::string header() const;
  /// Where a tensor begins in the data section, and the bytes of all.
  std::int64_t begin(std::size_t tensor) const { return begins_.at(tensor); }
  std::int64_t data_bytes() const noexcept { return bytes_; }

 private:
  void put_key(std::string_view key, std::uint32_t type);

  std::string pairs_, tensors_;
  std::uint64_t pair_count_ = 0;
  std::vector<std::int64_t> begins_;
  std::int64_t bytes_ = 0;
};

}  // namespace octavo::checkpoint
