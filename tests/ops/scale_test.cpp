// SPDX-License-Identifier: Apache-2.0
// How scales are given and read: undefined, null, number, tensor; every granularity on both sides.
#include "ops/helpers.hpp"

namespace octavo::test::scale_test {
namespace {

constexpr std::int64_t kM = 9, kN = 11, kK = 75;

struct Sides {
  Tensor a = integers(int8, {kM, kK}, 1);
  Tensor b = integers(int8, {kK, kN}, 2);
};

// A Quantized carries its scale; section 2's four ways of giving another one.
TEST(Scale, UndefinedUsesTheCarriedScaleAndNullIgnoresIt) {
  const Tensor x = gaussians(float32, {5, 16}, 1);
  const Tensor y = gaussians(float32, {16, 7}, 2);
  const Quantized a = quantize(x);
  const Quantized b = quantize(y, {.granularity = per_channel(), .side = Side::b});
  const auto product = [&](const Scale& sa, const Scale& sb) {
    return scaled_mm(a, b, {.scale_a = sa, .scale_b = sb});
  };
  const Tensor explicit_scales =
      scaled_mm(a.data, b.data, {.scale_a = {a.scale, per_token()}, .scale_b = b.scale});
  expect_same_bits(product({}, {}), explicit_scales);
  expect_same_bits(product(nullptr, nullptr), scaled_mm(a.data, b.data));
  expect_same_bits(product(0.5, {}),
                   scaled_mm(a.data, b.data, {.scale_a = 0.5, .scale_b = b.scale}));
  expect_same_bits(product({}, nullptr), scaled_mm(a.data, b.data, {.scale_a = a.scale}));
  const Tensor other = uniforms(float32, {7}, 3);
  expect_same_bits(product({}, other),
                   scaled_mm(a.data, b.data, {.scale_a = a.scale, .scale_b = other}));
}

TEST(Scale, AnUndefinedTensorIsAnUndefinedScale) {
  const Sides s;
  expect_same_bits(scaled_mm(s.a, s.b, {.scale_a = TensorView{}, .scale_b = Tensor()}),
                   scaled_mm(s.a, s.b));
}

// M == K: a 1-D scale_a broadcasts along K, whatever M is; per_token() says M.
TEST(Scale, AOneDimensionalScaleABroadcastsAlongKEvenWhereMEqualsK) {
  const Tensor a = integers(int8, {6, 6}, 1);
  const Tensor b = integers(int8, {6, 4}, 2);
  const Tensor scale = uniforms(float32, {6}, 3, 0.5, 2.0);
  const Tensor along_k = scaled_mm(a, b, {.scale_a = scale});
  const Tensor along_m = scaled_mm(a, b, {.scale_a = {scale, per_token()}});
  for (std::int64_t i = 0; i < 6; ++i) {
    for (std::int64_t j = 0; j < 4; ++j) {
      float t = 0.0F;
      for (std::int64_t k = 0; k < 6; ++k) {
        t += static_cast<float>(at(a, i, k) * at(b, k, j)) * float_at(scale, k);
      }
      EXPECT_EQ(float_at(along_k, i, j), t);
      EXPECT_EQ(float_at(along_m, i, j),
                static_cast<float>(exact_dot(a, b, i, j)) * float_at(scale, i));
    }
  }
  const Tensor column = Tensor::adopt(nullptr, {scale.data(), float32, {6, 1}});
  expect_same_bits(scaled_mm(a, b, {.scale_a = column}), along_m);
  const Tensor row = Tensor::adopt(nullptr, {scale.data(), float32, {1, 6}});
  expect_same_bits(scaled_mm(a, b, {.scale_a = row}), along_k);
}

TEST(Scale, AOneDimensionalScaleBBelongsToTheColumnsEvenWhereNEqualsK) {
  const Tensor a = integers(int8, {3, 5}, 1);
  const Tensor b = integers(int8, {5, 5}, 2);
  const Tensor scale = uniforms(float32, {5}, 3, 0.5, 2.0);
  const Tensor out = scaled_mm(a, b, {.scale_b = scale});
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 5; ++j) {
      EXPECT_EQ(float_at(out, i, j),
                static_cast<float>(exact_dot(a, b, i, j)) * float_at(scale, j));
    }
  }
}

