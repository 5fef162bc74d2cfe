// SPDX-License-Identifier: Apache-2.0
// What quantisers, packed weights, linear, LLM.int8 and problem lines refuse.
#include <cmath>

#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

std::function<void()> quantizing(const TensorView& x, const QuantizeOptions& options) {
  return [=] { (void)quantize(x, options); };
}
std::function<void()> packing(const TensorView& w, const ActivationQuant& rule) {
  return [=] { (void)pack(w, {.activation = rule}); };
}
ActivationQuant rule_of(const QuantizeSpec& spec) {
  ActivationQuant rule;
  rule.spec = spec;
  return rule;
}
ActivationQuant vectorwise(float threshold) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = threshold;
  return rule;
}

ActivationQuant with_columns(const TensorView& columns) {
  ActivationQuant rule = vectorwise(6);
  rule.outlier_columns = Tensor::adopt(nullptr, columns);
  return rule;
}

}  // namespace

std::vector<ErrorRow> quantize_errors() {
  const TensorView x = ones(float32, {4, 6});
  const auto dequantizing = [](const Quantized& q, DType out = float32) {
    return [=] { (void)dequantize(q, out); };
  };
  const Quantized good = quantize(x);
  Quantized floats = good;
  floats.data = Tensor::adopt(nullptr, x);
  Quantized small = good;
  small.scale = Tensor::adopt(nullptr, ones(float32, {1, 1}));
  Quantized no_grid = good;
  no_grid.grid = {0, 1};
  Quantized azp = good;
  azp.azp = Tensor::adopt(nullptr, ones(int8, {4, 1}));
  Quantized beyond = good;
  beyond.row0 = 1;
  const TensorView nan = ones(float32, {1, 2});
  static_cast<float*>(nan.data)[1] = std::nanf("");
  return {
      {"NoType", kInvalid, "quantize: dtype must be an enumerator, less than 16; got 77",
       quantizing(x, {.dtype = kNoType})},
      {"NoGranularity", kInvalid,
       "quantize: granularity.kind must be an enumerator, less than 8; got 99",
       quantizing(x, {.granularity = {Granularity::Kind{99}, 1, 1}})},
      {"NoScaleType", kInvalid, "quantize: scale_dtype must be an enumerator, less than 16; got 77",
       quantizing(x, {.scale_dtype = kNoType})},
      {"NoRounding", kInvalid, "quantize: rounding must be an enumerator, less than 3; got 9",
       quantizing(x, {.rounding = ScaleRounding{9}})},
      {"NoRuleForNonFinite", kInvalid,
       "quantize: non_finite must be an enumerator, less than 3; got 9",
       quantizing(x, {.non_finite = NonFinite{9}})},
      {"NoOverflow", kInvalid, "quantize: overflow must be an enumerator, less than 2; got 9",
       quantizing(x, {.overflow = Overflow{9}})},
      {"DequantizeToNoType", kInvalid,
       "dequantize: out_dtype must be an enumerator, less than 16; got 77",
       dequantizing(quantize(x), kNoType)},
      {"ErrorsOfNoMemory", kInvalid,
       "code_errors: values.data must not be null; got null for shape [4, 6]",
       [=] {
         (void)code_errors(TensorView(nullptr, float32, {4, 6}), quantize(x));
       }},
      {"QuantizeUndefined", kInvalid, "quantize: x must be a tensor; got an undefined one",
       quantizing({}, {})},
      {"CodeErrorsShape", kInvalid,
       "code_errors: quantized must be codes of the values, row by row, with float32 scales; got "
       "int8 [4, 6] of float32 [3, 6]",
       [=] { (void)code_errors(x.slice(0, 0, 3), quantize(x)); }},
      {"QuantizeRank", kInvalid, "quantize: x.shape must be 2-D; got [4]",
       quantizing(ones(float32, {4}), {})},
      {"QuantizeInputType", kInvalid,
       "quantize: x.dtype must be float32, bfloat16 or float16; got int8",
       quantizing(ones(int8, {4, 6}), {})},
      {"QuantizeType", kInvalid,
       "quantize: dtype must be a float8 type, int8 or uint8; got float16",
       quantizing(x, {.dtype = float16})},
      {"WidenWithoutAzp", kInvalid, "quantize: widen must come with azp; got widen without",
       quantizing(x, {.widen = true})},
      {"AzpWithFloat8", kInvalid, "quantize: azp must come with int8 or uint8; got float8_e4m3fn",
       quantizing(x, {.dtype = float8_e4m3fn, .azp = true})},
      {"Uint8WithoutAzp", kInvalid,
       "quantize: dtype uint8 must come with azp (its codes are not symmetric); got none",
       quantizing(x, {.dtype = uint8})},
      {"ScaleUpperBound", kInvalid, "quantize: scale_ub must be positive; got -1",
       quantizing(x, {.scale_ub = -1.0F})},
      {"MinScale", kInvalid, "quantize: min_scale must be at least 0; got nan",
       quantizing(x, {.min_scale = std::nanf("")})},
      {"AimBeyondTheType", kInvalid, "quantize: qmax must be in [0, 127]; got 128",
       quantizing(x, {.qmax = 128.0F})},
      {"AimWithAzp", kInvalid, "quantize: qmax must come without azp and mx_floor; got 100",
       quantizing(x, {.azp = true, .qmax = 100.0F})},
      {"MxWithIntegers", kInvalid,
       "quantize: rounding mx_floor must come with a float8 type; got int8",
       quantizing(x, {.rounding = ScaleRounding::mx_floor})},
      {"PowersWithAzp", kInvalid, "quantize: rounding must be none with azp; got a power of two",
       quantizing(x, {.azp = true, .rounding = ScaleRounding::power_of_two})},
      {"ScaleTypeOfAQuantiser", kInvalid,
       "quantize: scale_dtype must be float32, or float8_e8m0fnu with power-of-two scales "
       "(rounding); got float8_e8m0fnu",
       quantizing(x, {.scale_dtype = float8_e8m0fnu})},
      {"UndeclaredGranularity", kInvalid, "quantize: granularity must be declared; got automatic",
       quantizing(x, {.granularity = {}})},
      {"EmptyGroups", kInvalid, "quantize: granularity must have sizes of at least 1; got block4x0",
       quantizing(x, {.granularity = block(4, 0)})},
      {"TokenOfB", kInvalid,
       "quantize: granularity must be channel for one scale per column (token needs "
       "side a); got token",
       quantizing(x, {.side = Side::b})},
      {"AzpInAlone", kInvalid,
       "quantize: azp_in must come with azp and a static scale; got "
       "less",
       quantizing(x, {.azp = true, .azp_in = ones(int32, {1})})},
      {"AzpInShape", kInvalid,
       "quantize: azp_in must be int32 with one element per scale [1, 1]; got int32 [3]",
       quantizing(x, {.azp = true, .scale = 0.5, .azp_in = ones(int32, {3})})},
      {"StaticScaleShape", kInvalid,
       "quantize: scale.shape must be [4, 1] for granularity token; got [6]",
       quantizing(x, {.scale = ones(float32, {6})})},
      {"NonFinite", kInvalid, "quantize: x[0, 1] must be finite; got nan",
       quantizing(nan, {.non_finite = NonFinite::error})},
      {"IntoStaticScale", kInvalid,
       "quantize: scale must be undefined where scales are written; got one",
       [=] { quantize_into(x, {.scale = 0.5}, good); }},
      {"IntoData", kInvalid, "quantize: out.data must be int8 [4, 6]; got float32 [4, 6]",
       [=] {
         quantize_into(x, {}, {floats.data, good.scale, good.grid, {}});
       }},
      {"IntoScale", kInvalid, "quantize: out.scale must be float32 [1, 1]; got float32 [4, 1]",
       [=] { quantize_into(x, {.granularity = per_tensor()}, good); }},
      {"IntoNothing", kInvalid, "quantize: out.data must not be null; got null for shape [4, 6]",
       [=] {
         const Tensor nowhere = Tensor::adopt(nullptr, {nullptr, int8, {4, 6}});
         quantize_into(x, {}, {nowhere, good.scale, good.grid, {}});
       }},
      {"IntoAzp", kInvalid, "quantize: out.azp must be int32 [4, 1]; got undefined []",
       [=] { quantize_into(x, {.azp = true}, good); }},
      {"IntoGrid", kInvalid, "quantize: out.grid must be 1 x 9223372036854775807; got 1 x 6",
       [=] {
         quantize_into(x, {}, {good.data, good.scale, {1, 6}, {}});
       }},
      {"IntoOrigin", kInvalid,
       "quantize: out.row0 and out.col0 must be 0, since scales are those of the whole; got 0 and "
       "2",
       [=] {
         quantize_into(x, {}, {good.data, good.scale, good.grid, {}, 0, 2});
       }},
      {"DequantizeOrigin", kInvalid,
       "dequantize: q.row0 and q.col0 must lie in the first cell of 1 x 9223372036854775807; got 1 "
       "and 0",
       dequantizing(beyond)},
      {"DequantizeFloats", kInvalid,
       "dequantize: q.data must be 2-D codes of a float8 type, int8 or uint8; got float32 [4, 6]",
       dequantizing(floats)},
      {"DequantizeToIntegers", kInvalid,
       "dequantize: out_dtype must be float32, bfloat16 or float16; got int8",
       dequantizing(good, int8)},
      {"DequantizeGrid", kInvalid, "dequantize: q.grid must have sizes of at least 1; got 0 x 1",
       dequantizing(no_grid)},
      {"DequantizeScale", kInvalid,
       "dequantize: q.scale must be a float type [4, 1] for the grid; got float32 [1, 1]",
       dequantizing(small)},
      {"DequantizeAzp", kInvalid,
       "dequantize: q.azp must be int32 [4, 1] beside integer codes; got int8 [4, 1] beside int8",
       dequantizing(azp)},
  };
}

