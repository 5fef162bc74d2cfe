// SPDX-License-Identifier: Apache-2.0
// vLLM's w8a8_utils by its own names: scales of fused weights, and fp8 linear layers.
//
// Source: vllm.model_executor.layers.quantization.utils.w8a8_utils; specification sections 6 and 7.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "octavo/context.hpp"
#include "octavo/scale.hpp"
#include "octavo/tensor.hpp"

namespace octavo::w8a8_utils {

// ---- scales of fused weights -------------------------------------------------------------------
//
// A fused weight [N, K] (QKV, gate and up) is made of shards, `logical_widths` rows each, with one
// scale per shard: [S], [S, 1], or one element for all of them. A scale that no checkpoint has
// loaded holds kUnsetScale. Where exactly one of several is loaded, the weight was fused before it
// was quantised, and that scale is everybody's. Shards of width 0 need no scale. Anything else that
// is unset, negative, infinite or NaN is an error.

/// What a scale holds before a checkpoint has loaded it: torch.finfo(torch.float32).min.
inline constexpr float kUnsetScale = std::numeric_limits<float>::lowest();

/// The scales as float32 [N, 1], each repeated over the rows of its shard. Nothing is lost, unlike
/// in requantize_with_max_scale. Throws Error.
OCTAVO_API Tensor convert_to_channelwise(const TensorView& weight_scale,
                                         std::span<const std::int64_t> logical_widths);

struct Requantized {
  Tensor scale;   ///< float32, 0-D
  Tensor weight;  ///< the type of the weight
};

/// The weight [N, K] of an fp8 type with one scale, the largest: each code becomes
/// cast(code * scale / largest) in float32; NaN stays NaN, and a shard that has the largest scale
/// keeps its bits, as the whole of a fused checkpoint does. The weight is a new row-major tensor,
/// or the given memory, rewritten, with `in_place`. Throws Error.
OCTAVO_API Requantized requantize_with_max_scale(const TensorView& weight,
                                                 const TensorView& weight_scale,
                                                 std::span<const std::int64_t> logical_widths,
                                                 bool in_place = false,
                                                 const ExecContext& context = {});

/// tensor * inv_scale as float16, computed in float32 and converted once. `tensor` has any rank and
/// an 8-bit, 16-bit or float32 type; `inv_scale` is a number or has one element. Throws Error.
OCTAVO_API Tensor per_tensor_dequantize(const TensorView& tensor, const Scale& inv_scale,
                                        const ExecContext& context = {});

/// |x[0] - x[i]| <= 1e-8 + 1e-5 |x[i]| (or equal infinities) for every element of a 1-D float
/// tensor; NaN is close to nothing, an empty tensor is all close. Throws Error.
OCTAVO_API bool all_close_1d(const TensorView& x);

struct NormalizedFnuz {
  Tensor weight;        ///< float8_e4m3fnuz, row-major
  Tensor weight_scale;  ///< in its own type and shape
  Tensor input_scale;   ///< undefined where none was given
};

/// A float8_e4m3fn weight as float8_e4m3fnuz with the same values: the bits, which mean half as
/// much there, and twice the scales. Both NaNs become the one NaN, -0 becomes 0. All tensors are
/// new. Throws Error.
OCTAVO_API NormalizedFnuz normalize_e4m3fn_to_e4m3fnuz(const TensorView& weight,
                                                       const TensorView& weight_scale,
                                                       const TensorView& input_scale = {},
                                                       const ExecContext& context = {});

// ---- what is built -----------------------------------------------------------------------------
//
// True where this library has such kernels for a GPU and that GPU is here; without a CUDA backend
// all are false. Octavo has no sparse products.

OCTAVO_API bool cutlass_fp8_supported();
OCTAVO_API bool cutlass_block_fp8_supported();
OCTAVO_API bool cutlass_group_gemm_supported();
OCTAVO_API bool sparse_cutlass_supported();

}  // namespace octavo::w8a8_utils
