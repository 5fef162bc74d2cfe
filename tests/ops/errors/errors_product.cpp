// SPDX-License-Identifier: Apache-2.0
// What scaled_mm, tensors, outputs, backends and contexts refuse.
#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

void mm(const Operand& a, const Operand& b, const ScaledMmOptions& options = {}) {
  (void)scaled_mm(a, b, options);
}

// One more than the driver counts to, where there is one.
TensorView on_cuda(TensorView v) {
  v.device = kNoCuda;
  return v;
}
TensorView with_rank(TensorView v, int rank) {
  v.rank = rank;
  return v;
}
TensorView without_memory(TensorView v) {
  v.data = nullptr;
  return v;
}
TensorView negative(TensorView v) {
  v.shape[0] = -1;
  return v;
}

std::string names_of_backends() {
  std::string names;
  for (const BackendInfo& backend : backends()) names += (names.empty() ? "" : ", ") + backend.name;
  return names;
}

}  // namespace

std::vector<ErrorRow> product_errors() {
  const TensorView a = ones(int8, {2, 3});
  const TensorView b = ones(int8, {3, 4});
  const TensorView x = ones(float32, {2, 3});
  const TensorView w = ones(float32, {3, 4});
  const TensorView buffer = ones(float32, {8, 8});
  return {
      {"UndefinedOperand", kInvalid, "scaled_mm: a must be a tensor; got an undefined one",
       [=] { mm(TensorView(), b); }},
      {"NegativeChunks", kInvalid, "scaled_mm: k_chunks must be in [0, 1048576]; got -1",
       [=] { mm(a, b, {.matmul = {.k_chunks = -1}}); }},
      {"RankBeyondLimit", kInvalid, "scaled_mm: b.rank must be in [0, 8]; got 9",
       [=] { mm(a, with_rank(b, 9)); }},
      {"NegativeExtent", kInvalid, "scaled_mm: a.shape must not be negative; got [-1, 3]",
       [=] { mm(negative(a), b); }},
      {"OtherDevice", Code::unavailable, "scaled_mm: a.device " + device_refusal(kNoCuda),
       [=] { mm(on_cuda(a), b); }},
      {"EmptyTensorOfManyRows", kInvalid,
       "Tensor::empty: shape must count less than 2^63 bytes; got more",
       [] {
         (void)Tensor::empty(int8, {0, std::int64_t{1} << 62});
       }},
      {"TensorOnOtherDevice", Code::unavailable, "Tensor::empty: device " + device_refusal(kNoCuda),
       [] { (void)Tensor::empty(int8, {2}, Place{kNoCuda}); }},
      {"CopyOfNoMemory", kInvalid, "copy: source.data must not be null; got null for shape [3, 4]",
       [=] { (void)copy(without_memory(b), float32); }},
      {"CopyFromBeyondAddresses", kInvalid,
       "copy: source.strides must keep elements less than 2^63 bytes apart; got "
       "[3, 4611686018427387904] for shape [2, 3]",
       [=] {
         TensorView far = a;
         far.strides[1] = std::int64_t{1} << 62;
         (void)copy(far, int8);
       }},
      {"CopyToNoType", kInvalid, "copy: dtype must be an enumerator, less than 16; got 77",
       [=] { (void)copy(a, kNoType); }},
      {"TensorOfNoType", kInvalid,
       "Tensor::empty: dtype must be an enumerator, less than 16; got 77",
       [] { (void)Tensor::empty(kNoType, {2}); }},
      {"TensorOfNegativeExtent", kInvalid, "Tensor::empty: shape must not be negative; got [2, -4]",
       [] {
         (void)Tensor::empty(int8, {2, -4});
       }},
      {"OperandOfNoType", kInvalid,
       "scaled_mm: a.dtype must be an enumerator, less than 16; got 77",
       [=] {
         TensorView view = a;
         view.dtype = kNoType;
         mm(view, b);
       }},
      {"OutputOfNoType", kInvalid,
       "scaled_mm: out_dtype must be an enumerator, less than 16; got 77",
       [=] { mm(a, b, {.out_dtype = kNoType}); }},
      {"ScaleOfNoGranularity", kInvalid,
       "scaled_mm: scale_a.granularity.kind must be an enumerator, less than 8; got 99",
       [=] {
         mm(a, b, {.scale_a = {ones(float32, {2, 1}), Granularity{Granularity::Kind{99}, 1, 1}}});
       }},
      {"CopyToOtherDevice", Code::unavailable, "copy: device " + device_refusal(kNoCuda),
       [=] { (void)copy(a, Place{kNoCuda}); }},
      {"FusedQuantiserOfB", Code::unsupported,
       "scaled_mm: b must be quantised before the product (on the fly a alone is); got a fused "
       "quantiser",
       [=] {
         const ActivationQuant rule;
         Operand right(w);
         right.quantize = &rule;
         mm(x, right);
       }},
      {"NullMemory", kInvalid, "scaled_mm: b.data must not be null; got null for shape [3, 4]",
       [=] { mm(a, without_memory(b)); }},
      {"StridesBeyondAddresses", kInvalid,
       "scaled_mm: a.strides must keep elements less than 2^63 bytes apart; got "
       "[3, 4611686018427387904] for shape [2, 3]",
       [=] {
         TensorView far = a;
         far.strides[1] = std::int64_t{1} << 62;
         mm(far, b);
       }},
      {"ContextDevice", Code::unavailable, "scaled_mm: context.device " + device_refusal(kNoCuda),
       [=] { (void)scaled_mm(a, b, {}, {.device = kNoCuda}); }},
      {"DeviceOfAProblemMadeByHand", Code::unavailable,
       "scaled_mm: operands.device " + device_refusal(kNoCuda),
       [=] {
         const Tensor out = scaled_mm(a, b);
         MatmulProblem problem = scaled_mm_problem(a, b, {.out = out});
         problem.single.a.data = on_cuda(a);
         run(problem);
       }},
      {"ProblemWithoutOut", kInvalid,
       "scaled_mm: out must be given to run a problem (options.out, or set_output); got none",
       [=] { run(scaled_mm_problem(a, b)); }},
      {"RankOfA", kInvalid, "scaled_mm: a.shape must be 2-D [M, K]; got [2, 3, 1]",
       [=] {
         mm(ones(int8, {2, 3, 1}), b);
       }},
      {"RankOfTransposedB", kInvalid, "scaled_mm: b.shape must be 2-D [N, K]; got [3]",
       [=] { mm(a, ones(int8, {3}), {.trans_b = true}); }},
      {"InnerDimension", kInvalid, "scaled_mm: b.shape[0] must equal a.shape[1] = 3; got 5",
       [=] {
         mm(a, ones(int8, {5, 4}));
       }},
      {"InnerDimensionOfAWeightAsStored", kInvalid,
       "scaled_mm: b.shape[0] must equal a.shape[1] = 3; got 4 (for a matrix given as [N, K] say "
       "trans_b)",
       [=] {
         mm(a, ones(int8, {4, 3}));
       }},
      {"ForeignFloatType", kInvalid,
       "scaled_mm: b.dtype must be an 8-bit type or a 16- or 32-bit float type; got float64 "
       "(convert it first, for example to float32)",
       [=] {
         mm(a, ones(float64, {3, 4}));
       }},
      {"ForeignIntegerType", kInvalid,
       "scaled_mm: a.dtype must be an 8-bit type or a 16- or 32-bit float type; got bool (convert "
       "it first, for example to int8 or float32)",
       [=] {
         mm(ones(bool_, {2, 3}), b);
       }},
      {"OutputType", kInvalid,
       "scaled_mm: out_dtype must be a float type of at most 32 bits, int8, uint8 or int32; got "
       "int64",
       [=] { mm(a, b, {.out_dtype = int64}); }},
      {"Int32OutputOfFloats", kInvalid,
       "scaled_mm: out_dtype must not be int32 for float operands (it is the exact sum of "
       "integers); got float32 @ float32",
       [=] { mm(x, w, {.out_dtype = int32}); }},
      {"Int32OutputWithScale", kInvalid,
       "scaled_mm: out_dtype must not be int32 beside scales, bias, C, alpha or scale_result (it "
       "is the exact sum); got scale_b",
       [=] { mm(a, b, {.scale_b = 2.0, .out_dtype = int32}); }},
      {"OutType", kInvalid, "scaled_mm: out.dtype must be float32; got bfloat16",
       [=] {
         mm(a, b, {.out = ones(bfloat16, {2, 4})});
       }},
      {"OutShape", kInvalid, "scaled_mm: out.shape must be [2, 4]; got [4, 2]",
       [=] {
         mm(a, b, {.out = ones(float32, {4, 2})});
       }},
      {"OutStrides", kInvalid,
       "scaled_mm: out.strides must reach every element once; got [0, 1] for shape [2, 4]",
       [=] {
         mm(a, b, {.out = TensorView(buffer.data, float32, {2, 4}, {0, 1})});
       }},
      {"OutOverlapsA", kInvalid,
       "scaled_mm: out must not overlap a (out may be exactly C); got shared memory",
       [=] {
         mm(TensorView(buffer.data, float32, {2, 3}), w,
            {.out = TensorView(buffer.at(5), float32, {2, 4})});
       }},
      {"OutOverlapsCInPart", kInvalid,
       "scaled_mm: out must not overlap c (out may be exactly C); got shared memory",
       [=] {
         mm(x, w,
            {.c = TensorView(buffer.data, float32, {2, 4}),
             .out = TensorView(buffer.at(1), float32, {2, 4})});
       }},
      {"OutOverlapsBias", kInvalid,
       "scaled_mm: out must not overlap bias (out may be exactly C); got shared memory",
       [=] {
         mm(x, w,
            {.bias = TensorView(buffer.at(4), float32, {4}),
             .out = TensorView(buffer.data, float32, {2, 4})});
       }},
      {"BiasType", kInvalid, "scaled_mm: bias.dtype must be float32, bfloat16 or float16; got int8",
       [=] { mm(a, b, {.bias = ones(int8, {4})}); }},
      {"BiasShape", kInvalid,
       "scaled_mm: bias.shape must be [4], [1, 4], [2, 1], [2, 4] or one element; got [3]",
       [=] { mm(a, b, {.bias = ones(float32, {3})}); }},
      {"CShape", kInvalid, "scaled_mm: c.shape must be [2, 4]; got [4, 2]",
       [=] {
         mm(a, b, {.c = ones(float32, {4, 2})});
       }},
      {"BetaWithoutC", kInvalid, "scaled_mm: beta must come with c; got no c",
       [=] { mm(a, b, {.beta = 0.5}); }},
      {"AlphaShape", kInvalid, "scaled_mm: alpha.shape must be one element; got [2]",
       [=] { mm(a, b, {.alpha = ones(float32, {2})}); }},
      {"ScaleResultShape", kInvalid,
       "scaled_mm: scale_result.shape must be one element or [4]; got [2]",
       [=] { mm(a, b, {.scale_result = ones(float32, {2})}); }},
      {"AzpOfFloats", kInvalid,
       "scaled_mm: azp must come with integers @ integers; got float32 @ float32",
       [=] { mm(x, w, {.azp = ones(int32, {1})}); }},
      {"AzpType", kInvalid, "scaled_mm: azp.dtype must be int32, int8 or uint8; got float32",
       [=] { mm(a, b, {.azp = ones(float32, {1})}); }},
      {"AzpShape", kInvalid,
       "scaled_mm: azp.shape must be one element, [2] or [2, 1] (one per tensor or per token); got "
       "[3]",
       [=] { mm(a, b, {.azp = ones(int32, {3})}); }},
      {"AzpOfFloatWeights", kInvalid,
       "scaled_mm: b.azp must be int32, int8 or uint8 beside int8 or uint8 codes; got int32 beside "
       "float32",
       [=] {
         Operand weight(w);
         weight.azp = ones(int32, {4});
         mm(x, weight);
       }},
      {"AzpOfBShape", kInvalid,
       "scaled_mm: b.azp.shape must be one element, [4], [1, 4] or that of the scale; got [3]",
       [=] {
         Operand weight(b);
         weight.azp = ones(int32, {3});
         mm(a, weight);
       }},
      {"AzpOfBBeyondACell", kInvalid,
       "scaled_mm: b.scale must begin in the cell of the first element where zero points are one "
       "for each; got [2, 0] of cells of 2 x 1",
       [=] {
         Operand weight(b);
         weight.scale[0] = {ScaleKind::tensor, 1.0F, ones(float32, {3, 4}), 2, 1, 2, 0};
         weight.azp = ones(int32, {3, 4});
         mm(a, weight);
       }},
      {"AzpOfBFar", kInvalid,
       "scaled_mm: b.azp[0, 0] must be in the range of the codes, [-128, 127] (quantise with "
       "widen); "
       "got 200",
       [=] {
         static const std::int32_t far[] = {200};
         Operand weight(b);
         weight.azp = view(far, {1});
         mm(a, weight);
       }},
      {"AzpOfBUnderLlmInt8", Code::unsupported,
       "scaled_mm: b.azp must be undefined for LLM.int8; got [1, 4]",
       [=] {
         ActivationQuant rule;
         rule.vectorwise = true;
         Operand left(x);
         left.quantize = &rule;
         Operand weight(b);
         weight.azp = ones(int32, {4});
         mm(left, weight);
       }},
      {"UnknownBackend", kInvalid,
       "scaled_mm: backend must be one of " + names_of_backends() + "; got 'fastest'",
       [=] { mm(a, b, {.backend = "fastest"}); }},
      {"ViewOfTooManyDimensions", kInvalid, "TensorView: shape.size must be at most 8; got 9",
       [=] {
         (void)TensorView(nullptr, int8, {1, 1, 1, 1, 1, 1, 1, 1, 1});
       }},
      {"ViewOfNegativeExtent", kInvalid, "TensorView: shape[1] must be at least 0; got -2",
       [=] {
         (void)TensorView(nullptr, int8, {1, -2});
       }},
      {"ViewOfTooManyBytes", kInvalid,
       "TensorView: shape must count less than 2^63 bytes, rows and columns padded to 64 and "
       "elements to 8 bytes; "
       "got [1099511627776, 1099511627776]",
       [=] {
         (void)TensorView(nullptr, int8, {std::int64_t{1} << 40, std::int64_t{1} << 40});
       }},
      {"ExtentsThatWrap", kInvalid,
       "scaled_mm: a.shape must count less than 2^63 bytes, rows and columns padded to 64 and "
       "elements to 8 bytes; "
       "got [2, 2305843009213693951]",
       [=] {
         TensorView wide = a;
         wide.shape[1] = (std::int64_t{1} << 61) - 1;
         wide.strides = {0, 0};
         mm(wide, b);
       }},
      {"ViewStrides", kInvalid, "TensorView: strides.size must be shape.size = 2; got 1",
       [=] {
         (void)TensorView(nullptr, int8, {1, 2}, {1});
       }},
      {"TensorOfTooManyDimensions", kInvalid, "Tensor::empty: shape.size must be at most 8; got 9",
       [=] {
         (void)Tensor::empty(int8, {1, 1, 1, 1, 1, 1, 1, 1, 1});
       }},
      {"TensorBeyondMemory", kInvalid,
       "Tensor::empty: shape must count less than 2^63 bytes; got more",
       [=] {
         (void)Tensor::empty(float32, {std::int64_t{1} << 40, std::int64_t{1} << 40});
       }},
      {"CopyOfForeignType", Code::unsupported,
       "copy: dtype must be one that Octavo converts; got float64 to float32",
       [=] { (void)copy(ones(float64, {2}), float32); }},
  };
}