ActivationQuant static_rule(float scale, const Granularity& granularity, std::int32_t azp = 0) {
  ActivationQuant rule;
  rule.spec.granularity = granularity;
  rule.static_scale = scale;
  rule.static_azp = azp;
  return rule;
}
ActivationQuant rotating(std::int32_t block) {
  ActivationQuant rule;
  rule.rotation = block;
  return rule;
}
std::function<void()> batch_invariant(const PackedWeight& weight) {
  return [=] {
    (void)linear(ones(float32, {2, 3}), weight, {.matmul = {.batch_invariant = true}});
  };
}

std::vector<ErrorRow> weight_errors() {
  const TensorView w = ones(int8, {3, 4});
  const TensorView x = ones(float32, {2, 3});
  const PackedWeight packed = pack(w);
  const PackedWeight llm_int8 = pack(w, {.activation = vectorwise(6)});
  static const std::int64_t three = 3;
  const TensorView column_three(&three, int64, {1});
  const auto with_rule = [=](const auto& change) {
    return [=] {
      ActivationQuant rule;
      change(rule);
      Operand a(x);
      a.quantize = &rule;
      (void)scaled_mm(a, w);
    };
  };
  QuantizeSpec grouped_azp;
  grouped_azp.azp = true;
  grouped_azp.granularity = group(2);
  QuantizeSpec undeclared;
  undeclared.granularity = {};
  QuantizeSpec checked;
  checked.non_finite = NonFinite::error;
  Operand two_levels(w);
  two_levels.scale[0] = {ScaleKind::tensor, 1.0F, ones(float32, {1, 4}), kWholeExtent, 1};
  two_levels.scale[1] = {ScaleKind::number, 2.0F, {}};
  return {
      {"PackAPackedWeight", kInvalid, "pack: weight must be a tensor; got a packed weight",
       [=] { (void)pack(packed); }},
      {"PackRank", kInvalid, "pack: weight.shape must be 2-D [K, N]; got [3]",
       [=] { (void)pack(ones(int8, {3})); }},
      {"PackType", kInvalid,
       "pack: weight.dtype must be int8, a float8 type, float32, bfloat16 or float16; got uint8",
       [=] {
         (void)pack(ones(uint8, {3, 4}));
       }},
      {"PackRuleUndeclared", kInvalid,
       "pack: activation.granularity must be declared; got automatic",
       packing(w, rule_of(undeclared))},
      {"PackRuleThreshold", kInvalid,
       "pack: activation.outlier_threshold must be at least 0; got -1", packing(w, vectorwise(-1))},
      {"PackRuleThresholdAlone", kInvalid,
       "pack: activation.outlier_threshold must come with vectorwise (LLM.int8); got 6 without",
       [=] {
         ActivationQuant rule;
         rule.outlier_threshold = 6.0F;
         (void)pack(w, {.activation = rule});
       }},
      {"PackRuleStaticScale", kInvalid,
       "pack: activation.static_scale must be finite and not below 0 (0: computed from the "
       "activations); got -1",
       packing(w, static_rule(-1.0F, per_tensor()))},
      {"PackRuleStaticTokens", kInvalid,
       "pack: activation.granularity must be tensor with static_scale; got token",
       packing(w, static_rule(1.0F, per_token()))},
      {"PackRuleStaticZeroPoint", kInvalid,
       "pack: activation.static_azp must come with static_scale and azp; got 3",
       packing(w, static_rule(1.0F, per_tensor(), 3))},
      {"PackRuleStaticPowers", kInvalid,
       "pack: activation.scale_dtype must be float32 with static_scale; got float8_e8m0fnu",
       [=] {
         ActivationQuant rule = static_rule(1.0F, per_tensor());
         rule.spec.dtype = float8_e4m3fn;
         rule.spec.rounding = ScaleRounding::power_of_two;
         rule.spec.scale_dtype = float8_e8m0fnu;
         (void)pack(w, {.activation = rule});
       }},
      {"PackRuleRotation", kInvalid, "pack: activation.rotation must be 16, 64 or 256; got 32",
       packing(w, rotating(32))},
      {"PackRuleRotationK", kInvalid, "pack: activation.rotation must divide K = 3; got 16",
       packing(w, rotating(16))},
      {"PackRuleRotationLlmInt8", Code::unsupported,
       "pack: activation.rotation must be 0 with vectorwise (LLM.int8's outlier columns are those "
       "of x); got 16",
       [=] {
         ActivationQuant rule = vectorwise(0);
         rule.rotation = 16;
         (void)pack(w, {.activation = rule});
       }},
      {"QuantizeWeightRotation", Code::unsupported,
       "quantize_weight: rotation must be 0 for llm-int8 and where activations stay as they are; "
       "got 16 for int8-weight-only",
       [] {
         (void)quantize_weight(ones(float32, {2, 32}), Scheme::int8_weight_only, 16);
       }},
      {"RotateType", kInvalid, "rotate: x.dtype must be float32, bfloat16 or float16; got int8",
       [=] { (void)rotate(w); }},
      {"RotateRank", kInvalid, "rotate: x.shape must be [..., C]; got []",
       [] { (void)rotate(ones(float32, {})); }},
      {"RotateBlock", kInvalid, "rotate: block must be 16, 64 or 256; got 0",
       [=] { (void)rotate(x, {.block = 0}); }},
      {"RotateColumns", kInvalid, "rotate: block must divide x.shape[-1] = 3; got 64",
       [=] { (void)rotate(x); }},
      {"RotateOutType", kInvalid,
       "rotate: out_dtype must be bfloat16, float16 or float32; got int8",
       [] {
         (void)rotate(ones(float32, {2, 16}), {.block = 16, .out_dtype = int8});
       }},
      {"RotateOutIsX", kInvalid, "rotate: out must not overlap x; got shared memory",
       [] {
         const TensorView row = ones(float32, {2, 16});
         (void)rotate(row, {.block = 16, .out = row});
       }},
      {"LinearBatchInvariantTensor", kInvalid,
       "linear: options.batch_invariant must be false where rows of the batch share a computed "
       "scale (quantise per token, in groups of K, or by a static scale); got true",
       batch_invariant(pack(w, {.activation = static_rule(0.0F, per_tensor())}))},
      {"PackRuleWholeColumnsAlone", kInvalid,
       "pack: activation.whole_columns must come with vectorwise (LLM.int8); got true without",
       [=] {
         ActivationQuant rule;
         rule.whole_columns = true;
         (void)pack(w, {.activation = rule});
       }},
      {"PackRuleColumnsAlone", kInvalid,
       "pack: activation.outlier_columns must come with vectorwise (LLM.int8); got [1] without",
       [=] {
         ActivationQuant rule;
         rule.outlier_columns = Tensor::adopt(nullptr, ones(int64, {1}));
         (void)pack(w, {.activation = rule});
       }},
      {"PackRuleColumnsType", kInvalid,
       "pack: activation.outlier_columns must be int64 1-D; got int32 [1]",
       packing(w, with_columns(ones(int32, {1})))},
      {"PackRuleColumnsRange", kInvalid,
       "pack: activation.outlier_columns[0] must be in (-1, 3) (ascending columns of x); got 3",
       packing(w, with_columns(column_three))},
      {"PrologueColumnsAscend", kInvalid,
       "scaled_mm: a.quantize.outlier_columns[1] must be in (1, 3) (ascending columns of a); got 1",
       with_rule([=](ActivationQuant& rule) { rule = with_columns(ones(int64, {2})); })},
      {"PrologueFoundColumns", kInvalid,
       "scaled_mm: a.quantize.found_columns must be int64 [3] in a row; got int64 [2]",
       with_rule([=](ActivationQuant& rule) {
         rule = vectorwise(6);
         rule.found_columns = ones(int64, {2});
       })},
      {"PrologueFoundColumnsAlone", kInvalid,
       "scaled_mm: a.quantize.found_columns must come with vectorwise (LLM.int8); got [3] without",
       with_rule([=](ActivationQuant& rule) { rule.found_columns = ones(int64, {3}); })},
      {"LinearColumnsAlone", kInvalid,
       "linear: outlier_columns must come with LLM.int8's rule "
       "(activation.vectorwise); got [1] without",
       [=] { (void)linear(x, packed, {.outlier_columns = ones(int64, {1})}); }},
      {"LinearColumnsRange", kInvalid,
       "linear: outlier_columns[1] must be in (1, 3) (ascending columns of x); got 1",
       [=] { (void)linear(x, llm_int8, {.outlier_columns = ones(int64, {2})}); }},
      {"LinearOriginalAlone", kInvalid,
       "linear: outlier_weight must come with LLM.int8's rule "
       "(activation.vectorwise); got [3, 4] without",
       [=] {
         (void)linear(x, packed, {.outlier_weight = ones(float32, {3, 4})});
       }},
      {"LinearOriginalType", kInvalid,
       "linear: outlier_weight.dtype must be float32, bfloat16 or float16; got int8",
       [=] { (void)linear(x, llm_int8, {.outlier_weight = w}); }},
      {"LinearOriginalShape", kInvalid,
       "linear: outlier_weight.shape must be [K = 3, N = 4]; got [4, 3]",
       [=] {
         (void)linear(x, llm_int8, {.outlier_weight = ones(float32, {4, 3})});
       }},
      {"PackRuleAzpOfGroups", Code::unsupported,
       "pack: activation.granularity must be token or tensor with azp in a product; "
       "got group2",
       packing(w, rule_of(grouped_azp))},
      {"UnpackNothing", kInvalid, "unpack: weight must be packed; got an empty one",
       [=] { (void)unpack(PackedWeight()); }},
      {"UnpackTwoLevels", Code::unsupported,
       "unpack: weight.scale must have one level (a Quantized holds no second); got two",
       [=] { (void)unpack(pack(two_levels)); }},
      {"ToDeviceNothing", kInvalid, "to_device: weight must be packed; got an empty one",
       [] { (void)to_device(PackedWeight(), Device{}); }},
      {"ToOtherDevice", Code::unavailable, "to_device: device " + device_refusal(kNoCuda),
       [=] { (void)to_device(packed, kNoCuda); }},
      {"EmptyPackedWeight", kInvalid,
       "scaled_mm: b must be a packed weight [K, N] without trans_b; got an empty one",
       [=] {
         (void)scaled_mm(ones(int8, {2, 3}), PackedWeight());
       }},
      {"TransposedPackedWeight", kInvalid,
       "scaled_mm: b must be a packed weight [K, N] without trans_b; got trans_b",
       [=] {
         (void)scaled_mm(ones(int8, {2, 3}), packed, {.trans_b = true});
       }},
      {"LinearWithoutAWeight", kInvalid, "linear: weight must be packed; got an empty one",
       [=] { (void)linear(x, PackedWeight()); }},
      {"LinearInner", kInvalid, "linear: x.shape must be [..., K = 3]; got [2, 5]",
       [=] {
         (void)linear(ones(float32, {2, 5}), packed);
       }},
      {"LinearType", kInvalid, "linear: x.dtype must be float32, bfloat16 or float16; got int8",
       [=] { (void)linear(w, packed); }},
      {"LinearNonFinite", kInvalid, "linear: x[0, 0] must be finite; got inf",
       [=] {
         const TensorView infinite = ones(float32, {1, 3});
         static_cast<float*>(infinite.data)[0] = INFINITY;
         (void)linear(infinite, pack(w, {.activation = rule_of(checked)}));
       }},
      {"PrologueCodes", kInvalid,
       "scaled_mm: a.quantize.codes must be int8 [2, 3]; got float32 [2, 3]",
       with_rule([=](ActivationQuant& rule) { rule.codes = x; })},
      {"PrologueOfIntegers", kInvalid,
       "scaled_mm: a.dtype must be float32, bfloat16 or float16; got int8",
       [=] {
         const ActivationQuant rule;
         Operand a(ones(int8, {2, 3}));
         a.quantize = &rule;
         (void)scaled_mm(a, w);
       }},
      {"LlmInt8WithGroups", Code::unsupported,
       "scaled_mm: scale_b.granularity must be channel or tensor for LLM.int8; got one "
       "that varies along K",
       [=] {
         const ActivationQuant rule = vectorwise(6);
         Operand a(x);
         a.quantize = &rule;
         (void)scaled_mm(a, w, {.scale_b = {ones(float32, {2, 4}), group(2)}});
       }},
      {"PrologueWithAScale", kInvalid,
       "scaled_mm: scale_a must be undefined when a is quantised on the fly (codes bring their "
       "own); got a value",
       [=] {
         const ActivationQuant rule;
         Operand a(x);
         a.quantize = &rule;
         (void)scaled_mm(a, w, {.scale_a = 2.0});
       }},
  };
}

