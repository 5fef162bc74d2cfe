// SPDX-License-Identifier: Apache-2.0
// Gradients: the vector-Jacobian product of every operation, as plain functions over views.
//
// Source: specification section 5. There is no tape: a caller passes what the forward call was
// given, the gradient of a loss with respect to its result, and which gradients are wanted. With
// g = grad * scale_result, Ahat = (A - azp) * sa, Bhat = B * sb:
//
//   a = (g Bhat^T) * sa * alpha      scale_a = sum (A - azp) . (g Bhat^T) * alpha
//   b = (Ahat^T g) * sb * alpha      scale_b = sum B . (Ahat^T g) * alpha
//   bias = sum over m of g           alpha = sum g . acc, acc = Ahat Bhat
//   c = beta * g                     beta = sum g . C
//   scale_result = sum grad . (alpha * acc + beta * C + bias)
//
// Each sum runs over what one element of that argument covers: a gradient has its argument's own
// shape, and its stride order too.
//
// Operands of 8-bit integers are constants to most callers, but their gradients (with respect to
// the codes) can be asked for. A quantised result (int8, uint8, fp8, int32) passes gradients
// straight through, and none where its float value lies outside the type's range. Rows and columns
// that no group covers have gradient zero, and so have the weights of empty groups.
#pragma once

#include <span>
#include <vector>

#include "octavo/functional.hpp"
#include "octavo/grouped.hpp"
#include "octavo/linear.hpp"
#include "octavo/matmul.hpp"
#include "octavo/moe.hpp"
#include "octavo/quantize.hpp"

