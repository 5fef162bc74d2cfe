// SPDX-License-Identifier: Apache-2.0
// What the entries that carry vLLM's names refuse.
#include <cmath>

#include "octavo/w8a8_utils.hpp"
#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

using namespace w8a8_utils;  // NOLINT: what is tested
using Widths = std::vector<std::int64_t>;

std::function<void()> spreading(const TensorView& scales, const Widths& widths) {
  return [=] { (void)convert_to_channelwise(scales, widths); };
}
std::function<void()> requantizing(const TensorView& weight, const TensorView& scales,
                                   const Widths& widths) {
  return [=] { (void)requantize_with_max_scale(weight, scales, widths); };
}

std::vector<ErrorRow> helper_errors() {
  const TensorView w = ones(float8_e4m3fn, {4, 3});
  return {
      {"ChannelwiseWidths", kInvalid,
       "convert_to_channelwise: logical_widths[1] must be at least 0 and their sum less than 2^63; "
       "got -1",
       spreading(scales_of({1, 1}), {1, -1})},
      {"ChannelwiseScales", kInvalid,
       "convert_to_channelwise: weight_scale.shape must be one element or [3], one for each of "
       "logical_widths; got [2]",
       spreading(scales_of({1, 1}), {1, 1, 1})},
      {"ChannelwiseUnset", kInvalid,
       "convert_to_channelwise: weight_scale[2] must be loaded, finite and at least 0 (or be the "
       "only one loaded); got none loaded",
       spreading(scales_of({1, 2, kUnsetScale}), {1, 1, 1})},
      {"RequantizeAllUnset", kInvalid,
       "requantize_with_max_scale: weight_scale[0] must be loaded, finite and at least 0 (or be "
       "the only one loaded); got none loaded",
       requantizing(w, scales_of({kUnsetScale, kUnsetScale}), {2, 2})},
      {"RequantizeNegative", kInvalid,
       "requantize_with_max_scale: weight_scale[1] must be loaded, finite and at least 0 (or be "
       "the only one loaded); got -1",
       requantizing(w, scales_of({1, -1}), {2, 2})},
      {"RequantizeNaN", kInvalid,
       "requantize_with_max_scale: weight_scale[1] must be loaded, finite and at least 0 (or be "
       "the only one loaded); got nan",
       requantizing(w, scales_of({1, std::nanf("")}), {2, 2})},
      {"RequantizeWidths", kInvalid,
       "requantize_with_max_scale: logical_widths must add up to weight.shape[0] = 4; got 5",
       requantizing(w, scales_of({1, 1}), {2, 3})},
      {"RequantizeType", kInvalid,
       "requantize_with_max_scale: weight must be 2-D [N, K] of a float8 type; got int8 [4, 3]",
       requantizing(ones(int8, {4, 3}), scales_of({1, 1}), {2, 2})},
      {"PerTensorDequantizeType", kInvalid,
       "per_tensor_dequantize: tensor.dtype must be an 8-bit type or a 16- or 32-bit float type; "
       "got int32",
       [=] { (void)per_tensor_dequantize(ones(int32, {2}), 1.0); }},
      {"PerTensorDequantizeScale", kInvalid,
       "per_tensor_dequantize: inv_scale must be a number or have one element; got [2]",
       [=] {
         (void)per_tensor_dequantize(w, scales_of({1, 1}));
       }},
      {"PerTensorDequantizeNoScale", kInvalid,
       "per_tensor_dequantize: inv_scale must be a tensor; got an undefined one",
       [=] { (void)per_tensor_dequantize(w, nullptr); }},
      {"AllClose1d", kInvalid, "all_close_1d: x.shape must be 1-D; got [1, 2]",
       [=] {
         (void)all_close_1d(ones(float32, {1, 2}));
       }},
      {"NormalizeType", kInvalid,
       "normalize_e4m3fn_to_e4m3fnuz: weight.dtype must be float8_e4m3fn; got float8_e4m3fnuz",
       [=] { (void)normalize_e4m3fn_to_e4m3fnuz(ones(float8_e4m3fnuz, {1}), ones(float32, {1})); }},
      {"NormalizeScale", kInvalid,
       "normalize_e4m3fn_to_e4m3fnuz: input_scale.dtype must be float32, bfloat16 or float16; got "
       "int8",
       [=] { (void)normalize_e4m3fn_to_e4m3fnuz(w, ones(float32, {1}), ones(int8, {1})); }},
  };
}

