// SPDX-License-Identifier: Apache-2.0
// What packed experts, fused_experts and silu_and_mul refuse.
#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

constexpr Code kUnsupported = Code::unsupported;

ExpertWeights packed(std::int64_t experts, std::int64_t n, std::int64_t k,
                     const ActivationQuant& rule) {
  return pack_experts(ones(int8, {experts, n, k}), {.activation = rule});
}

// A good call of two rows, three experts, K = 4, I = 6, to be spoilt.
struct Good {
  TensorView x = ones(bfloat16, {2, 4});
  TensorView weights = ones(float32, {2, 2});
  TensorView ids = ones(int32, {2, 2});
  ExpertWeights w13 = packed(3, 12, 4, int8_rule());
  ExpertWeights w2 = packed(3, 5, 6, int8_rule());
  FusedExpertsOptions options{};
};

std::function<void()> calling(const std::function<void(Good&)>& spoil) {
  return [=] {
    Good g;
    spoil(g);
    (void)fused_experts(g.x, g.w13, g.w2, g.weights, g.ids, g.options);
  };
}
std::function<void()> packing(const TensorView& weight, const PackExpertsOptions& options = {}) {
  return [=] { (void)pack_experts(weight, options); };
}

std::vector<ErrorRow> packing_errors() {
  const TensorView w = ones(int8, {3, 5, 4});
  const auto scaled = [=](const TensorView& scale, const Granularity& g) {
    PackExpertsOptions options;
    options.scale = {scale, g};
    return packing(w, options);
  };
  PackExpertsOptions wild;
  wild.activation = int8_rule(group(0));
  return {
      {"ExpertsRank", kInvalid, "pack_experts: weight.shape must be 3-D [E, N, K]; got [5, 4]",
       packing(ones(int8, {5, 4}))},
      {"ExpertsType", kInvalid,
       "pack_experts: weight.dtype must be int8, a float8 type, float32, bfloat16 or float16; got "
       "uint8",
       packing(ones(uint8, {3, 5, 4}))},
      {"ExpertsRule", kInvalid,
       "pack_experts: activation.granularity must have sizes of at least 1; got group0",
       packing(w, wild)},
      {"ExpertsGroupOfNone", kInvalid,
       "pack_experts: scale.granularity must have sizes of at least 1; got group0",
       scaled(ones(float32, {3, 5, 1}), group(0))},
      {"ExpertsTokenScales", kInvalid,
       "pack_experts: scale.granularity must be tensor, channel, group or block; got "
       "token",
       scaled(ones(float32, {3, 5}), per_token())},
      {"ExpertsScaleShape", kInvalid,
       "pack_experts: scale.shape must be [3, 2, 1] for granularity block4x4 (trailing ones may be "
       "left out; declare groups and blocks); got [3, 1, 2]",
       scaled(ones(float32, {3, 1, 2}), block(4, 4))},
      {"ExpertsScaleType", kInvalid,
       "pack_experts: scale.dtype must be float32, bfloat16, float16, float8_e8m0fnu or "
       "float8_e4m3fn; got int8 (convert it to float32 first)",
       scaled(ones(int8, {3, 5}), per_channel())},
      {"UnpackNoExperts", kInvalid, "unpack_experts: weights must be packed; got an empty one",
       [] { (void)unpack_experts({}); }},
      {"MoveNoExperts", kInvalid, "to_device: weights must be packed; got empty ones",
       [] { (void)to_device(ExpertWeights(), Device{}); }},
  };
}

