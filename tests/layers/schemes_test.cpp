// SPDX-License-Identifier: Apache-2.0
// fused_experts has the bits of the separate operations, whatever the scheme, the number of rows,
// the backend and the threads.
#include <gtest/gtest.h>

#include "layers/compose.hpp"

namespace octavo::test::schemes_test {
namespace {

constexpr std::int64_t kExperts = 6;
constexpr std::int64_t kHidden = 80;
constexpr std::int64_t kInner = 40;
constexpr std::int64_t kOut = 72;
constexpr std::int64_t kSlots = 3;

struct Scheme {
  const char* name;
  DType weight;
  Granularity scale;                 // of the stored weight; automatic: none
  std::optional<QuantizeSpec> rule;  // none: as they are, or vectorwise
  DType x = DType::bfloat16;
  bool vectorwise = false;
  float static_scale = 0.0F;
  std::int32_t static_azp = 0;
  std::int32_t rotation = 0;
};

QuantizeSpec spec_of(DType dtype, Granularity granularity = per_token(), bool azp = false) {
  QuantizeSpec spec;
  spec.dtype = dtype;
  spec.granularity = granularity;
  spec.azp = azp;
  return spec;
}
QuantizeSpec mx() {
  QuantizeSpec spec = spec_of(DType::float8_e4m3fn, group(32));
  spec.rounding = ScaleRounding::mx_floor;
  spec.scale_dtype = DType::float8_e8m0fnu;
  return spec;
}

const std::vector<Scheme>& schemes() {
  using enum DType;
  static const std::vector<Scheme> all{
      {"Fp8TokenChannel", float8_e4m3fn, per_channel(), spec_of(float8_e4m3fn)},
      {"Fp8Float16", float8_e5m2, per_channel(), spec_of(float8_e5m2), float16},
      {"Fp8Float32", float8_e4m3fn, per_channel(), spec_of(float8_e5m2), float32},
      {"FnuzTokenChannel", float8_e4m3fnuz, per_channel(), spec_of(float8_e4m3fnuz)},
      {"Fnuz5TokenTensor", float8_e5m2fnuz, per_tensor(), spec_of(float8_e5m2fnuz)},
      {"Fp8Block", float8_e4m3fn, block(32, 64), spec_of(float8_e4m3fn, group(32))},
      {"Fp8Group", float8_e4m3fn, group(16), spec_of(float8_e4m3fn, group(16))},
      {"Fp8Tensor", float8_e4m3fn, per_tensor(), spec_of(float8_e4m3fn, per_tensor())},
      {"Fp8RowsOfBlocks", float8_e4m3fn, per_channel(), spec_of(float8_e4m3fn, block(4, 32))},
      {"Mx", float8_e4m3fn, group(32), mx()},
      {"Int8TokenChannel", int8, per_channel(), spec_of(int8)},
      {"Int8Float32", int8, per_channel(), spec_of(int8), float32},
      {"Int8Azp", int8, per_channel(), spec_of(int8, per_token(), true)},
      {"Uint8TensorAzp", int8, per_channel(), spec_of(uint8, per_tensor(), true)},
      {"Int8Tensor", int8, per_tensor(), spec_of(int8, per_tensor())},
      {"Int8Group", int8, group(32), spec_of(int8, group(32))},
      {"Fp8Static", float8_e4m3fn, per_tensor(), spec_of(float8_e4m3fn, per_tensor()), bfloat16,
       false, 0.0078125F},
      {"Uint8StaticAzp", int8, per_channel(), spec_of(uint8, per_tensor(), true), bfloat16, false,
       0.02F, 120},
      {"Int8Rotated", int8, per_channel(), spec_of(int8), bfloat16, false, 0.0F, 0, 16},
      {"Fp8GroupRotated", float8_e4m3fn, group(32), spec_of(float8_e4m3fn, group(32)), float16,
       false, 0.0F, 0, 16},
      {"Uint8TensorAzpRotated", int8, per_channel(), spec_of(uint8, per_tensor(), true), float32,
       false, 0.0F, 0, 16},
      {"LlmInt8", int8, per_channel(), std::nullopt, bfloat16, true},
      {"W8A16Int8", int8, per_channel(), std::nullopt},
      {"W8A16Fp8", float8_e4m3fn, block(32, 32), std::nullopt, float16},
      {"Bfloat16", bfloat16, {}, std::nullopt},
      {"Float32", float32, {}, std::nullopt, float32},
  };
  return all;
}

Shape scale_shape(const Granularity& g, std::int64_t n, std::int64_t k) {
  const auto cells = [](std::int64_t extent, std::int64_t cell) {
    return (extent + cell - 1) / cell;
  };
  switch (g.kind) {
    case Granularity::Kind::tensor:
      return {kExperts};
    case Granularity::Kind::channel:
      return {kExperts, n};
    case Granularity::Kind::group:
      return {kExperts, n, cells(k, g.rows)};
    default:
      return {kExperts, cells(n, g.rows), cells(k, g.cols)};
  }
}

ExpertWeights packed(const Scheme& s, std::int64_t n, std::int64_t k, unsigned seed,
                     const char* backend) {
  PackExpertsOptions options;
  options.backend = backend;
  Tensor scale;
  if (s.scale.kind != Granularity::Kind::automatic) {
    scale = uniforms(DType::float32, scale_shape(s.scale, n, k), seed + 50);
    options.scale = {scale, s.scale};
  }
  if (s.rule || s.vectorwise) {
    options.activation.emplace();
    options.activation->vectorwise = s.vectorwise;
    if (s.rule) options.activation->spec = *s.rule;
    options.activation->static_scale = s.static_scale;
    options.activation->static_azp = s.static_azp;
    if (s.rotation != 0 && k % s.rotation == 0) options.activation->rotation = s.rotation;
  }
  return pack_experts(some_experts(s.weight, {kExperts, n, k}, seed), options);
}

struct SchemeTest : testing::TestWithParam<std::tuple<std::size_t, const char*>> {};

TEST_P(SchemeTest, HasTheBitsOfTheSeparateOperations) {
  const Scheme& s = schemes()[std::get<0>(GetParam())];
  const char* name = std::get<1>(GetParam());
  const char* backend = *name == '\0' ? nullptr : name;
  ExpertsCase c;
  c.w13 = packed(s, 2 * kInner, kHidden, 1, backend);
  c.w2 = packed(s, kOut, kInner, 2, backend);
  c.options.backend = backend;
  const Tensor bias13 = gaussians(DType::float32, {kExperts, 2 * kInner}, 3);
  const Tensor bias2 = gaussians(DType::bfloat16, {kExperts, kOut}, 4);
  for (const std::int64_t m : {0, 1, 2, 7, 33}) {
    SCOPED_TRACE(m);
    c.x = gaussians(s.x, {m, kHidden}, static_cast<unsigned>(m));
    c.ids = some_ids(m, kSlots, kExperts, static_cast<unsigned>(m) + 9);
    c.weights = uniforms(DType::float32, {m, kSlots}, 6, -0.5, 1.0);
    const bool odd = m % 2 == 1;
    c.options.bias13 = odd ? bias13.view() : TensorView();
    c.options.bias2 = odd ? bias2.view() : TensorView();
    c.options.out_dtype = m == 2 ? DType::float32 : DType::undefined;
    const Tensor want = compose(c);
    expect_same_bits(run(c), want);
    for (const int threads : {1, 2, 3}) {
      ThreadExecutor executor(threads);
      expect_same_bits(run(c, {.executor = &executor}), want);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SchemeTest,
                         testing::Combine(testing::Range<std::size_t>(0, schemes().size()),
                                          testing::ValuesIn(usable_backends())),
                         [](const auto& test) {
                           const char* backend = std::get<1>(test.param);
                           return std::string(schemes()[std::get<0>(test.param)].name) +
                                  (*backend == '\0' ? "Chosen" : backend);
                         });

}  // namespace
}  // namespace octavo::test::schemes_test