struct Choice {
  Granularity granularity;
  Shape a, b;  // the natural shapes; empty: not on that side
};
const std::vector<Choice>& choices() {
  static const std::vector<Choice> all{
      {per_tensor(), {1}, {1}},
      {per_token(), {kM, 1}, {}},
      {per_channel(), {}, {1, kN}},
      {group(16), {kM, 5}, {5, kN}},
      {group(128), {kM, 1}, {1, kN}},
      {block(4, 32), {3, 3}, {19, 1}},
      {block(128, 128), {1, 1}, {1, 1}},
      {per_k(), {1, kK}, {kK, 1}},
      {per_element(), {kM, kK}, {kK, kN}},
  };
  return all;
}

// The scale of element (i, j), found from the granularity's definition alone.
double scale_of(const Choice& c, const Tensor& scale, Side side, std::int64_t i, std::int64_t j) {
  const auto two = [&](std::int64_t down, std::int64_t across) {
    return kit::load(scale, down, across);
  };
  switch (c.granularity.kind) {
    case Granularity::Kind::tensor:
      return at(scale, 0);
    case Granularity::Kind::token:
      return two(i, 0);
    case Granularity::Kind::channel:
      return two(0, j);
    case Granularity::Kind::group:
      return side == Side::a ? two(i, j / c.granularity.rows) : two(i / c.granularity.rows, j);
    case Granularity::Kind::block:
      return two(i / c.granularity.rows, j / c.granularity.cols);
    case Granularity::Kind::per_k:
      return side == Side::a ? two(0, j) : two(i, 0);
    default:
      return two(i, j);
  }
}

TEST(Scale, EveryGranularityOfAWithEveryGranularityOfB) {
  const Sides s;
  for (const Choice& ca : choices()) {
    if (ca.a.empty()) continue;
    for (const Choice& cb : choices()) {
      if (cb.b.empty()) continue;
      SCOPED_TRACE(to_string(ca.granularity) + ":" + to_string(cb.granularity));
      const Tensor sa = uniforms(float32, ca.a, 3);
      const Tensor sb = uniforms(float32, cb.b, 4);
      const Tensor out =
          scaled_mm(s.a, s.b, {.scale_a = {sa, ca.granularity}, .scale_b = {sb, cb.granularity}});
      expect_near(
          out, 0,
          [&](std::int64_t i, std::int64_t j) {
            Sum sum;
            for (std::int64_t k = 0; k < kK; ++k) {
              sum.add(at(s.a, i, k) * scale_of(ca, sa, Side::a, i, k) * at(s.b, k, j) *
                      scale_of(cb, sb, Side::b, k, j));
            }
            return sum;
          },
          kK);
    }
  }
}

TEST(Scale, EveryScaleTypeAndStrideIsWidenedExactly) {
  const Sides s;
  const Tensor powers = tensor_of(
      float32, {kM, 5}, [](std::int64_t i) { return std::exp2(static_cast<double>(i % 7) - 9); });
  const Tensor want = scaled_mm(s.a, s.b, {.scale_a = {powers, group(16)}});
  for (const DType dtype : {bfloat16, float16, float8_e8m0fnu}) {
    const Tensor narrow = powers.to(dtype);
    expect_same_bits(scaled_mm(s.a, s.b, {.scale_a = {narrow, group(16)}}), want);
    const Strided apart = strided(narrow, {-3, 40});
    expect_same_bits(scaled_mm(s.a, s.b, {.scale_a = {apart.view, group(16)}}), want);
  }
}

// Section 3: K-varying scales act on partial sums over the common refinement of both groupings.
TEST(Scale, GroupsOfDifferentLengthsMeetInTheirCommonRefinement) {
  const Sides s;
  const Tensor sa = uniforms(float32, {kM, 5}, 3);  // groups of 16
  const Tensor sb = uniforms(float32, {4, kN}, 4);  // groups of 24
  const Tensor out = scaled_mm(s.a, s.b, {.scale_a = {sa, group(16)}, .scale_b = {sb, group(24)}});
  for (std::int64_t i = 0; i < kM; ++i) {
    for (std::int64_t j = 0; j < kN; ++j) {
      float t = 0.0F;
      for (std::int64_t k = 0, end = 0; k < kK; k = end) {
        end = std::min({kK, (k / 16 + 1) * 16, (k / 24 + 1) * 24});
        std::int64_t part = 0;
        for (std::int64_t p = k; p < end; ++p) {
          part += static_cast<std::int64_t>(at(s.a, i, p) * at(s.b, p, j));
        }
        float term = static_cast<float>(part);
        term *= float_at(sa, i, k / 16);
        term *= float_at(sb, k / 24, j);
        t += term;
      }
      ASSERT_EQ(float_at(out, i, j), t) << i << ' ' << j;
    }
  }
}

