// SPDX-License-Identifier: Apache-2.0
// A block of rows of a layer, read and quantised.
#pragma once

#include <cstdint>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/steps/plan.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "octavo/code_errors.hpp"

namespace octavo::checkpoint {

/// Pieces of work take at most this many bytes of input, unless one block of rows is longer: what a
/// run holds in memory does not grow with tensors.
inline constexpr std::int64_t kPieceBytes = std::int64_t{512} << 10;

/// The type of a layer's weight before it is quantised.
DType dtype_before(const LayerPlan& layer);

/// Rows of a layer in one piece: rows under one scale are never cut.
std::int64_t rows_of_piece(const LayerPlan& layer);

/// Rows of a layer's weight, up to `rows` of them: as stored, or in float32 times the layer's
/// smoothing factors. Throws Error (io).
Tensor weight_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                   std::int64_t rows);

struct QuantizedRows {
  Written written;
  CodeErrors errors;
  std::int64_t bytes = 0;  ///< of input
};

/// Adds 128 to int8 codes, which makes them the bytes that compressed-tensors packs in fours.
void add_128(const Tensor& codes) noexcept;

/// `operation` begins sentences. Throws Error (corrupt_data: an element that is not finite, with
/// its place; io).
QuantizedRows quantize_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                            std::int64_t rows, const char* operation = "quantize_file");
/// The same of rows that weight_rows has given.
QuantizedRows quantize_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                            const Tensor& weight, const char* operation = "quantize_file");

}  // namespace octavo::checkpoint
