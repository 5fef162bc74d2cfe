// SPDX-License-Identifier: Apache-2.0
// vLLM's w8a8_utils by its own names: scales of fused weights, and fp8 linear layers.
//
// Source: vllm.model_executor.layers.quantization.utils.w8a8_utils; specification sections 6 and 7.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "octavo/context.hpp"
#include "octavo/packed.hpp"
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

/// A weight under one scale.
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

/// A weight of type float8_e4m3fnuz and its scales.
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

/// fp8 products on a GPU.
OCTAVO_API bool cutlass_fp8_supported() noexcept;
/// fp8 products with block scales on a GPU.
OCTAVO_API bool cutlass_block_fp8_supported() noexcept;
/// Grouped products on a GPU.
OCTAVO_API bool cutlass_group_gemm_supported() noexcept;
/// Sparse products: false.
OCTAVO_API bool sparse_cutlass_supported() noexcept;

/// Whether per-token products go to torch_per_token_w8a8_scaled_mm: on ROCm, which is not built.
inline constexpr bool USE_ROWWISE_TORCH_SCALED_MM = false;

// ---- quantised activations ---------------------------------------------------------------------

/// How many rows and columns of an activation share a scale; -1: all of them.
struct GroupShape {
  std::int64_t row = -1;  ///< rows of a group
  std::int64_t col = -1;  ///< columns of a group

  static const GroupShape PER_TENSOR;  ///< {-1, -1}
  static const GroupShape PER_TOKEN;   ///< {1, -1}
  friend bool operator==(const GroupShape&, const GroupShape&) = default;
};
inline constexpr GroupShape GroupShape::PER_TENSOR{-1, -1};
inline constexpr GroupShape GroupShape::PER_TOKEN{1, -1};

/// Quantises activations [M, K] to fp8 by vLLM's rules.
///
/// scale = max(absmax / qmax, least) with qmax 448 (e4m3fn), 57344 (e5m2) and 224 (e4m3fnuz, whose
/// codes stay within +-224 whatever the scale), least = 1 / (qmax * 512), for groups 1e-10 / qmax.
/// Unlike vLLM's kernels: code = cast(x / scale) with the correctly rounded quotient in every mode,
/// NaN stays NaN and does not enter a scale, and the least scale holds per tensor, too.
class OCTAVO_API QuantFP8 {
 public:
  /// What a call gives.
  struct Output {
    Tensor codes;  ///< [max(M, num_token_padding), K]; rows past M are zero
    Tensor scale;  ///< [1], [rows of codes, 1] or [rows of codes, ceil(K / col)]; static: as given
  };

  /// Throws Error for a group shape other than PER_TENSOR, PER_TOKEN and {1, col}, a type that is
  /// not fp8 and a negative padding.
  explicit QuantFP8(bool is_static, GroupShape group_shape = GroupShape::PER_TENSOR,
                    std::optional<std::int64_t> num_token_padding = {},
                    DType dtype = DType::float8_e4m3fn);

  /// `scale` has to be there if and only if the quantiser is static: one element, or the shape of
  /// the group shape. `scale_ub` (one element) bounds absmax. Throws Error.
  Output operator()(const TensorView& x, const TensorView& scale = {},
                    const TensorView& scale_ub = {}, const ExecContext& context = {}) const;

  /// Whether scales are given instead of computed.
  bool is_static() const noexcept { return is_static_; }
  /// Which elements share a scale.
  GroupShape group_shape() const noexcept { return group_shape_; }
  /// The least number of rows of the codes.
  std::optional<std::int64_t> num_token_padding() const noexcept { return num_token_padding_; }
  /// Of the codes.
  DType dtype() const noexcept { return dtype_; }

 private:
  bool is_static_;
  GroupShape group_shape_;
  std::optional<std::int64_t> num_token_padding_;
  DType dtype_;
};

// ---- products ----------------------------------------------------------------------------------

/// The arguments of every backend function.
///
/// A scale's shape says what it means: scale_a of one element is per tensor, [M] or [M, 1] per
/// token, [M, ceil(K / group_size)] per group; scale_b of one element per tensor, [N] or [N, 1] per
/// channel, [ceil(N / 128), ceil(K / 128)] per block of the weight as it is stored, [N, K], and any
/// other [1, N] per channel.
struct W8a8Arguments {
  TensorView qinput;                   ///< [M or more, K], fp8 or int8; rows past M are padding
  Operand weight;                      ///< [K, N], fp8 or int8, with any strides, or packed
  DType out_dtype = DType::undefined;  ///< undefined: bfloat16
  TensorView scale_a{};                ///< one row for each of qinput's, or for each of M
  TensorView scale_b{};                ///< undefined: the scale that the weight carries
  TensorView bias{};                   ///< float type, [N]
  TensorView input_2d{};               ///< what was quantised: its rows are M
  std::span<const std::int64_t> output_shape{};  ///< of the result; empty: [M, N]
  std::int64_t group_size =
      0;  ///< what a 2-D scale_a has; 0: tokens or groups of 128, by its shape
};
using W8a8ScaledMm = Tensor (*)(const W8a8Arguments&, const ExecContext&);

