// SPDX-License-Identifier: Apache-2.0
// The tensors of a GGUF file as entries of a header. A tensor of blocks whose values are codes
// times scales is two: int8 codes under its own name, and their scales. Their bytes are taken out
// of the blocks when they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf/gguf_header.hpp"
#include "checkpoint/safetensors/header.hpp"

namespace octavo::checkpoint {

/// What the name of a tensor's scales has behind its own.
inline constexpr std::string_view kBlockScaleSuffix = "_block_scale";

/// What blocks that are no codes times scales are shown as.
enum class OtherBlocks : std::uint8_t {
  as_they_are,
  floats,  ///< float32, where their values are known
};

/// The types of blocks whose values are codes of 8 bits times scales, for sentences.
inline constexpr std::string_view kExactBlocks =
    "Q8_0, Q4_0, Q5_0, Q3_K, Q6_K, IQ4_NL, IQ4_XS or MXFP4";
/// Those that can be floats.
inline constexpr std::string_view kFloatBlocks = "Q4_1, Q5_1, Q2_K, Q4_K or Q5_K";

class GgufTensors {
 public:
  /// How a tensor is shown.
  struct Place {
    std::string name;
    /// Of a head whose rows lie in pairs, one of its first half and one of the second, and are
    /// shown half by half; 0: rows are as they lie.
    std::int64_t head_rows = 0;
  };
  /// Nothing: the tensor is not shown.
  using Places = std::function<std::optional<Place>(const GgufTensor&)>;

  /// Throws Error (corrupt_data: values that are no UTF-8).
  GgufTensors(GgufHeader source, const std::string& path, OtherBlocks others,
              const Places& places = {});

  const GgufHeader& source() const noexcept { return source_; }
  /// The entries; their offsets count as if all tensors lay one behind the other.
  const Header& header() const noexcept { return header_; }
  /// Whether an entry is of blocks that are shown as floats.
  bool is_widened(const TensorEntry& entry) const noexcept;
  /// Throws Error (unsupported) where there are blocks that are neither codes times scales nor, if
  /// asked for, floats.
  void check_blocks(const char* operation) const;
  /// Fills `into` with bytes of an entry from `offset` on. Throws Error (io).
  void read(const InputFile& file, const TensorEntry& entry, std::int64_t offset,
            std::span<std::byte> into) const;

 private:
  /// What of a tensor an entry is.
  enum class What : std::uint8_t { bytes, codes, scales, values };
  struct Part {
    const GgufTensor* tensor = nullptr;
    What what = What::bytes;
    std::int64_t begin = 0;  ///< of its entry
    std::int64_t head_rows = 0, row_bytes = 0;
  };

  const Part& part_of(const TensorEntry& entry) const noexcept;
  void add(const GgufTensor& tensor, What what, Place place, std::string_view dtype,
           std::vector<std::int64_t> shape, std::int64_t bytes);
  /// The same of bytes in the file's order of rows.
  void read_stored(const InputFile& file, const Part& part, std::int64_t offset,
                   std::span<std::byte> into) const;

  GgufHeader source_;
  OtherBlocks others_;
  Header header_;
  std::vector<Part> parts_;  ///< of each entry, by its begin
};

}  // namespace octavo::checkpoint