std::vector<ErrorRow> llm_int8_errors() {
  const TensorView x = ones(float32, {2, 3});
  const TensorView codes = ones(int8, {2, 3});
  const TensorView w = ones(int8, {4, 3});
  const TensorView rows = ones(float32, {2});
  const TensorView cols = ones(float32, {4});
  const TensorView descending = ones(int64, {2});
  const TensorView scalar(x.data, float32, {});
  const auto mixed = [=](const MixedScaledMmOptions& o) {
    return [=] { (void)int8_mixed_scaled_mm(x, codes, w, rows, cols, o); };
  };
  return {
      {"VectorwiseScalar", kInvalid,
       "int8_vectorwise_quant: a.shape must have at least one dimension; got []",
       [=] { (void)int8_vectorwise_quant(scalar); }},
      {"VectorwiseErrors", kInvalid,
       "int8_vectorwise_quant: a must be a matrix in the host's memory, row by row, for its "
       "errors; "
       "got float32 [2, 3, 4]",
       [] {
         CodeErrors errors;
         (void)int8_vectorwise_quant(ones(float32, {2, 3, 4}), errors);
       }},
      {"VectorwiseThreshold", kInvalid, "int8_double_quant: threshold must be at least 0; got -2",
       [=] { (void)int8_double_quant(x, {.threshold = -2}); }},
      {"VectorwiseColumns", kInvalid,
       "int8_vectorwise_quant: outlier_columns[1] must be in (1, 3) (ascending columns of a); got "
       "1",
       [=] { (void)int8_vectorwise_quant(x, {.outlier_columns = descending}); }},
      {"LinearMatmulCodes", kInvalid,
       "int8_linear_matmul: a must be int8 [..., K]; got float32 [2, 3]",
       [=] { (void)int8_linear_matmul(x, w); }},
      {"LinearMatmulInner", kInvalid,
       "int8_linear_matmul: w.shape must be [N, K = 3] (a ends in K); got [3, 4]",
       [=] { (void)int8_linear_matmul(codes, w.transposed()); }},
      {"Statistics", kInvalid,
       "int8_scaled_mm: row_absmax must be float32 with 2 elements in a row; got float32 [4]",
       [=] { (void)int8_scaled_mm(codes, w, cols, cols); }},
      {"OutlierColumnsType", kInvalid,
       "int8_mixed_scaled_mm: outlier_cols must be int64 1-D; got int32 [1]",
       mixed({.outlier_cols = ones(int32, {1})})},
      {"OutlierColumnsAscend", kInvalid,
       "int8_mixed_scaled_mm: outlier_cols[1] must be in (1, 3) (ascending columns of a); got 1",
       mixed({.outlier_cols = descending})},
      {"OriginalActivations", kInvalid,
       "int8_mixed_scaled_mm: a.shape must be that of codes, [2, 3]; got [3]",
       [=] {
         (void)int8_mixed_scaled_mm(ones(float32, {3}), codes, w, rows, cols,
                                    {.outlier_cols = ones(int64, {1})});
       }},
      {"OriginalWeight", kInvalid,
       "int8_mixed_scaled_mm: original_weight must be float32, bfloat16 or float16 of w's shape "
       "[4, 3]; got int8 [4, 3]",
       mixed({.outlier_cols = ones(int64, {1}), .original_weight = w})},
      {"MixedOutOverlapsOriginals", kInvalid,
       "int8_mixed_scaled_mm: out must not overlap codes (out may be exactly C); got shared memory",
       [=] {
         const TensorView both = ones(float32, {2, 4});
         const TensorView a(both.data, float32, {2, 3});
         (void)int8_mixed_scaled_mm(a, codes, w, rows, cols,
                                    {.outlier_cols = ones(int64, {1}), .out = both});
       }},
      {"DequantAccumulator", kInvalid,
       "int8_mm_dequant: acc must be int32 [..., N] and out_dtype a float type; got int8 [2, 3] "
       "and float16",
       [=] { (void)int8_mm_dequant(codes, rows, cols); }},
  };
}

