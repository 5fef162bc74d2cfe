// SPDX-License-Identifier: Apache-2.0
// The element types of GGUF files: plain ones, and blocks of codes with their scales.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace octavo::checkpoint {

/// Codes and scales of one block.
using BlockReader = void (*)(const std::uint8_t* block, std::uint8_t* out) noexcept;

/// One type of ggml's.
struct BlockType {
  std::uint32_t id;
  std::string_view name;     ///< ggml's
  std::int64_t elements;     ///< of a block
  std::int64_t bytes;        ///< of a block
  std::string_view plain{};  ///< the same type of safetensors; empty: blocks
  /// Elements under one scale where a value is int8 code times scale, exactly; 0: it is not.
  std::int64_t group = 0;
  std::string_view scale{};  ///< safetensors' type in which scales are exact
  BlockReader codes = nullptr;
  BlockReader scales = nullptr;
  /// float32 values of blocks that are no codes times scales, rounded at each step; null: not
  /// known.
  BlockReader values = nullptr;
};

/// The row of that number, or null.
const BlockType* find_block_type(std::uint32_t id) noexcept;

}  // namespace octavo::checkpoint
