// SPDX-License-Identifier: Apache-2.0
// What gradients refuse beside what their operations do.
#include <array>

#include "ops/errors/errors.hpp"

namespace octavo::test {
std::vector<ErrorRow> gradient_errors() {
  const TensorView a = ones(int8, {2, 3});
  const TensorView b = ones(int8, {3, 4});
  const TensorView g = ones(float32, {2, 4});
  const TensorView a3 = ones(int8, {2, 2, 3});
  const TensorView b3 = ones(int8, {2, 3, 4});
  const TensorView x = ones(float32, {2, 3});
  const auto mm = [=](const TensorView& grad, const ScaledMmOptions& o, const MatmulWanted& wanted,
                      DType dtype = undefined) {
    (void)scaled_mm_vjp(grad, a, b, o, wanted, {.dtype = dtype});
  };
  const auto given = [](const char* argument) {
    return std::string("scaled_mm_vjp: ") + argument +
           " must be given where its gradient is wanted; got none";
  };
  return {
      {"GradOfAnotherShape", kInvalid,
       "scaled_mm_vjp: grad.shape must be that of the result, [2, 4]; got [2, 3]",
       [=] { mm(x, {}, {.a = true}); }},
      {"GradOfIntegers", kInvalid,
       "scaled_mm_vjp: grad.dtype must be float32, bfloat16 or float16; got int8",
       [=] { mm(a, {}, {.a = true}); }},
      {"UndefinedGrad", kInvalid, "scaled_mm_vjp: grad must be a tensor; got an undefined one",
       [=] { mm({}, {}, {.a = true}); }},
      {"GradientOfIntegers", kInvalid,
       "scaled_mm_vjp: options.dtype must be float32, bfloat16 or float16; got int8",
       [=] { mm(g, {}, {.a = true}, int8); }},
      {"GradientOfNoScale", kInvalid, given("scale_a"), [=] { mm(g, {}, {.scale_a = true}); }},
      {"GradientOfNoBias", kInvalid, given("bias"), [=] { mm(g, {}, {.bias = true}); }},
      {"GradientOfNoAlpha", kInvalid, given("alpha"), [=] { mm(g, {}, {.alpha = true}); }},
      {"GradientOfNoC", kInvalid, given("c"), [=] { mm(g, {}, {.c = true}); }},
      {"GradientOfWrongOperands", kInvalid,
       "scaled_mm_vjp: b.shape[0] must equal a.shape[1] = 3; got 2 (for a matrix given as [N, K] "
       "say "
       "trans_b)",
       [=] { (void)scaled_mm_vjp(g, a, a, {}, {.a = true}); }},
      {"GradientsOfGroupedZeroPoints", Code::unsupported,
       "scaled_mm_vjp: b.azp must be one element, [N] or [1, N] where gradients are wanted; got "
       "[3, 4]",
       [=] {
         Operand weight(ones(int8, {3, 4}));
         weight.azp = ones(int32, {3, 4});
         (void)scaled_mm_vjp(g, a, weight, {.scale_b = {ones(float32, {3, 4}), group(1)}},
                             {.a = true});
       }},
      {"GradOfGroups", kInvalid,
       "grouped_mm_vjp: grad.shape must be that of the result, [2, 2, 4]; got [2, 4]",
       [=] { (void)grouped_mm_vjp(g, a3, b3, GroupedOptions{}, {.a = true}); }},
      {"GradOfABatch", kInvalid,
       "scaled_grouped_mm_vjp: scale must be given where its gradient is wanted; got none",
       [=] {
         (void)scaled_grouped_mm_vjp(ones(float32, {2, 2, 4}), a3, b3, {}, {.alpha = true});
       }},
      {"GradsOfAList", kInvalid, "grouped_mm_vjp: grads.size must equal inputs.size = 1; got 2",
       [=] {
         const std::array<TensorView, 2> grads{g, g};
         const std::array<Operand, 1> inputs{a};
         const std::array<Operand, 1> weights{b};
         (void)grouped_mm_vjp(grads, inputs, weights, GroupedListOptions{}, {.a = true});
       }},
      {"GradOfAListsEntry", kInvalid,
       "grouped_mm_vjp: grads[0].shape must be that of the result, [2, 4]; got [2, 3]",
       [=] {
         const std::array<TensorView, 1> grads{x};
         const std::array<Operand, 1> inputs{a};
         const std::array<Operand, 1> weights{b};
         (void)grouped_mm_vjp(grads, inputs, weights, GroupedListOptions{}, {.a = true});
       }},
      {"CodesGradientUnderLlmInt8", Code::unsupported,
       "scaled_mm_vjp: options.dequantized must be true where b is wanted under LLM.int8 (its "
       "gradient is made of codes by column, that of the values); got false",
       [=] {
         ActivationQuant rule;
         rule.vectorwise = true;
         Operand quantized(x);
         quantized.quantize = &rule;
         (void)scaled_mm_vjp(g, quantized, b, {}, {.b = true});
       }},
      {"ScaleGradientUnderLlmInt8", Code::unsupported,
       "scaled_mm_vjp: scale_b must not be wanted under LLM.int8; got a request",
       [=] {
         ActivationQuant rule;
         rule.vectorwise = true;
         Operand quantized(x);
         quantized.quantize = &rule;
         (void)scaled_mm_vjp(g, quantized, b, {.scale_b = 0.5F}, {.scale_b = true});
       }},
      {"GradientOfSwizzledScales", Code::unsupported,
       "scaled_mm_vjp: scale_a.swizzle must be NO_SWIZZLE where its gradient is wanted; got "
       "SWIZZLE_32_4_4",
       [=] {
         using namespace functional;
         const std::array<RecipeScale, 1> scale{
             {{ones(float8_e8m0fnu, {512}), ScalingType::BlockWise1x32,
               SwizzleType::SWIZZLE_32_4_4}}};
         (void)functional::scaled_mm_vjp(g, ones(float8_e4m3fn, {2, 3}),
                                         ones(float8_e4m3fn, {3, 4}), scale, scale, {},
                                         {.scale_a = true});
       }},
      {"GradientOfAComputedScale", kInvalid,
       "quantize_vjp: scale must be static where its gradient is wanted (a computed one is no "
       "argument); got none",
       [=] { (void)quantize_vjp(x, x, {}, {.scale = true}); }},
      {"GradOfAQuantiser", kInvalid,
       "quantize_vjp: grad.shape must be that of the result, [2, 3]; got [2, 4]",
       [=] { (void)quantize_vjp(g, x, {}, {.x = true}); }},
      {"GradientOfNoZeroPoints", kInvalid,
       "dequantize_vjp: q.azp must be given where its gradient is wanted; got none",
       [=] { (void)dequantize_vjp(x, quantize(x), {.azp = true}); }},
  };
}

}  // namespace octavo::test