std::vector<ErrorRow> call_errors() {
  return {
      {"NoExperts", kInvalid, "fused_experts: w2 must be packed experts; got empty ones",
       calling([](Good& g) { g.w2 = {}; })},
      {"FewerExperts", kInvalid, "fused_experts: w2.experts must equal w13.experts = 3; got 2",
       calling([](Good& g) { g.w2 = packed(2, 5, 6, int8_rule()); })},
      {"OddGates", kInvalid, "fused_experts: w13.n must be 2 * w2.k = 14 (gate, then up); got 12",
       calling([](Good& g) { g.w2 = packed(3, 5, 7, int8_rule()); })},
      {"ExpertsX", kInvalid, "fused_experts: x.shape must be [..., K = 4]; got [2, 3]",
       calling([](Good& g) {
         g.x = ones(bfloat16, {2, 3});
       })},
      {"ExpertsXType", kInvalid,
       "fused_experts: x.dtype must be float32, bfloat16 or float16; got int8",
       calling([](Good& g) {
         g.x = ones(int8, {2, 4});
       })},
      {"ExpertsBias", kInvalid, "fused_experts: bias13.shape must be [3, 12]; got [12]",
       calling([](Good& g) { g.options.bias13 = ones(float32, {12}); })},
      {"ExpertsBias2Type", kInvalid,
       "fused_experts: bias2.dtype must be float32, bfloat16 or float16; got int8",
       calling([](Good& g) {
         g.options.bias2 = ones(int8, {3, 5});
       })},
      {"IdsRows", kInvalid, "fused_experts: topk_ids.shape must be [2, T]; got [3, 2]",
       calling([](Good& g) {
         g.ids = ones(int32, {3, 2});
       })},
      {"IdsType", kInvalid, "fused_experts: topk_ids.dtype must be int32 or int64; got float32",
       calling([](Good& g) {
         g.ids = ones(float32, {2, 2});
       })},
      {"WeightsShape", kInvalid, "fused_experts: topk_weights.shape must be [2, 2]; got [2, 1]",
       calling([](Good& g) {
         g.weights = ones(float32, {2, 1});
       })},
      {"IdsRange", kInvalid, "fused_experts: topk_ids[1, 0] must be in [-1, 3); got 3",
       calling([](Good& g) {
         static const std::int32_t ids[] = {0, -1, 3, 2};
         g.ids = view(ids, {2, 2});
       })},
      {"IdsOfAMap", kInvalid, "fused_experts: topk_ids[0, 0] must be in [-1, 1); got 1",
       calling([](Good& g) { g.options.expert_map = ones(int32, {1}); })},
      {"MapType", kInvalid, "fused_experts: expert_map must be int32 [ids]; got int64 [3]",
       calling([](Good& g) { g.options.expert_map = ones(int64, {3}); })},
      {"MapRange", kInvalid, "fused_experts: expert_map[2] must be in [-1, 3); got -2",
       calling([](Good& g) {
         static const std::int32_t map[] = {0, -1, -2, 2};
         g.options.expert_map = view(map, {4});
       })},
      {"ExpertsZeroPoints", kInvalid,
       "fused_experts: w2.activation.azp must come with integer weights; got float8_e4m3fn",
       calling([](Good& g) {
         ActivationQuant rule = int8_rule();
         rule.spec.azp = true;
         g.w2 = pack_experts(ones(float8_e4m3fn, {3, 5, 6}), {.activation = rule});
       })},
      {"ExpertsOutliers", kUnsupported,
       "fused_experts: w13.activation.outlier_threshold must be 0 (outlier columns depend on all "
       "rows); got 6",
       calling([](Good& g) {
         ActivationQuant rule;
         rule.vectorwise = true;
         rule.outlier_threshold = 6.0F;
         g.w13 = packed(3, 12, 4, rule);
       })},
      {"ExpertsFixedColumns", kUnsupported,
       "fused_experts: w13.activation.outlier_columns must be undefined (experts have no float "
       "columns); got [1]",
       calling([](Good& g) {
         ActivationQuant rule;
         rule.vectorwise = true;
         rule.outlier_columns = Tensor::adopt(nullptr, ones(int64, {1}));
         g.w13 = packed(3, 12, 4, rule);
       })},
      {"ExpertsBatchInvariant", kInvalid,
       "fused_experts: options.batch_invariant must come with per-token, per-group or static "
       "activation scales; got tensor",
       calling([](Good& g) {
         g.w2 = packed(3, 5, 6, int8_rule(per_tensor()));
         g.options.matmul.batch_invariant = true;
       })},
      {"ExpertsNonFinite", kUnsupported,
       "fused_experts: w2.activation.non_finite must be propagate (its rows are made on the fly); "
       "got error",
       calling([](Good& g) {
         ActivationQuant rule = int8_rule();
         rule.spec.non_finite = NonFinite::error;
         g.w2 = packed(3, 5, 6, rule);
       })},
      {"ExpertsFinite", kInvalid, "fused_experts: x[0, 1] must be finite; got inf",
       calling([](Good& g) {
         static const float x[] = {1.0F, std::numeric_limits<float>::infinity(), 1.0F, 1.0F};
         g.x = view(x, {1, 4});
         g.ids = ones(int32, {1, 2});
         g.weights = ones(float32, {1, 2});
         ActivationQuant rule = int8_rule();
         rule.spec.non_finite = NonFinite::error;
         g.w13 = packed(3, 12, 4, rule);
       })},
      {"ExpertsOutType", kInvalid,
       "fused_experts: out_dtype must be a float type of at most 32 bits; got int8",
       calling([](Good& g) { g.options.out_dtype = int8; })},
      {"ExpertsOut", kInvalid, "fused_experts: out.shape must be [2, 5]; got [2, 4]",
       calling([](Good& g) {
         g.options.out = ones(bfloat16, {2, 4});
       })},
      {"ExpertsOutOverlap", kInvalid,
       "fused_experts: out must not overlap bias2; got shared memory", calling([](Good& g) {
         g.options.bias2 = ones(bfloat16, {3, 5});
         g.options.out = g.options.bias2.slice(0, 0, 2);
       })},
  };
}

