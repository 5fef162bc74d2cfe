// SPDX-License-Identifier: Apache-2.0
// What the entries that carry vLLM's names refuse.
#include <cmath>

#include "octavo/w8a8_utils.hpp"
#include "ops/errors.hpp"

namespace octavo::test {
namespace {

using namespace w8a8_utils;  // NOLINT: what is tested
using Widths = std::vector<std::int64_t>;

constexpr Code kInvalid = Code::invalid_argument;

TensorView scales_of(std::initializer_list<float> list) {
  const TensorView scales = ones(float32, {static_cast<std::int64_t>(list.size())});
  std::copy(list.begin(), list.end(), static_cast<float*>(scales.data));
  return scales;
}

std::function<void()> spreading(const TensorView& scales, const Widths& widths) {
  return [=] { (void)convert_to_channelwise(scales, widths); };
}
std::function<void()> requantizing(const TensorView& weight, const TensorView& scales,
                                   const Widths& widths) {
  return [=] { (void)requantize_with_max_scale(weight, scales, widths); };
}

}  // namespace

std::vector<ErrorRow> w8a8_errors() {
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

}  // namespace octavo::test