std::vector<ErrorRow> scale_errors() {
  const TensorView a = ones(int8, {2, 3});
  const TensorView b = ones(int8, {3, 4});
  const auto a_scale = [=](const Scale& s) { mm(a, b, {.scale_a = s}); };
  const auto b_scale = [=](const Scale& s) { mm(a, b, {.scale_b = s}); };
  return {
      {"ScaleType", kInvalid,
       "scaled_mm: scale_a.dtype must be float32, bfloat16, float16, float8_e8m0fnu or "
       "float8_e4m3fn; got int32 (convert it to float32 first)",
       [=] { a_scale(ones(int32, {1})); }},
      {"ScaleABroadcast", kInvalid,
       "scaled_mm: scale_a.shape must broadcast to [2, 3]; got [2] (a granularity "
       "says another reading: token, or group128 and block128x128 for groups and blocks)",
       [=] { a_scale(ones(float32, {2})); }},
      {"ScaleBBroadcast", kInvalid,
       "scaled_mm: scale_b.shape must broadcast to [3, 4]; got [4, 1] (a granularity "
       "says another reading: channel, or group128 and block128x128 for groups and blocks)",
       [=] {
         b_scale(ones(float32, {4, 1}));
       }},
      {"TokenScaleOfB", kInvalid,
       "scaled_mm: scale_b.granularity must be channel for one scale per column; got token",
       [=] {
         b_scale({ones(float32, {3}), per_token()});
       }},
      {"ChannelScaleOfA", kInvalid,
       "scaled_mm: scale_a.granularity must be token for one scale per row; got channel",
       [=] {
         a_scale({ones(float32, {3}), per_channel()});
       }},
      {"GroupOfSizeZero", kInvalid,
       "scaled_mm: scale_a.granularity must have sizes of at least 1; got group0",
       [=] {
         a_scale({ones(float32, {3}), group(0)});
       }},
      {"TensorScaleShape", kInvalid, "scaled_mm: scale_a.shape must be one element; got [2]",
       [=] {
         a_scale({ones(float32, {2}), per_tensor()});
       }},
      {"GroupScaleShape", kInvalid,
       "scaled_mm: scale_a.shape must be [2, 2] for granularity group2; got [2, 3]",
       [=] {
         a_scale({ones(float32, {2, 3}), group(2)});
       }},
      {"CarriedScaleTooSmall", kInvalid,
       "scaled_mm: scale_a carried by the operand must cover [2, 3]; got [1, 1] of float32, 1 x 1 "
       "elements each",
       [=] {
         Operand carrying(a);
         carrying.scale[0] = {ScaleKind::tensor, 1.0F, ones(float32, {1, 1}), 1, 1, 0, 0};
         mm(carrying, b);
       }},
      {"ScaleOnAnotherDevice", Code::unavailable,
       "scaled_mm: scale_b.device " + device_refusal(kNoCuda),
       [=] { b_scale(on_cuda(ones(float32, {1}))); }},
  };
}

}  // namespace octavo::test