namespace octavo {

/// Which gradients of a product are wanted. One of an argument that was not given is an error.
struct MatmulWanted {
  bool a = false, b = false, bias = false;  ///< of the operands and the bias
  bool scale_a = false, scale_b = false;    ///< of an operand's second level of scales: constant
  /// of the other factors and of C
  bool alpha = false, beta = false, c = false, scale_result = false;
};

/// The gradients of a product; undefined where not wanted. A number's has no dimensions.
struct MatmulGradients {
  /// each in its argument's shape and stride order
  Tensor a{}, b{}, bias{}, scale_a{}, scale_b{}, alpha{}, beta{}, c{}, scale_result{};
};

/// How gradients are computed and given.
struct GradientOptions {
  /// Of the gradients of a, b and c: float32, bfloat16 or float16. Undefined: the argument's own
  /// type where it is one of these, else grad's. All others are float32.
  DType dtype = DType::undefined;
  /// Keep scaled gradients in float32 on their way into a product, instead of rounding them once
  /// to bfloat16 beside 8-bit and bfloat16 operands. Slower; the bound is section 9's then.
  bool float32 = false;
  /// The gradients of a and b are those of the dequantised values (straight-through estimator):
  /// without the operand's own scale as a factor.
  bool dequantized = false;
};

/// The gradients of scaled_mm.
///
/// Shapes   grad [M, N], any strides; a, b and forward as they were given to scaled_mm (`out` and
///          its content are not read).
/// Types    grad float32, bfloat16 or float16.
/// Numerics the two products are products of section 9. Scales that vary along the dimension that
///          is summed, and scale_result, are multiplied into grad in float32, which is rounded once
///          to bfloat16: 2^-8 * sum |ghat| |Bhat| more error, unless `float32` is set. Beside
///          float16 and float32 operands, and where the gradient of the operand's own scale is
///          wanted (its terms cancel), it always stays float32. Sums over elements are made in
///          float64 and rounded once. No result depends on the number of threads.
/// Errors   those of scaled_mm; invalid_argument (grad, dtype, a gradient of what was not given).
/// Memory   allocated by the call; a workspace in `context` is left alone.
OCTAVO_API MatmulGradients scaled_mm_vjp(const TensorView& grad, const Operand& a, const Operand& b,
                                         const ScaledMmOptions& forward, const MatmulWanted& wanted,
                                         const GradientOptions& options = {},
                                         const ExecContext& context = {});

/// The gradients of the four tensor forms of grouped_mm; grad has the shape of the output.
/// Everything else as scaled_mm_vjp.
OCTAVO_API MatmulGradients grouped_mm_vjp(const TensorView& grad, const Operand& a,
                                          const Operand& b, const GroupedOptions& forward,
                                          const MatmulWanted& wanted,
                                          const GradientOptions& options = {},
                                          const ExecContext& context = {});

/// The gradients of the list form, one set for each entry. Of a list of biases or scales, the
/// entries that were not given have none. Everything else as scaled_mm_vjp.
OCTAVO_API std::vector<MatmulGradients> grouped_mm_vjp(
    std::span<const TensorView> grads, std::span<const Operand> inputs,
    std::span<const Operand> weights, const GroupedListOptions& forward, const MatmulWanted& wanted,
    const GradientOptions& options = {}, const ExecContext& context = {});

/// The gradients of scaled_grouped_mm: a (input), b (weight) and alpha (scale).
OCTAVO_API MatmulGradients scaled_grouped_mm_vjp(const TensorView& grad, const Operand& input,
                                                 const Operand& weight,
                                                 const ScaledGroupedMmOptions& forward,
                                                 const MatmulWanted& wanted,
                                                 const GradientOptions& options = {},
                                                 const ExecContext& context = {});

/// The gradients of linear: a (x [..., K]), b (the dequantised weight, [K, N] over [N, K] memory)
/// and bias. Straight through the quantiser of the activations; b sees the activations that the
/// product saw, quantised. Under LLM.int8 b is a product of int8 codes by column (specification
/// section 8): grad and x are quantised along M, outlier columns of x multiplied as they are.
OCTAVO_API MatmulGradients linear_vjp(const TensorView& grad, const TensorView& x,
                                      const PackedWeight& weight, const LinearOptions& forward,
                                      const MatmulWanted& wanted,
                                      const GradientOptions& options = {},
                                      const ExecContext& context = {});
OCTAVO_API MatmulGradients linear_vjp(const TensorView& grad, const TensorView& x,
                                      const Operand& weight, const ActivationQuant& rule,
                                      const LinearOptions& forward, const MatmulWanted& wanted,
                                      const GradientOptions& options = {},
                                      const ExecContext& context = {});

/// The gradient of silu_and_mul: of x [..., 2 I] from grad [..., I], both of a float type, in x's
/// type. Every step is float32; the bits are the same on every machine. Throws Error.
OCTAVO_API Tensor silu_and_mul_vjp(const TensorView& grad, const TensorView& x,
                                   const char* backend = nullptr, const ExecContext& context = {});

/// Which gradients of fused_experts are wanted.
struct FusedExpertsWanted {
  /// of the arguments of these names
  bool x = false, topk_weights = false, bias13 = false, bias2 = false;
};
/// Undefined where not wanted.
struct FusedExpertsGradients {
  Tensor x;             ///< x's shape; GradientOptions::dtype, or x's
  Tensor topk_weights;  ///< float32 [M, T]; 0 where an id names no expert that is here
  Tensor bias13;        ///< float32 [E, 2 I]
  Tensor bias2;         ///< float32 [E, N]
};

/// The gradients of fused_experts, of grad (x's leading dimensions and N); experts are constant.
///
/// Straight through the quantisers, as linear_vjp: with y_r, h_r = W13[e] @ x + b13 and a_r =
/// act(h_r) of route r = (m, t), and w_r its weight,
///
///   d w_r = <grad[m], y_r>
///   d a_r = w_r * (grad[m] @ W2[e])
///   d x[m] = sum over t of d h_r @ W13[e]
///
/// The sum is float32 in ascending t, converted once; a row's gradients depend on no other row's
/// unless one dynamic scale serves several. h and y are computed again. Products are those of
/// linear_vjp, at most 64 MB of experts unpacked at a time. Throws Error.
OCTAVO_API FusedExpertsGradients fused_experts_vjp(
    const TensorView& grad, const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
    const TensorView& topk_weights, const TensorView& topk_ids, const FusedExpertsOptions& forward,
    const FusedExpertsWanted& wanted, const GradientOptions& options = {},
    const ExecContext& context = {});

/// Which gradients of quantize are wanted.
struct QuantizeWanted {
  bool x = false, scale = false;  ///< of the arguments of these names
};
/// The gradients of quantize; undefined where not wanted.
struct QuantizeGradients {
  Tensor x;      ///< [R, C], x's type and stride order
  Tensor scale;  ///< float32, the shape of the scale argument
};

/// The gradients of x -> dequantize(quantize(x)), the fake quantiser of training (QAT).
///
/// grad [R, C] is that of the dequantised values. With a computed scale the estimator is straight
/// through: x = grad. With a static scale s it is learned step size quantisation (Esser et al.,
/// "LSQ", arXiv 1902.08153): x = grad where x / s (rounded and shifted by its zero point, for
/// integers) lies in the range of the type, else 0; scale = gradient_scale * sum over its elements
/// of grad * (code - azp - x / s) inside, of grad * (code - azp) where it was clipped. Throws
/// Error.
OCTAVO_API QuantizeGradients quantize_vjp(const TensorView& grad, const TensorView& x,
                                          const QuantizeOptions& forward,
                                          const QuantizeWanted& wanted, float gradient_scale = 1.0F,
                                          const ExecContext& context = {});

/// Which gradients of dequantize are wanted.
struct DequantizeWanted {
  bool data = false, scale = false, azp = false;  ///< of the fields of these names
};
/// The gradients of dequantize; undefined where not wanted.
struct DequantizeGradients {
  Tensor data;   ///< [R, C] with respect to the codes: grad * scale; grad's type
  Tensor scale;  ///< float32, the shape of q.scale: sum of grad * (code - azp)
  Tensor azp;    ///< float32, the shape of q.azp: -sum of grad * scale
};

/// The gradients of dequantize; grad [R, C]. Throws Error.
OCTAVO_API DequantizeGradients dequantize_vjp(const TensorView& grad, const Quantized& q,
                                              const DequantizeWanted& wanted,
                                              const ExecContext& context = {});

namespace functional {

/// The gradients of functional::scaled_mm. Of two scale tensors the first has a gradient, in its
/// own layout; a swizzled one has none. Everything else as octavo::scaled_mm_vjp.
OCTAVO_API MatmulGradients scaled_mm_vjp(const TensorView& grad, const TensorView& mat_a,
                                         const TensorView& mat_b,
                                         std::span<const RecipeScale> scale_a,
                                         std::span<const RecipeScale> scale_b,
                                         const Options& forward, const MatmulWanted& wanted,
                                         const GradientOptions& options = {},
                                         const ExecContext& context = {});

/// The gradients of functional::scaled_grouped_mm.
OCTAVO_API MatmulGradients scaled_grouped_mm_vjp(const TensorView& grad, const TensorView& mat_a,
                                                 const TensorView& mat_b,
                                                 std::span<const RecipeScale> scale_a,
                                                 std::span<const RecipeScale> scale_b,
                                                 const Options& forward, const MatmulWanted& wanted,
                                                 const GradientOptions& options = {},
                                                 const ExecContext& context = {});

}  // namespace functional
}  // namespace octavo