TEST(Scale, AChannelScaleIsAlsoAcceptedAsAVectorAndAsAColumn) {
  const Sides s;
  const Tensor scale = uniforms(float32, {kN}, 3);
  const Tensor want = scaled_mm(s.a, s.b, {.scale_b = scale});
  for (const Shape& shape : {Shape{1, kN}, Shape{kN}, Shape{kN, 1}}) {
    const TensorView same(scale.data(), float32, std::span(shape));
    expect_same_bits(scaled_mm(s.a, s.b, {.scale_b = {same, per_channel()}}), want);
  }
}

TEST(Scale, TransposedOperandsCarryTransposedScales) {
  const Tensor x = gaussians(float32, {6, 40}, 1);
  const Tensor y = gaussians(float32, {9, 40}, 2);  // a weight as it is stored, [N, K]
  const Quantized a = quantize(x, {.granularity = group(16)});
  const Quantized b = quantize(y, {.granularity = group(16)});  // groups along K, as for A
  const Tensor want =
      scaled_mm(a.data, b.data.transposed(),
                {.scale_a = {a.scale, group(16)}, .scale_b = {b.scale.transposed(), group(16)}});
  expect_same_bits(scaled_mm(a, b, {.trans_b = true}), want);
  const Operand a_transposed = Operand(a).transposed();
  expect_same_bits(scaled_mm(a_transposed, b, {.trans_a = true, .trans_b = true}), want);
}

// scale_result: a number, one element or a vector; section 3 applies it last, in float32.
TEST(Scale, ScaleResultMultipliesEveryOutputType) {
  const Sides s;
  const Tensor vector = tensor_of(float32, {kN}, [](std::int64_t i) { return i % 2 == 0 ? 2 : 4; });
  for (const DType out : {float32, bfloat16, float16, float8_e5m2, int8, uint8}) {
    const auto product = [&](const Scale& scale_result) {
      return scaled_mm(s.a, s.b,
                       {.scale_a = 0x1p-12, .scale_result = scale_result, .out_dtype = out});
    };
    const Tensor by_vector = product(vector);
    const Tensor two = product(2.0);
    const Tensor four = product(values(float32, {1}, {4}));
    expect_same_bits(product({vector.view()}), by_vector);
    bool differs = false;
    for (std::int64_t i = 0; i < kM; ++i) {
      for (std::int64_t j = 0; j < kN; ++j) {
        EXPECT_EQ(at(by_vector, i, j), at(j % 2 == 0 ? two : four, i, j)) << name(out);
        differs |= at(two, i, j) != at(four, i, j);
      }
    }
    EXPECT_TRUE(differs);
  }
}

TEST(Granularities, AreSpelledAsTheTableSays) {
  for (const GranularityInfo& row : kGranularities) {
    if (row.kind == Granularity::Kind::automatic) continue;
    const Granularity g{row.kind, row.sizes > 0 ? 8 : 0, row.sizes > 1 ? 16 : 0};
    EXPECT_EQ(granularity_from_name(to_string(g)), g) << to_string(g);
    const std::string name(row.name);
    for (const std::string& wrong : {name + "x", name + "0", name + "-1", name + "8x",
                                     name + "8x16x2", " " + name, name + "99999999999999999999"}) {
      EXPECT_EQ(granularity_from_name(wrong), Granularity{}) << wrong;
    }
    if (row.sizes > 0) {
      EXPECT_EQ(granularity_from_name(name), Granularity{}) << name;
      expect_error(
          [&] {
            const Tensor a = Tensor::empty(int8, {4, 8});
            const Tensor scale = Tensor::empty(float32, {4, 8});
            (void)scaled_mm(a, a.transposed(), {.scale_a = {scale, {row.kind, 0, 0}}});
          },
          Code::invalid_argument, "granularity must have sizes of at least 1; got " + name);
    }
  }
  EXPECT_EQ(granularity_from_name("mx"), group(32));
  EXPECT_EQ(granularity_from_name(""), Granularity{});
}

}  // namespace
}  // namespace octavo::test::scale_test