std::function<void()> calling_vjp(const TensorView& grad, const FusedExpertsWanted& wanted,
                                  const std::function<void(Good&)>& spoil,
                                  const GradientOptions& options = {}) {
  return [=] {
    Good g;
    spoil(g);
    (void)fused_experts_vjp(grad, g.x, g.w13, g.w2, g.weights, g.ids, g.options, wanted, options);
  };
}

std::vector<ErrorRow> vjp_errors() {
  const TensorView grad = ones(bfloat16, {2, 5});
  const auto good = [](Good&) {};
  return {
      {"ExpertsVjpGrad", kInvalid,
       "fused_experts_vjp: grad.shape must be that of the result, [2, 5]; got [2, 4]",
       calling_vjp(ones(bfloat16, {2, 4}), {.x = true}, good)},
      {"ExpertsVjpX", kInvalid, "fused_experts_vjp: x.shape must be [..., K = 4]; got [2, 3]",
       calling_vjp(grad, {.x = true},
                   [](Good& g) {
                     g.x = ones(bfloat16, {2, 3});
                   })},
      {"ExpertsVjpOut", kUnsupported,
       "fused_experts_vjp: out_dtype must be float32, bfloat16 or float16 where gradients are "
       "wanted; got float8_e5m2",
       calling_vjp(grad, {.x = true}, [](Good& g) { g.options.out_dtype = float8_e5m2; })},
      {"ExpertsVjpBias", kInvalid,
       "fused_experts_vjp: bias2 must be given where its gradient is wanted; got none",
       calling_vjp(grad, {.bias2 = true}, good)},
      {"ExpertsVjpType", kInvalid,
       "fused_experts_vjp: options.dtype must be float32, bfloat16 or float16; got int8",
       calling_vjp(grad, {.x = true}, good, {.dtype = int8})},
      {"SiluVjpGrad", kInvalid,
       "silu_and_mul_vjp: grad.shape must be that of the result, [2, 3]; got [2, 6]",
       [] {
         (void)silu_and_mul_vjp(ones(float32, {2, 6}), ones(float32, {2, 6}));
       }},
      {"SiluVjpOdd", kInvalid,
       "silu_and_mul_vjp: x.shape must be [..., 2 I] (gate, then up); got [2, 5]",
       [] {
         (void)silu_and_mul_vjp(ones(float32, {2, 2}), ones(float32, {2, 5}));
       }},
  };
}

std::vector<ErrorRow> silu_errors() {
  const TensorView x = ones(float32, {2, 6});
  return {
      {"SiluOdd", kInvalid, "silu_and_mul: x.shape must be [..., 2 I] (gate, then up); got [2, 5]",
       [] {
         (void)silu_and_mul(ones(float32, {2, 5}));
       }},
      {"SiluType", kInvalid,
       "silu_and_mul: x.dtype must be float32, bfloat16 or float16; got float8_e5m2",
       [] {
         (void)silu_and_mul(ones(float8_e5m2, {2, 6}));
       }},
      {"SiluOutType", kInvalid,
       "silu_and_mul: out_dtype must be a float type of at most 32 bits; got uint8",
       [=] { (void)silu_and_mul(x, {.out_dtype = uint8}); }},
      {"SiluOut", kInvalid, "silu_and_mul: out must not overlap x; got shared memory",
       [=] { (void)silu_and_mul(x, {.out = x.slice(1, 0, 3)}); }},
  };
}

}  // namespace

std::vector<ErrorRow> expert_errors() {
  std::vector<ErrorRow> rows = packing_errors();
  for (const auto& part : {call_errors(), vjp_errors(), silu_errors()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

}  // namespace octavo::test
