// SPDX-License-Identifier: Apache-2.0
// The header of a GGUF file: key-values with types, and where tensors lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf/block_types.hpp"
#include "checkpoint/safetensors/file.hpp"

namespace octavo::checkpoint {

/// The bytes that a GGUF file begins with.
inline constexpr std::string_view kGgufMagic = "GGUF";

inline constexpr std::string_view kGgufSuffix = ".gguf";

/// The types of values, by number.
enum class GgufType : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  text,
  array,
  uint64,
  int64,
  float64,
};

/// A value, whose bytes lie in the header.
struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::uint8;  ///< of an array: of its elements
  bool is_array = false;
  std::uint64_t count = 1;
  std::string_view bytes;  ///< of texts in an array: each behind its length, of 8 bytes

  std::optional<std::int64_t> integer() const noexcept;  ///< of an integer below 2^63
  std::optional<double> number() const noexcept;         ///< of an integer or float
  std::optional<bool> boolean() const noexcept;
  std::optional<std::string_view> text() const noexcept;
  std::vector<std::string_view> texts() const;  ///< of an array of them; else none
  std::vector<double> numbers() const;          ///< of an array of integers or floats; else none
  /// As a person reads it; of an array its type and length.
  std::string spelled() const;
};

/// A tensor as the header has it.
struct GgufTensor {
  std::string name;
  std::vector<std::int64_t> shape;  ///< the outermost first: the file has them in reverse
  const BlockType* type = nullptr;
  std::int64_t begin = 0, bytes = 0;  ///< in the data section
};

struct GgufHeader {
  std::shared_ptr<const std::string> text;  ///< the header's bytes, which values look into
  std::vector<GgufValue> values;
  std::vector<GgufTensor> tensors;  ///< by offset
  std::int64_t data_begin = 0;      ///< of the data section in the file

  /// The value of that key, or null.
  const GgufValue* find(std::string_view key) const noexcept;
};

bool is_gguf(const InputFile& file);

/// Reads and validates a header. Throws Error (corrupt_data, with the offset; unsupported: other
/// versions, big-endian files; io).
GgufHeader read_gguf_header(const InputFile& file);

}  // namespace octavo::checkpoint
