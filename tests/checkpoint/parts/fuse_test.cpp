// SPDX-License-Identifier: Apache-2.0
// Fused weights: the rows and scales of their shards, nothing lost.
#include "checkpoint/support.hpp"
#include "octavo/layers.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::fuse_test {
namespace {

using testing::Test;

Weight made(DType dtype, const Granularity& granularity, std::int64_t n, std::int64_t k,
            unsigned seed) {
  const bool blocks = granularity.kind == Granularity::Kind::block;
  Weight w;
  w.codes =
      quantize(gaussians(float32, {n, k}, seed), {.dtype = dtype, .granularity = granularity});
  w.activation = ActivationQuant{};
  w.activation->spec.dtype = dtype;
  if (blocks) w.activation->spec.granularity = group(granularity.cols);
  w.scheme = dtype == int8 ? "int8-dynamic" : blocks ? "fp8-block" : "fp8-dynamic";
  return w;
}

Tensor columns(const TensorView& y, std::int64_t begin, std::int64_t end) {
  return copy(y.slice(1, begin, end), y.dtype);
}

// y = x @ fused^T is the shards' results side by side.
void expect_shards(const std::vector<Weight>& shards) {
  const std::int64_t k = shards[0].codes.data.size(1);
  const Tensor x = gaussians(bfloat16, {5, k}, 7);
  const Tensor y = QuantizedLinear(fuse(shards))(x);
  std::int64_t n = 0;
  for (const Weight& shard : shards) {
    const std::int64_t end = n + shard.codes.data.size(0);
    if (end > n) expect_same_bits(columns(y, n, end), QuantizedLinear(shard)(x));
    n = end;
  }
  EXPECT_EQ(n, y.size(1));
}

TEST(Fuse, KeepsTheScalesOfEveryShard) {
  for (const DType dtype : {int8, float8_e4m3fn, float8_e4m3fnuz}) {
    for (const Granularity& g : {per_tensor(), per_token()}) {
      expect_shards(
          {made(dtype, g, 12, 40, 1), made(dtype, g, 0, 40, 2), made(dtype, g, 7, 40, 3)});
    }
    expect_shards({made(dtype, per_token(), 12, 40, 1), made(dtype, per_tensor(), 9, 40, 3)});
  }
}

TEST(Fuse, CutsBlocksWhereShardsMeetInsideOne) {
  const Granularity b = block(16, 32);
  const struct {
    std::vector<std::int64_t> widths;
    std::int64_t rows;
  } cases[] = {{{32, 16, 5}, 16}, {{20, 16}, 4}, {{7, 16}, 1}, {{0, 16, 24, 3}, 8}};
  for (const auto& row : cases) {
    std::vector<Weight> shards;
    for (const std::int64_t n : row.widths) shards.push_back(made(float8_e4m3fn, b, n, 70, 3));
    expect_shards(shards);
    EXPECT_EQ(fuse(shards).codes.grid, (ScaleGrid{row.rows, 32}));
  }
}

TEST(Fuse, MergesStaticScales) {
  Weight a = made(int8, per_tensor(), 4, 8, 1);
  a.activation->spec.granularity = per_tensor();
  a.activation->static_scale = 0.02F;
  Weight b = a;
  b.activation->static_scale = 0.05F;
  const std::vector<Weight> both{a, b};
  EXPECT_EQ(0.05F, fuse(both).activation->static_scale);
  // [-2.56, 2.54] and [-0.28, 2.27] with a zero point: 5.1 / 255, and the zero stays where it was.
  Weight c = a;
  c.activation->spec.azp = true;
  Weight d = c;
  d.activation->static_scale = 0.01F;
  d.activation->static_azp = -100;
  const ActivationQuant merged = *fuse(std::vector<Weight>{c, d}).activation;
  EXPECT_FLOAT_EQ(0.02F, merged.static_scale);
  EXPECT_EQ(0, merged.static_azp);
  // [0, 2.55] and [-1, 1.55]: steps of 3.55 / 255, zero at 71.83 - 128 = -56.17.
  c.activation->static_scale = d.activation->static_scale = 0.01F;
  c.activation->static_azp = -128;
  d.activation->static_azp = -28;
  const ActivationQuant wide = *fuse(std::vector<Weight>{c, d}).activation;
  EXPECT_FLOAT_EQ(3.55F / 255.0F, wide.static_scale);
  EXPECT_EQ(-56, wide.static_azp);
  EXPECT_EQ(-56, fuse(std::vector<Weight>{d, c}).activation->static_azp);
}

// A shard without zero points beside one that has some has zeros.
TEST(Fuse, OfZeroPoints) {
  const auto asymmetric = [](const Granularity& granularity, std::int64_t n, unsigned seed) {
    Weight w = made(int8, per_token(), n, 8, seed);
    const Tensor x = tensor_of(float32, {n, 8},
                               [&](std::int64_t i) { return 0.1 * static_cast<double>(i) + seed; });
    w.codes = quantize(x, {.dtype = int8, .granularity = granularity, .azp = true, .widen = true});
    return w;
  };
  const Weight a = asymmetric(per_token(), 5, 1);
  const Weight b = made(int8, per_token(), 3, 8, 2);
  const Weight c = asymmetric(per_tensor(), 4, 3);
  expect_shards({a, b, c});
  expect_shards({b, c});
  const Weight all = fuse(std::vector<Weight>{a, b});
  EXPECT_EQ(at(a.codes.azp, 4, 0), at(all.codes.azp, 4, 0));
  EXPECT_NE(0.0, at(all.codes.azp, 4, 0));
  EXPECT_EQ(0.0, at(all.codes.azp, 5, 0));
}

TEST(Fuse, OfColumnsInOneOrder) {
  Weight a = made(int8, per_token(), 5, 8, 1);
  a.columns = values(int64, {8}, {7, 6, 5, 4, 3, 2, 1, 0});
  Weight b = made(int8, per_token(), 3, 8, 2);
  b.columns = a.columns;
  expect_same_bits(fuse(std::vector<Weight>{a, b}).columns, a.columns);
  b.columns = values(int64, {8}, {6, 7, 5, 4, 3, 2, 1, 0});
  expect_error(Code::invalid_argument, "must have the first one's order of columns", [&] {
    fuse(std::vector<Weight>{a, b});
  });
  b.columns = {};
  expect_error(Code::invalid_argument, "must have the first one's order of columns", [&] {
    fuse(std::vector<Weight>{a, b});
  });
}

TEST(Fuse, OfOneOrOfFloats) {
  const Weight one = made(int8, per_token(), 5, 8, 1);
  expect_same_bits(fuse(std::vector<Weight>{one}).codes.data, one.codes.data);
  Weight plain;
  plain.codes.data = gaussians(bfloat16, {3, 8}, 1);
  plain.scheme = "none";
  const Weight both = fuse(std::vector<Weight>{plain, plain});
  EXPECT_EQ(6, both.codes.data.size(0));
  EXPECT_FALSE(both.codes.scale.defined());
  expect_same_bits(copy(both.codes.data.view().slice(0, 3, 6), bfloat16), plain.codes.data);
}

TEST(Fuse, RefusesShardsThatDiffer) {
  const Weight a = made(int8, per_token(), 4, 8, 1);
  const auto refuse = [&](const Weight& b, const char* fragment) {
    expect_error(Code::invalid_argument, fragment, [&] { fuse(std::vector<Weight>{a, b}); });
  };
  expect_error(Code::invalid_argument, "fuse: weights must have at least one entry; got none",
               [] { fuse({}); });
  refuse(made(int8, per_token(), 4, 9, 1), "weights[1] must have the first one's K");
  refuse(made(float8_e4m3fn, per_token(), 4, 8, 1), "weights[1] must have the first one's type");
  Weight other = a;
  other.scheme = "llm-int8";
  refuse(other, "weights[1] must have the first one's scheme");
  other = a;
  other.activation->spec.azp = true;
  refuse(other, "weights[1] must have the first one's activation rule");
  other = a;
  other.activation.reset();
  refuse(other, "weights[1] must have the first one's activation rule");
  refuse(made(int8, group(4), 4, 8, 1), "scales over as many columns");
}

}  // namespace
}  // namespace octavo::test::fuse_test