// vLLM's backend functions. They differ in name alone: all are scaled_mm (specification section 3)
// with the padding taken off, the bias added before the one rounding, and the result in
// output_shape. Without input_2d M follows from output_shape, else from qinput. Throw Error.
/// A product, under vLLM's name for its CUTLASS kernels.
OCTAVO_API Tensor cutlass_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                         const ExecContext& context = {});
/// A product, under vLLM's name for FlashInfer's kernels.
OCTAVO_API Tensor flashinfer_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                            const ExecContext& context = {});
/// A product, under vLLM's name for AMD's kernels.
OCTAVO_API Tensor rocm_per_tensor_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                                 const ExecContext& context = {});
/// A product, under vLLM's name for PyTorch's with scales per tensor.
OCTAVO_API Tensor torch_per_tensor_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                                  const ExecContext& context = {});
/// A product, under vLLM's name for PyTorch's with scales per token.
OCTAVO_API Tensor torch_per_token_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                                 const ExecContext& context = {});
/// A product, under vLLM's name for PyTorch's with scales per channel.
OCTAVO_API Tensor torch_channelwise_w8a8_scaled_mm(const W8a8Arguments& arguments,
                                                   const ExecContext& context = {});
/// All rows of qinput, padding included: [rows of qinput, N].
OCTAVO_API Tensor rocm_per_tensor_w8a8_scaled_mm_impl(const W8a8Arguments& arguments,
                                                      const ExecContext& context = {});
/// A tensor as `_impl` gives it, uninitialised.
OCTAVO_API Tensor rocm_per_tensor_w8a8_scaled_mm_fake(const W8a8Arguments& arguments);

/// vLLM's table of which function runs; any other backend than "rocm", "flashinfer" and "cutlass"
/// is "torch". Every entry is right for every problem.
OCTAVO_API W8a8ScaledMm dispatch_w8a8_scaled_mm(std::string_view preferred_backend,
                                                bool per_tensor_weights,
                                                bool per_tensor_activations) noexcept;

/// An fp8 linear layer's product: quantises activations, unless they are fp8 already, and
/// multiplies them with an fp8 weight.
///
/// A row's bits never depend on padding; on the other rows only by a dynamic per-tensor scale,
/// which batch_invariant therefore refuses.
class OCTAVO_API Fp8LinearOp {
 public:
  /// pad_output (undefined: true, as vLLM's rule is for "torch") sets `output_padding` to 17, which
  /// quant_fp8 pads to; `apply` leaves the padding out, for no result depends on it.
  /// force_fp8_e4m3fnuz quantises to that type. Throws Error.
  explicit Fp8LinearOp(bool act_quant_static,
                       GroupShape act_quant_group_shape = GroupShape::PER_TENSOR,
                       std::optional<bool> pad_output = {}, bool force_fp8_e4m3fnuz = false,
                       bool batch_invariant = false);

  /// input [..., K], weight [K, N] -> [..., N].
  ///
  /// input: bfloat16, float16 or float32, quantised as the operation says; or any fp8 type with its
  /// input_scale. out_dtype undefined: the input's type, bfloat16 for fp8. Scales: see
  /// W8a8Arguments. Throws Error.
  Tensor apply(const TensorView& input, const Operand& weight, const TensorView& weight_scale,
               DType out_dtype = DType::undefined, const TensorView& input_scale = {},
               const TensorView& input_scale_ub = {}, const TensorView& bias = {},
               const ExecContext& context = {}) const;

  /// The name by which dispatch_w8a8_scaled_mm chose.
  const std::string& preferred_backend() const noexcept { return preferred_backend_; }
  /// The least number of rows of quant_fp8's codes.
  std::optional<std::int64_t> output_padding() const noexcept {
    return quant_fp8_.num_token_padding();
  }
  /// Whether activations have a static scale.
  bool act_quant_static() const noexcept { return quant_fp8_.is_static(); }
  /// Which elements of an activation share a scale.
  GroupShape act_quant_group_shape() const noexcept { return quant_fp8_.group_shape(); }
  /// What quantises activations.
  const QuantFP8& quant_fp8() const noexcept { return quant_fp8_; }

 private:
  std::string preferred_backend_;
  QuantFP8 quant_fp8_;
};

}  // namespace octavo::w8a8_utils
