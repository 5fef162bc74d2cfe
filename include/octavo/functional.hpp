// SPDX-License-Identifier: Apache-2.0
// The products with the argument order, recipes and scale layouts of torch.nn.functional.
#pragma once

#include <cstdint>
#include <span>

#include "octavo/grouped.hpp"
#include "octavo/matmul.hpp"

namespace octavo::functional {

/// How a scale tensor is laid out; PyTorch's ScalingType, value for value.
enum class ScalingType : std::uint8_t {
  TensorWise = 0,        ///< float32, one element
  RowWise = 1,           ///< float32 [M, 1] or [M]; [1, N] or [N]
  BlockWise1x16 = 2,     ///< e4m3fn, groups of 16 along K
  BlockWise1x32 = 3,     ///< e8m0fnu, groups of 32 along K (MX)
  BlockWise1x128 = 4,    ///< float32 [M, ceil(K/128)]; [N, ceil(K/128)]
  BlockWise128x128 = 5,  ///< float32, PyTorch's padded [round_up(ceil(K/128), 4), ceil(M/128)], of
                         ///< any strides; or [ceil(M/128), ceil(K/128)] where that is no square;
                         ///< the same with N for B. A square grid is PyTorch's alone: padded, with
                         ///< strides [1, rows] where K/128 is a multiple of 4. In grouped products
                         ///< [..., ceil(M/128), ceil(K/128)] alone
};

/// How the elements of a 1x16 or 1x32 scale tensor are ordered; PyTorch's SwizzleType.
enum class SwizzleType : std::uint8_t {
  NO_SWIZZLE = 0,
  SWIZZLE_32_4_4 = 1,  ///< tiles of 128 x 4 scales stored as 32 x 4 x 4, padded to whole tiles;
                       ///< in grouped products a buffer for each group, one after another: for each
                       ///< matrix of a 3-D operand, each group of rows (columns of B) or of K of a
                       ///< 2-D one, where groups of K begin at multiples of the cell
};

/// One scale tensor and its declared layout. Two of them (the second TensorWise) multiply.
struct RecipeScale {
  TensorView values;                              ///< the scales
  ScalingType recipe = ScalingType::TensorWise;   ///< which elements share one
  SwizzleType swizzle = SwizzleType::NO_SWIZZLE;  ///< how they lie in memory
};

/// The arguments beside matrices and scales.
struct Options {
  // api: Options, of api/operations.toml
  /// [N], or [G, N]
  TensorView bias{};
  DType output_dtype = DType::bfloat16;
  /// scaled_grouped_mm only: int32 or int64 cumulative ends [G]
  TensorView offs{};
  /// no effect on a CPU
  bool use_fast_accum = false;
  /// where the result goes; default: allocated by the call
  TensorView out{};
  /// K = 0 gives zeros and no bias, as PyTorch does
  bool torch_compat = false;
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// torch.nn.functional.scaled_mm: mat_a [M, K], mat_b [K, N], scales by explicit recipe.
/// Unlike PyTorch, every pair of recipes and every pair of operand types of octavo::scaled_mm is
/// accepted, with any strides and sizes. Throws Error.
OCTAVO_API Tensor scaled_mm(const TensorView& mat_a, const TensorView& mat_b,
                            std::span<const RecipeScale> scale_a,
                            std::span<const RecipeScale> scale_b, const Options& options = {},
                            const ExecContext& context = {});

/// torch.nn.functional.scaled_grouped_mm: the four tensor forms of octavo::grouped_mm with scales
/// by explicit recipe. RowWise takes PyTorch's grouped shapes. Throws Error.
OCTAVO_API Tensor scaled_grouped_mm(const TensorView& mat_a, const TensorView& mat_b,
                                    std::span<const RecipeScale> scale_a,
                                    std::span<const RecipeScale> scale_b,
                                    const Options& options = {}, const ExecContext& context = {});

}  // namespace octavo::functional
