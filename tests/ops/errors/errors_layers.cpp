// SPDX-License-Identifier: Apache-2.0
// What layers of checkpoints' tensors refuse.
#include <gtest/gtest.h>

#include "octavo/bnb.hpp"
#include "octavo/layers.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

using w8a8_utils::kUnsetScale;
using Widths = std::vector<std::int64_t>;

std::function<void()> loading(const char* scheme, const LinearTensors& tensors,
                              const W8A8Options& options = {}) {
  return [=] { (void)w8a8_weight(scheme, tensors, options); };
}
std::function<void()> with_widths(const LinearTensors& tensors, const Widths& widths) {
  return [=] { (void)w8a8_weight("fp8-dynamic", tensors, {.logical_widths = widths}); };
}
std::function<void()> multiplying(const TensorView& a, const TensorView& b,
                                  const std::function<void(bnb::MatmulLtState&)>& configure) {
  return [=] {
    bnb::MatmulLtState state;
    configure(state);
    (void)bnb::matmul(a, b, state);
  };
}
template <class Change>
LinearTensors changed(LinearTensors t, const Change& change) {
  change(t);
  return t;
}

}  // namespace

std::vector<ErrorRow> layer_errors() {
  const LinearTensors fp8{ones(float8_e4m3fn, {4, 3}), ones(float32, {1})};
  const LinearTensors integers{ones(int8, {4, 3}), ones(float32, {4})};
  const Weight weight = w8a8_weight("int8-dynamic", integers);
  return {
      {"StateWithoutWeight", kInvalid,
       "MatMul8bitLt: B must be a float weight [N, K], or state must hold the codes of a frozen "
       "one; "
       "got int8 [4, 3]",
       multiplying(ones(float32, {2, 3}), ones(int8, {4, 3}), [](bnb::MatmulLtState&) {})},
      {"StatesFeatures", kInvalid,
       "MatMul8bitLt: A.shape must be [..., K = 3] (B is [N, K]); got [2, 4]",
       multiplying(ones(float32, {2, 4}), ones(float32, {4, 3}), [](bnb::MatmulLtState&) {})},
      {"OriginalOfAFrozenWeight", kInvalid,
       "MatMul8bitLt: state.outlier_weights must be int8 without has_fp16_weights (the original "
       "weight is not kept); got original",
       multiplying(ones(float32, {2, 3}), ones(float32, {4, 3}),
                   [](bnb::MatmulLtState& state) {
                     state.has_fp16_weights = false;
                     state.outlier_weights = bnb::OutlierWeights::original;
                   })},
      {"PoolOfInvariantBatches", kInvalid,
       "MatMul8bitLt: state.use_pool must be false with batch_invariant (pooled columns depend on "
       "earlier calls); got true",
       multiplying(
           ones(float32, {2, 3}), ones(float32, {4, 3}),
           [](bnb::MatmulLtState& state) { state.use_pool = state.batch_invariant = true; })},
      {"UnpackedUnderARule", kInvalid, "with_activation: weight must be packed; got an empty one",
       [] { (void)with_activation({}, {}); }},
      {"RowsOfCodes", kInvalid, "int8_rows: codes must be int8 [N, K]; got float32 [4, 3]",
       [] {
         (void)int8_rows(ones(float32, {4, 3}), ones(float32, {4}));
       }},
      {"LayerScheme", kInvalid,
       "w8a8_weight: scheme must be fp8-dynamic, int8-dynamic or fp8-block; got int4",
       loading("int4", fp8)},
      {"LayerType", kInvalid, "w8a8_weight: weight must be int8 [N, K]; got float8_e4m3fn [4, 3]",
       loading("int8-dynamic", fp8)},
      {"LayerScaleType", kInvalid,
       "w8a8_weight: weight_scale.dtype must be float32, bfloat16, float16 or float8_e8m0fnu; got "
       "int8",
       loading("fp8-dynamic", {fp8.weight, ones(int8, {1})})},
      {"LayerActivation", kInvalid, "w8a8_weight: activation must be token or tensor; got group16",
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

}  // namespace octavo::test
