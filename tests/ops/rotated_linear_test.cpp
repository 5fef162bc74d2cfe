// SPDX-License-Identifier: Apache-2.0
// linear and its gradients under a rule that rotates: those of rotated activations, bit for bit.
#include <limits>

#include "ops/helpers.hpp"

namespace octavo::test::rotated_linear_test {
namespace {

constexpr std::int64_t kK = 512, kN = 19;

struct Rule {
  const char* name;
  DType weight;
  ActivationQuant activation;
};

ActivationQuant rule(DType dtype, Granularity granularity, bool azp = false) {
  ActivationQuant q;
  q.spec.dtype = dtype;
  q.spec.granularity = granularity;
  q.spec.azp = azp;
  return q;
}
ActivationQuant fixed(DType dtype, bool azp = false, NonFinite non_finite = NonFinite::propagate) {
  ActivationQuant q = rule(dtype, per_tensor(), azp);
  q.static_scale = 0.03F;
  q.static_azp = azp ? 140 : 0;
  q.spec.non_finite = non_finite;
  return q;
}
ActivationQuant bounded() {
  ActivationQuant q = rule(float8_e4m3fn, per_token());
  q.spec.scale_ub = 1.5F;
  return q;
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all{
      {"Int8", int8, rule(int8, per_token())},
      {"Int8PerTensor", int8, rule(int8, per_tensor())},
      {"Int8Groups", int8, rule(int8, group(96))},
      {"Uint8Azp", int8, rule(uint8, per_token(), true)},
      {"Int8AzpPerTensor", int8, rule(int8, per_tensor(), true)},
      {"Float8", float8_e4m3fn, rule(float8_e4m3fn, per_token())},
      {"Float8Groups", float8_e4m3fn, rule(float8_e4m3fn, group(32))},
      {"Float8Blocks", float8_e4m3fn, rule(float8_e5m2, block(2, 128))},
      {"Float8Bounded", float8_e4m3fn, bounded()},
      {"StaticInt8", int8, fixed(int8)},
      {"StaticInt8Ignores", int8, fixed(int8, false, NonFinite::ignore)},
      {"StaticUint8Azp", int8, fixed(uint8, true)},
      {"StaticFloat8", float8_e4m3fn, fixed(float8_e4m3fn)},
  };
  return all;
}

class RotatedLinear : public testing::TestWithParam<Rule> {
 protected:
  Tensor codes_ = integers(GetParam().weight, {kN, kK}, 2, -100, 100);
  Tensor bias_ = gaussians(bfloat16, {kN}, 3);

  PackedWeight packed(std::int32_t rotation) const {
    ActivationQuant own = GetParam().activation;
    own.rotation = rotation;
    return pack(Operand(codes_.transposed()), {.scale = 0.0625F, .activation = own});
  }
};

TEST_P(RotatedLinear, IsThatOfRotatedActivations) {
  for (const std::int32_t block : {16, 64, 256}) {
    for (const DType dtype : {float32, bfloat16, float16}) {
      Tensor x = gaussians(dtype, {7, kK}, 4, 1.5);
      kit::store(x, 2 * kK + 5, 300.0);  // an outlier
      for (const bool finite : {true, false}) {
        if (!finite) {
          kit::store(x, 3 * kK + 300, std::numeric_limits<double>::infinity());
          kit::store(x, 5 * kK + 1, std::numeric_limits<double>::quiet_NaN());
        }
        const Tensor rotated = rotate(x, {.block = block, .out_dtype = float32});
        for (const char* backend : usable_backends()) {
          LinearOptions o{.bias = bias_, .out_dtype = dtype, .backend = backend};
          expect_same_bits(linear(x, packed(block), o), linear(rotated, packed(0), o));
        }
        const Strided apart = strided(x, {3, 23});
        const LinearOptions o{.out_dtype = dtype};
        expect_same_bits(linear(apart.view, packed(block), o), linear(rotated, packed(0), o));
      }
    }
  }
}

TEST_P(RotatedLinear, ThreadsAndManyRowsDoNotMatter) {
  const Tensor x = gaussians(bfloat16, {83, kK}, 4);
  const Tensor rotated = rotate(x, {.out_dtype = float32});
  const Tensor want = linear(rotated, packed(0), {.out_dtype = bfloat16});
  for (const int threads : {1, 2, 5}) {
    ThreadExecutor executor(threads);
    expect_same_bits(linear(x, packed(64), {}, {.executor = &executor}), want);
  }
}

// dx is the product's float32 gradient of what was quantised, rotated back; dW, with the codes that
// were, is that of rotated activations.
TEST_P(RotatedLinear, GradientsAreRotatedBack) {
  const Tensor x = gaussians(bfloat16, {2, 3, kK}, 4);
  const Tensor grad = gaussians(bfloat16, {2, 3, kN}, 5);
  const Tensor rotated = rotate(x, {.block = 256, .out_dtype = float32});
  const MatmulWanted wanted{.a = true, .b = true, .bias = true};
  const LinearOptions o{.bias = bias_};
  const MatmulGradients got = linear_vjp(grad, x, packed(256), o, wanted);
  LinearOptions of_floats = o;
  of_floats.out_dtype = bfloat16;
  const MatmulGradients want = linear_vjp(grad, rotated, packed(0), of_floats, wanted);
  EXPECT_EQ(got.a.dtype(), bfloat16);
  expect_same_bits(got.a, rotate(want.a, {.block = 256, .out_dtype = bfloat16}));
  expect_same_bits(got.b, want.b.to(got.b.dtype()));
  expect_same_bits(got.bias, want.bias);
}

INSTANTIATE_TEST_SUITE_P(Rules, RotatedLinear, testing::ValuesIn(rules()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(RotatedLinearRules, ErrorNamesTheElementOfX) {
  ActivationQuant checked = rule(int8, per_token());
  checked.spec.non_finite = NonFinite::error;
  checked.rotation = 16;
  Tensor x = gaussians(float32, {2, 32}, 1);
  kit::store(x, 32 + 17, std::numeric_limits<double>::quiet_NaN());
  const Tensor w = integers(int8, {32, 3}, 2);
  expect_error([&] { (void)linear(x, Operand(w), checked); }, Code::invalid_argument,
               "linear: x[1, 17] must be finite; got nan");
}

TEST(RotatedLinearRules, ExplainSaysSo) {
  const Explanation e =
      explain(parse_problem_line("scaled_mm bf16:int8:bf16 quantize=int8 rotation=64 1x8x128"));
  EXPECT_EQ(e.rotation, 64);
  EXPECT_NE(e.to_string().find("rotation   of A in blocks of 64 along K"), std::string::npos);
  EXPECT_EQ(explain(parse_problem_line("scaled_mm bf16:int8:bf16 quantize=int8 1x8x128")).rotation,
            0);
}

}  // namespace
}  // namespace octavo::test::rotated_linear_test
