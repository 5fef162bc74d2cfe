// SPDX-License-Identifier: Apache-2.0
// Layers on a far device: checkpoints' W8A8 layers, experts, bitsandbytes' product, vLLM's helpers.
#include "octavo/layers.hpp"
#include "far/same.hpp"
#include "octavo/bnb.hpp"
#include "octavo/moe.hpp"
#include "octavo/w8a8_utils.hpp"

namespace octavo::test::layers_test {
namespace {

constexpr std::int64_t kM = 9, kN = 24, kK = 64;

TEST(FarLayers, W8A8) {
  const Tensor x = gaussians(bfloat16, {2, kM, kK}, 1);
  const Tensor bias = gaussians(float32, {kN}, 2);
  const auto weight = [](DType dtype) {
    return gaussians(dtype, {kN, kK}, 3, is_integer8(dtype) ? 40.0 : 1.0);
  };
  const std::vector<std::int64_t> widths{16, 8};
  expect_same_far([&](Where& where) -> Outputs {
    const Tensor w = where(weight(float8_e4m3fn));
    const Fp8Linear rows({w, where(uniforms(float32, {kN, 1}, 4)), where(bias)}, {});
    const Fp8Linear shards(
        {w, where(uniforms(float32, {2}, 4)), where(bias), where(uniforms(float32, {2}, 5))},
        {.logical_widths = widths, .requantize = true});
    return {rows(where(x)), shards(where(x))};
  });
  expect_same_far([&](Where& where) -> Outputs {
    const Tensor w = where(weight(int8));
    const Int8Linear plain({w, where(uniforms(float32, {kN}, 4)), where(bias)}, {});
    const Int8Linear azp({w, where(uniforms(float32, {kN}, 4)), where(bias),
                          where(values(float32, {1}, {0.03})), where(values(int32, {1}, {-9}))},
                         {});
    return {plain(where(x)), azp(where(x))};
  });
  expect_same_far([&](Where& where) -> Outputs {
    const BlockFp8Linear block({where(weight(float8_e4m3fn)), where(uniforms(float32, {3, 2}, 4))},
                               {.block = {8, 32}});
    return {block(where(x))};
  });
}

TEST(FarLayers, FusedExperts) {
  constexpr std::int64_t kExperts = 4, kInner = 24, kSlots = 2;
  const Tensor ids = integers(int32, {kM, kSlots}, 1, 0, kExperts - 1);
  const Tensor factors = uniforms(float32, {kM, kSlots}, 2, 0.1, 0.9);
  for (const int kind : {0, 1, 2, 3}) {
    for (const bool on_input : {false, true}) {
      SCOPED_TRACE(testing::Message() << kind << on_input);
      std::optional<ActivationQuant> rule;
      if (kind != 0) rule.emplace();
      if (kind == 1) rule->spec.azp = true;
      if (kind == 2) rule->spec.granularity = per_tensor();
      if (kind == 3) rule->vectorwise = true;
      const DType dtype = kind == 0 ? DType::bfloat16 : DType::int8;
      const double spread = kind == 0 ? 1.0 : 40.0;
      const Tensor w13 = gaussians(dtype, {kExperts, 2 * kInner, kK}, 3, spread);
      const Tensor w2 = gaussians(dtype, {kExperts, kN, kInner}, 4, spread);
      expect_same_far([&](Where& where) -> Outputs {
        PackExpertsOptions o;
        o.activation = rule;
        if (kind != 0)
          o.scale = {where(uniforms(float32, {kExperts, 2 * kInner}, 5)), per_channel()};
        const ExpertWeights first = pack_experts(where(w13), o);
        if (kind != 0) o.scale = {where(uniforms(float32, {kExperts, kN}, 6)), per_channel()};
        const ExpertWeights second = pack_experts(where(w2), o);
        FusedExpertsOptions options;
        options.bias13 = where(gaussians(float32, {kExperts, 2 * kInner}, 7));
        options.apply_router_weight_on_input = on_input;
        const UnpackedExperts back = unpack_experts(first);
        return {fused_experts(where(gaussians(bfloat16, {kM, kK}, 8)), first, second,
                              where(factors), where(ids), options),
                back.data, back.scale};
      });
    }
  }
  expect_same_far([&](Where& where) -> Outputs {
    return {silu_and_mul(where(gaussians(bfloat16, {3, kM, kK}, 9)))};
  });
}

TEST(FarLayers, BitsAndBytes) {
  const Tensor x = tensor_of(float16, {kM, kK}, [](std::int64_t i) {
    return i % kK == 7 ? 20.0 : 0.01 * static_cast<double>(i % 97) - 0.4;
  });
  const Tensor w = gaussians(float16, {kN, kK}, 2);
  const Tensor grad = gaussians(float16, {kM, kN}, 3);
  for (const bool trains : {true, false}) {
    expect_same_far([&](Where& where) -> Outputs {
      bnb::GlobalOutlierPooler pool;
      bnb::MatmulLtState state;
      state.has_fp16_weights = trains;
      state.is_training = trains;
      state.threshold = 6.0F;
      state.use_pool = true;
      state.outlier_pool = &pool;
      const Tensor weight = where(w);
      const Tensor y = bnb::matmul(where(x), weight, state, {}, 6.0F);
      const Tensor again = bnb::matmul(where(x), weight, state, {}, 6.0F);
      const MatmulGradients d = bnb::MatMul8bitLt::backward(
          where(grad), where(x), {}, state, {.a = true, .b = trains}, DType::float16);
      const Tensor plain = bnb::MatMul8bitFp::forward(where(x), weight, {}, {}, state);
      return {y, again, d.a, d.b, plain};
    });
  }
}

TEST(FarLayers, W8a8Utils) {
  namespace w8 = w8a8_utils;
  const Tensor x = gaussians(bfloat16, {kM, kK}, 1);
  const Tensor weight = gaussians(float8_e4m3fn, {kN, kK}, 2);
  const Tensor shards = uniforms(float32, {2}, 3);
  const std::vector<std::int64_t> widths{16, 8};
  expect_same_far([&](Where& where) -> Outputs {
    const w8::Requantized one = w8::requantize_with_max_scale(where(weight), where(shards), widths);
    const w8::NormalizedFnuz fnuz =
        w8::normalize_e4m3fn_to_e4m3fnuz(where(weight), where(shards), where(shards));
    return {one.weight,
            one.scale,
            fnuz.weight,
            fnuz.weight_scale,
            fnuz.input_scale,
            w8::convert_to_channelwise(where(shards), widths),
            w8::per_tensor_dequantize(where(weight), where(values(float32, {1}, {0.25})))};
  });
  for (const w8::GroupShape& shape :
       {w8::GroupShape::PER_TENSOR, w8::GroupShape::PER_TOKEN, w8::GroupShape{1, 16}}) {
    for (const DType dtype : {DType::float8_e4m3fn, DType::float8_e4m3fnuz}) {
      expect_same_far([&](Where& where) -> Outputs {
        const w8::QuantFP8 quantizer(false, shape, 17, dtype);
        const auto q = quantizer(where(x), {}, where(values(float32, {1}, {2.0})));
        return {q.codes, q.scale};
      });
    }
  }
  expect_same_far([&](Where& where) -> Outputs {
    const Tensor scale = where(uniforms(float32, {kN, 1}, 4));
    const Operand b(where(weight).transposed());
    const w8::Fp8LinearOp dynamic(false, w8::GroupShape::PER_TOKEN);
    const w8::Fp8LinearOp fixed(true);
    return {dynamic.apply(where(x), b, scale),
            fixed.apply(where(x), b, scale, {}, where(values(float32, {1}, {0.02})))};
  });
  EXPECT_TRUE(w8::all_close_1d(to_far(values(float32, {3}, {1, 1, 1}))));
  EXPECT_FALSE(w8::all_close_1d(to_far(values(float32, {3}, {1, 1, 2}))));
}

}  // namespace
}  // namespace octavo::test::layers_test