std::vector<ErrorRow> quantizer_errors() {
  const TensorView x = ones(float32, {4, 6});
  const TensorView scale = ones(float32, {1});
  const auto quantizing = [=](bool is_static, const TensorView& s, const TensorView& bound) {
    return [=] { (void)QuantFP8(is_static)(x, s, bound); };
  };
  return {
      {"QuantFP8Shape", kInvalid,
       "QuantFP8: group_shape must be PER_TENSOR, PER_TOKEN or (1, columns); got (2, 128)",
       [] {
         QuantFP8(false, {2, 128});
       }},
      {"QuantFP8Type", kInvalid, "QuantFP8: dtype must be a float8 type; got int8",
       [] { QuantFP8(false, GroupShape::PER_TOKEN, {}, int8); }},
      {"QuantFP8Padding", kInvalid, "QuantFP8: num_token_padding must be at least 0; got -1",
       [] { QuantFP8(false, GroupShape::PER_TOKEN, -1); }},
      {"QuantFP8StaticWithoutScale", kInvalid,
       "QuantFP8: scale must be given where quantisation is static; got none",
       quantizing(true, {}, {})},
      {"QuantFP8DynamicWithScale", kInvalid,
       "QuantFP8: scale must be undefined where quantisation is dynamic; got [1]",
       quantizing(false, scale, {})},
      {"QuantFP8Bounds", kInvalid, "QuantFP8: scale_ub must have one element; got [2]",
       quantizing(false, {}, ones(float32, {2}))},
      {"QuantFP8Bound", kInvalid, "QuantFP8: scale_ub must be positive; got -1",
       quantizing(false, {}, scales_of({-1}))},
      {"QuantFP8StaticShape", kInvalid, "QuantFP8: scale.shape must be one element; got [4]",
       quantizing(true, ones(float32, {4}), {})},
      {"QuantFP8Input", kInvalid,
       "QuantFP8: x.dtype must be float32, bfloat16 or float16; got int8",
       [] {
         (void)QuantFP8(false)(ones(int8, {1, 1}));
       }},
  };
}

