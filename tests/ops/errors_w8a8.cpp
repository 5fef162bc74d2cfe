// SPDX-License-Identifier: Apache-2.0
// What the entries that carry vLLM's names refuse.
#include <gtest/gtest.h>

#include <cmath>

#include "octavo/layers.hpp"
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

std::function<void()> loading(const char* scheme, const LinearTensors& tensors,
                              const W8A8Options& options = {}) {
  return [=] { (void)w8a8_weight(scheme, tensors, options); };
}
std::function<void()> with_widths(const LinearTensors& tensors, const Widths& widths) {
  return [=] { (void)w8a8_weight("fp8-dynamic", tensors, {.logical_widths = widths}); };
}
template <class Change>
LinearTensors changed(LinearTensors t, const Change& change) {
  change(t);
  return t;
}

std::vector<ErrorRow> layer_errors() {
  const LinearTensors fp8{ones(float8_e4m3fn, {4, 3}), ones(float32, {1})};
  const LinearTensors integers{ones(int8, {4, 3}), ones(float32, {4})};
  const Weight weight = w8a8_weight("int8-dynamic", integers);
  return {
      {"LayerScheme", kInvalid,
       "w8a8_weight: scheme must be fp8-dynamic, int8-dynamic or fp8-block; got int4",
       loading("int4", fp8)},
      {"LayerType", kInvalid, "w8a8_weight: weight must be int8 [N, K]; got float8_e4m3fn [4, 3]",
       loading("int8-dynamic", fp8)},
      {"LayerScaleType", kInvalid,
       "w8a8_weight: weight_scale.dtype must be float32, bfloat16, float16 or float8_e8m0fnu; got "
       "int8",
       loading("fp8-dynamic", {fp8.weight, ones(int8, {1})})},
      {"LayerActivation", kInvalid,
       "w8a8_weight: activation must be per_token() or per_tensor(); got group16",
       loading("fp8-dynamic", fp8, {.activation = group(16)})},
      {"LayerAzp", kInvalid, "w8a8_weight: azp must come with an int8 weight; got float8_e4m3fn",
       loading("fp8-dynamic", fp8, {.azp = true})},
      {"LayerBlock", kInvalid, "w8a8_weight: block must have sizes of at least 1; got 0 x 128",
       loading("fp8-block", fp8, {.block = {0, 128}})},
      {"LayerWidths", kInvalid,
       "w8a8_weight: logical_widths must be at least 0 and add up to N = 4; got a sum of 3",
       with_widths(fp8, {1, 2})},
      {"LayerScaleShape", kInvalid,
       "w8a8_weight: weight_scale.shape must be [1], [2] (shards), [4] or [4, 1] (rows); got [3]",
       with_widths({fp8.weight, ones(float32, {3})}, {2, 2})},
      {"LayerBlockScales", kInvalid,
       "w8a8_weight: weight_scale.shape must be [1, 1] for blocks of 128 x 128; got [1]",
       loading("fp8-block", fp8)},
      {"LayerScaleNotLoaded", kInvalid,
       "w8a8_weight: weight_scale must be loaded, finite and at least 0; got -1 at element 2",
       loading("int8-dynamic", {integers.weight, scales_of({1, 1, -1, 1})})},
      {"LayerZeroPointAlone", kInvalid,
       "w8a8_weight: input_zero_point must come with input_scale; got none",
       loading("int8-dynamic",
               changed(integers, [](auto& t) { t.input_zero_point = ones(int8, {1}); }))},
      {"LayerInputScale", kInvalid,
       "w8a8_weight: input_scale must be a float type of 1 or 1 elements, without blocks; got "
       "float32 [2]",
       loading("fp8-dynamic", changed(fp8, [](auto& t) { t.input_scale = ones(float32, {2}); }))},
      {"LayerZeroPointType", kInvalid,
       "w8a8_weight: input_zero_point must be integers, as many as input_scale, beside an int8 "
       "weight; got int8 [1] beside float8_e4m3fn",
       loading("fp8-dynamic", changed(fp8,
                                      [](auto& t) {
                                        t.input_scale = ones(float32, {1});
                                        t.input_zero_point = ones(int8, {1});
                                      }))},
      {"LayerInputScaleValue", kInvalid,
       "w8a8_weight: input_scale must be finite and above 0; got 0",
       loading("fp8-dynamic", changed(fp8, [](auto& t) { t.input_scale = scales_of({0}); }))},
      {"LayerInputScaleNotLoaded", kInvalid, "w8a8_weight: input_scale must be loaded; got none",
       loading("fp8-dynamic",
               changed(fp8, [](auto& t) { t.input_scale = scales_of({kUnsetScale}); }))},
      {"LayerBlocksRequantized", kInvalid,
       "w8a8_weight: requantize must be false with blocks of the weight; got true",
       loading("fp8-block", fp8, {.requantize = true})},
      {"LayerBias", kInvalid,
       "QuantizedLinear: bias must be float32, bfloat16 or float16 [4]; got float32 [3]",
       [=] { (void)Int8Linear(weight, ones(float32, {3})); }},
      {"LayersWithAndWithoutBias", kInvalid,
       "load_linear: prefixes must all have a bias or all have none; got 1 of 2",
       [] {
         const std::string path = testing::TempDir() + "octavo-layer-errors.safetensors";
         const auto zeros = [](const char* tensor, std::vector<std::int64_t> shape) {
           return TensorToWrite{tensor, "F32", std::move(shape),
                                [] { return std::vector<std::byte>(4); }};
         };
         write_safetensors(
             path, {zeros("q.weight", {1, 1}), zeros("q.bias", {1}), zeros("k.weight", {1, 1})});
         const Checkpoint file = open_checkpoint(path);
         (void)load_linear(file, std::vector<std::string>{"q", "k"});
       }},
      {"LayerOfAnotherScheme", kInvalid,
       "Fp8Linear: weight.scheme must be fp8-dynamic; got int8-dynamic",
       [=] { (void)Fp8Linear(weight); }},
  };
}

}  // namespace

std::vector<ErrorRow> w8a8_errors() {
  const TensorView w = ones(float8_e4m3fn, {4, 3});
  std::vector<ErrorRow> rows{
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
  const std::vector<ErrorRow> layers = layer_errors();
  rows.insert(rows.end(), layers.begin(), layers.end());
  return rows;
}

}  // namespace octavo::test
