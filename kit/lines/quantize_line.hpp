// SPDX-License-Identifier: Apache-2.0
// Lines of quantisers: what problem lines are to products.
//
//   quantize bf16:e4m3fn scale=group128 4096x4096
//
// The operation, from:to types, words in any order, then RxC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kit/lines/line_words.hpp"
#include "octavo/quantize.hpp"

namespace octavo::kit {

struct QuantizeLine {
  DType from = DType::undefined, to = DType::undefined;
  Granularity scale;                   ///< scale=token; channel: one scale a column
  bool mx = false;                     ///< scale=mx: groups of 32, e8m0, the floor rule
  bool power_of_two = false;           ///< power_of_two
  bool azp = false;                    ///< azp
  DType scale_dtype = DType::float32;  ///< scale_dtype=e8m0fnu, with power_of_two
  std::int64_t rows = 0, cols = 0;
  std::uint64_t seed = 1;  ///< seed=7

  QuantizeOptions options() const;
};

/// Throws Error (invalid_argument) naming the word that is wrong and what would be right.
QuantizeLine parse_quantize_line(std::string_view line);

LineHelp quantize_line_help();

/// The canonical spelling.
std::string to_string(const QuantizeLine& line);

}  // namespace octavo::kit