std::vector<ErrorRow> product_function_errors() {
  const std::int64_t wrong[] = {2, 9};
  W8a8Arguments good;
  good.qinput = ones(float8_e4m3fn, {4, 6});
  good.weight = ones(float8_e4m3fn, {6, 3});
  good.scale_a = ones(float32, {1});
  good.scale_b = ones(float32, {1});
  const auto with = [=](const auto& change) {
    return [=] {
      W8a8Arguments a = good;
      change(a);
      (void)cutlass_w8a8_scaled_mm(a);
    };
  };
  return {
      {"W8a8Input", kInvalid,
       "cutlass_w8a8_scaled_mm: qinput must be 2-D [M, K] of int8 or a float8 type; got float32 "
       "[4, 6]",
       with([](W8a8Arguments& a) {
         a.qinput = ones(float32, {4, 6});
       })},
      {"W8a8Weight", kInvalid,
       "cutlass_w8a8_scaled_mm: weight must be 2-D [K, N] of int8 or a float8 type; got float32 "
       "[6, 3]",
       with([](W8a8Arguments& a) {
         a.weight = ones(float32, {6, 3});
       })},
      {"W8a8Inner", kInvalid,
       "cutlass_w8a8_scaled_mm: weight.shape[0] must equal qinput.shape[1] = 6; got 3 (for a "
       "matrix given as [N, K] say trans_b)",
       with([](W8a8Arguments& a) {
         a.weight = ones(float8_e4m3fn, {3, 6});
       })},
      {"W8a8ScaleA", kInvalid,
       "cutlass_w8a8_scaled_mm: scale_a.shape must be one element, [4], [4, 1] or, for groups of "
       "128, [4, 1]; got [3]",
       with([](W8a8Arguments& a) { a.scale_a = ones(float32, {3}); })},
      {"W8a8ScaleB", kInvalid,
       "cutlass_w8a8_scaled_mm: scale_b.shape must be one element, [3], [3, 1], [1, 3] or, for "
       "blocks of 128 x 128, [1, 1]; got [2, 3]",
       with([](W8a8Arguments& a) {
         a.scale_b = ones(float32, {2, 3});
       })},
      {"W8a8NoScale", kInvalid,
       "cutlass_w8a8_scaled_mm: scale_a must be a tensor; got an undefined one",
       with([](W8a8Arguments& a) { a.scale_a = {}; })},
      {"W8a8GroupSize", kInvalid, "cutlass_w8a8_scaled_mm: group_size must be at least 0; got -1",
       with([](W8a8Arguments& a) { a.group_size = -1; })},
      {"W8a8Rows", kInvalid,
       "cutlass_w8a8_scaled_mm: qinput.shape[0] must be at least the 5 rows asked for; got 4",
       with([](W8a8Arguments& a) {
         a.input_2d = ones(float32, {5, 6});
       })},
      {"W8a8OutputShape", kInvalid,
       "cutlass_w8a8_scaled_mm: output_shape must have 6 elements; got [2, 9]",
       with([=](W8a8Arguments& a) { a.output_shape = wrong; })},
  };
}

std::vector<ErrorRow> linear_op_errors() {
  const TensorView w = ones(float8_e4m3fn, {6, 3});
  const TensorView one = ones(float32, {1});
  return {
      {"Fp8LinearOpBatchInvariant", kInvalid,
       "Fp8LinearOp: batch_invariant must come without dynamic per-tensor activations (their "
       "scale is made of all rows); got both",
       [] { Fp8LinearOp(false, GroupShape::PER_TENSOR, {}, false, true); }},
      {"Fp8LinearOpInput", kInvalid,
       "Fp8LinearOp.apply: input must be [..., K] of float32, bfloat16, float16 or a float8 type; "
       "got int8 [4, 6]",
       [=] {
         (void)Fp8LinearOp(false).apply(ones(int8, {4, 6}), w, one);
       }},
      {"Fp8LinearOpQuantisedWithoutScale", kInvalid,
       "Fp8LinearOp.apply: input_scale must be given with input that is fp8 already; got none for "
       "float8_e5m2 [4, 6]",
       [=] {
         (void)Fp8LinearOp(false).apply(ones(float8_e5m2, {4, 6}), w, one);
       }},
      {"Fp8LinearOpDynamicWithScale", kInvalid,
       "Fp8LinearOp.apply: input_scale must be undefined where quantisation is dynamic; got [1]",
       [=] {
         (void)Fp8LinearOp(false).apply(ones(float32, {4, 6}), w, one, undefined, one);
       }},
      {"Fp8LinearOpBound", kInvalid,
       "Fp8LinearOp.apply: input_scale_ub must have one element; got [2]",
       [=] {
         (void)Fp8LinearOp(false).apply(ones(float32, {4, 6}), w, one, undefined, {},
                                        ones(float32, {2}));
       }},
  };
}

}  // namespace

std::vector<ErrorRow> w8a8_errors() {
  std::vector<ErrorRow> rows = helper_errors();
  for (const auto& part : {quantizer_errors(), product_function_errors(), linear_op_errors()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

}  // namespace octavo::test
