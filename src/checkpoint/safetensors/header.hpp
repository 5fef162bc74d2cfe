// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file: its JSON, and the rules that its offsets obey.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The limits of the format (the first one) and of this reader.
inline constexpr std::uint64_t kMostHeaderBytes = 100'000'000;
inline constexpr std::size_t kMostTensors = 10'000'000;
inline constexpr std::size_t kLongestName = std::size_t{64} << 10;
inline constexpr std::uint64_t kLengthBytes = 8;  ///< the little-endian u64 before the JSON
inline constexpr std::string_view kMetadataKey = "__metadata__";

struct Header {
  std::vector<TensorEntry> entries;  ///< by offset
  std::vector<std::size_t> by_name;  ///< indices of `entries`, by name
  std::map<std::string, std::string> metadata;
  std::int64_t data_begin = 0;  ///< file offset of the data section; of the first of several files

  /// The entry of that name, or null.
  const TensorEntry* find(std::string_view name) const noexcept;
  /// Sorts the names. Returns the index of an entry whose name is there twice, or entries.size().
  std::size_t index_names();
};

/// Where a header comes from, for the end of every sentence.
struct Source {
  std::string_view file;
  std::int64_t file_bytes = 0;
};

/// The number of header bytes that the first eight bytes of a file announce, checked against the
/// size of the file. Throws Error (corrupt_data).
std::uint64_t header_bytes(std::string_view first_bytes, const Source& source);

/// Parses the JSON `text` and validates it against the size of the file. Throws Error
/// (corrupt_data) naming tensor and offset.
Header parse_header(std::string_view text, const Source& source);

/// The first step of parse_header: well-formed JSON of the right structure, entries in the order of
/// the text. Layout and data types are not looked at.
Header parse_header_json(std::string_view text, const Source& source);

/// Bits of a tensor of that shape with a checked multiplication at every step; false on overflow.
bool tensor_bits(const std::vector<std::int64_t>& shape, std::uint64_t element_bits,
                 std::uint64_t& bits) noexcept;

}  // namespace octavo::checkpoint