std::vector<ErrorRow> line_errors() {
  const auto row = [](const char* name, const char* sentence, const char* line) {
    return ErrorRow{name, kInvalid, std::string("problem line: ") + sentence,
                    [=] { (void)parse_problem_line(line); }};
  };
  const std::string known =
      "words must be among scale, scale_dtype, bias, azp, alpha, beta, scale_result, groups, "
      "split, batch, prepacked, quantize, static, rotation, threshold, outliers, outlier_columns, "
      "subnormals, "
      "k_chunks, layout, seed; got 'scales=a:b'";
  return {
      row("LineTooShort",
          "words must be an operation, A:B:out types, options and MxNxK; got 2 words",
          "scaled_mm int8:int8:fp32"),
      row("LineOperation",
          "operation must be scaled_mm, grouped_mm or scaled_grouped_mm; got 'matmul'",
          "matmul int8:int8:fp32 1x1x1"),
      row("LineTypes", "int8 must be A:B:out, such as int8:int8:bf16; got 'int8'",
          "scaled_mm int8 1x1x1"),
      row("LineTypeNames", "types must be known names such as int8, e4m3fn or bf16; got 'int9'",
          "scaled_mm int8:int9:fp32 1x1x1"),
      row("LineShape", "the shape must be the last word and MxNxK, such as 16x4096x4096; got '1x2'",
          "scaled_mm int8:int8:fp32 1x2"),
      row("LineNegativeShape",
          "the shape must be the last word and MxNxK, such as 16x4096x4096; got '1x2x-3'",
          "scaled_mm int8:int8:fp32 1x2x-3"),
      row("LineUnknownWord", known.c_str(), "scaled_mm int8:int8:fp32 scales=a:b 1x1x1"),
      row("LineWordTwice",
          "words must stand once, and batch without groups and split; got 'bias' and 'bias=bf16'",
          "scaled_mm int8:int8:fp32 bias bias=bf16 1x1x1"),
      row("LineScale",
          "scale must be scale=A:B with none, tensor, token, channel, group<g>, block<r>x<c>, "
          "per_k, element or mx; got 'scale=token:group0'",
          "scaled_mm int8:int8:fp32 scale=token:group0 1x1x1"),
      row("LineScaleType",
          "scale_dtype must be fp32, bf16, fp16 or e8m0fnu; got 'scale_dtype=int8'",
          "scaled_mm int8:int8:fp32 scale_dtype=int8 1x1x1"),
      row("LineBias", "bias must be bias or bias=fp32|bf16|fp16; got 'bias=int8'",
          "scaled_mm int8:int8:fp32 bias=int8 1x1x1"),
      row("LineAzp", "azp must be azp (one per token) or azp=tensor; got 'azp=row'",
          "scaled_mm int8:int8:fp32 azp=row 1x1x1"),
      row("LineAlpha", "alpha must be a number; got 'alpha=x'",
          "scaled_mm int8:int8:fp32 alpha=x 1x1x1"),
      row("LineBeta", "beta must be a number; got 'beta='", "scaled_mm int8:int8:fp32 beta= 1x1x1"),
      row("LineScaleResult", "scale_result must be a number or vector; got 'scale_result=1,5'",
          "scaled_mm int8:int8:fp32 scale_result=1,5 1x1x1"),
      row("LineGroups", "groups must be sizes joined by +, such as groups=32+0+96; got 'groups=1+'",
          "grouped_mm int8:int8:fp32 groups=1+ 1x1x1"),
      row("LineSplit", "split must be rows, columns, inner, batch or list; got 'split=k'",
          "grouped_mm int8:int8:fp32 split=k 1x1x1"),
      row("LineBatch", "batch must be a number of matrices; got 'batch=-1'",
          "grouped_mm int8:int8:fp32 batch=-1 1x1x1"),
      row("LinePrepacked", "prepacked must stand alone; got 'prepacked=1'",
          "scaled_mm int8:int8:fp32 prepacked=1 1x1x1"),
      row("LineQuantise",
          "quantize must be int8, uint8 (with azp) or a float8 type; got 'quantize=bf16'",
          "scaled_mm fp32:int8:fp32 quantize=bf16 1x1x1"),
      row("LineThreshold", "threshold must be a number of at least 0; got 'threshold=-1'",
          "scaled_mm fp32:int8:fp32 threshold=-1 1x1x1"),
      row("LineOutliers", "outliers must be columns, whole or elements; got 'outliers=rows'",
          "scaled_mm fp32:int8:fp32 quantize=int8 threshold=6 outliers=rows 1x1x1"),
      row("LineOutliersAlone",
          "outliers must come with threshold or outlier_columns; got outliers=whole",
          "scaled_mm fp32:int8:fp32 quantize=int8 outliers=whole 1x1x1"),
      row("LineOutlierColumns",
          "outlier_columns must be columns joined by +, such as outlier_columns=3+17; got "
          "'outlier_columns=3+'",
          "scaled_mm fp32:int8:fp32 quantize=int8 outlier_columns=3+ 1x1x1"),
      row("LineOutlierColumnsAlone",
          "outlier_columns must come with quantize=int8; got outlier_columns=3",
          "scaled_mm fp32:int8:fp32 outlier_columns=3 1x1x9"),
      row("LineStaticAlone", "static must come with quantize; got static=0.5",
          "scaled_mm int8:int8:fp32 static=0.5 1x2x3"),
      row("LineRotationAlone", "rotation must come with quantize; got rotation=64",
          "scaled_mm int8:int8:fp32 rotation=64 1x2x64"),
      row("LineRotationBlock", "rotation must be a block of 16, 64 or 256; got 'rotation=32'",
          "scaled_mm fp32:int8:fp32 quantize=int8 rotation=32 1x2x64"),
      row("LineThresholdAlone", "threshold must come with quantize=int8; got threshold=6",
          "scaled_mm fp32:int8:fp32 threshold=6 1x1x1"),
      row("LineChunks", "k_chunks must be a whole number of at least 2; got 'k_chunks=1'",
          "scaled_mm int8:int8:fp32 k_chunks=1 1x1x1"),
      row("LineLayout",
          "layout must be natural, row, strided, reversed or broadcast; got 'layout=col'",
          "scaled_mm int8:int8:fp32 layout=col 1x1x1"),
      row("LineSeed", "seed must be a whole number; got 'seed=1.5'",
          "scaled_mm int8:int8:fp32 seed=1.5 1x1x1"),
      row("LineGroupsOfAProduct",
          "groups must come with grouped_mm or scaled_grouped_mm; got scaled_mm",
          "scaled_mm int8:int8:fp32 groups=1 1x1x1"),
      row("LineGroupTotal", "groups must add up to at most 3 (what they cut); got 4",
          "grouped_mm int8:int8:fp32 groups=2+2 3x1x1"),
      row("LinePlacelessWord", "prepacked must come with scaled_mm or split=list; got split=rows",
          "grouped_mm int8:int8:fp32 prepacked groups=1 1x1x1"),
  };
}

}  // namespace octavo::test
