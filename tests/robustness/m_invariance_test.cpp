// SPDX-License-Identifier: Apache-2.0
// A row's result does not depend on how many rows are computed with it, packed or not.
#include "ops/helpers.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::m_invariance_test {
namespace {

constexpr std::int64_t kRows = 160, kN = 37, kK = 70;

struct Pair {
  DType a, b;
};
class MInvariance : public testing::TestWithParam<Pair> {};

TEST_P(MInvariance, RowsOfOneTo160RowsHaveTheSameBits) {
  const Tensor a = gaussians(GetParam().a, {kRows, kK}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {kK, kN}, 2, 20.0);
  const Tensor sa = uniforms(float32, {kRows, 1}, 3);
  const Tensor sb = uniforms(float32, {3, kN}, 4);  // groups of 32 along K
  Operand weight(b);
  weight.scale[0] = {ScaleKind::tensor, 1.0F, sb.view(), 32, 1, 0, 0};
  const PackedWeight packed = pack(weight);
  for (const char* backend : usable_backends()) {
    for (const Operand& w : {weight, Operand(packed)}) {
      const auto rows = [&](std::int64_t begin, std::int64_t end) {
        return scaled_mm(
            a.view().slice(0, begin, end), w,
            {.scale_a = sa.view().slice(0, begin, end), .out_dtype = float32, .backend = backend});
      };
      const Tensor whole = rows(0, kRows);
      for (std::int64_t m = 1; m < kRows; ++m) {
        const Tensor first = rows(0, m);
        ASSERT_EQ(std::memcmp(first.data(), whole.data(), static_cast<std::size_t>(m * kN * 4)), 0)
            << m << " rows on " << backend;
      }
      for (std::int64_t i = 0; i < kRows; i += 7) {
        const Tensor alone = rows(i, i + 1);
        ASSERT_EQ(std::memcmp(alone.data(), whole.data_as<float>() + i * kN, kN * 4), 0)
            << "row " << i << " on " << backend;
      }
    }
  }
}

TEST_P(MInvariance, PackingDoesNotChangeBits) {
  const Tensor a = gaussians(GetParam().a, {33, 600}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {600, kN}, 2, 20.0);
  const PackedWeight packed = pack(b);
  for (const char* backend : usable_backends()) {
    for (const std::int64_t m : {1, 2, 33}) {
      const TensorView rows = a.view().slice(0, 0, m);
      expect_same_bits(scaled_mm(rows, packed, {.backend = backend}),
                       scaled_mm(rows, b, {.backend = backend}));
    }
  }
}

// Scales as layers have them, of the backend that is chosen by itself. K ends inside a block.
struct Scheme {
  const char* name;
  Granularity a, b;
  DType dtype;
};
const Scheme kSchemes[] = {{"token:channel", per_token(), per_channel(), float32},
                           {"group128:block128x128", group(128), block(128, 128), float32},
                           {"mx:mx", group(32), group(32), float8_e8m0fnu}};
constexpr std::int64_t kWide = 134, kDeep = 262;

TEST_P(MInvariance, OfEveryScheme) {
  const Tensor a = gaussians(GetParam().a, {kRows, kDeep}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {kDeep, kWide}, 2, 20.0);
  for (const Scheme& scheme : kSchemes) {
    const Tensor sa = uniforms(scheme.dtype, scale_shape(scheme.a, Side::a, kRows, kDeep), 3);
    const Tensor sb = uniforms(scheme.dtype, scale_shape(scheme.b, Side::b, kDeep, kWide), 4);
    const ScaleGrid grid = scale_grid(scheme.b, Side::b);
    Operand weight(b);
    weight.scale[0] = {ScaleKind::tensor, 1.0F, sb.view(), grid.rows, grid.cols, 0, 0};
    const PackedWeight packed = pack(weight);
    const PackedWeight otherwise = pack(weight, {.activation = {}, .backend = "generic"});
    const auto rows = [&](const Operand& w, std::int64_t begin, std::int64_t end) {
      return scaled_mm(
          a.view().slice(0, begin, end), w,
          {.scale_a = {sa.view().slice(0, begin, end), scheme.a}, .out_dtype = float32});
    };
    const Tensor whole = rows(weight, 0, kRows);
    const auto expect_rows = [&](const Operand& w, std::int64_t begin, std::int64_t end) {
      const Tensor some = rows(w, begin, end);
      ASSERT_EQ(std::memcmp(some.data(), whole.data_as<float>() + begin * kWide,
                            static_cast<std::size_t>((end - begin) * kWide * 4)),
                0)
          << scheme.name << ", rows [" << begin << ", " << end << ")"
          << (w.packed != nullptr ? std::string(", packed for ") + w.packed->layout() : "");
    };
    for (const Operand& w : {weight, Operand(packed), Operand(otherwise)}) {
      for (std::int64_t m = 1; m <= kRows; ++m) expect_rows(w, kRows - m, kRows);
      if (HasFatalFailure()) return;
    }
  }
}

// Rows of groups are those of single products with their group's weight.
TEST_P(MInvariance, OfGroupedRows) {
  constexpr std::int64_t kGroups = 3;
  const Tensor a = gaussians(GetParam().a, {kRows, kK}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {kGroups, kK, kWide}, 2, 20.0);
  std::vector<Tensor> whole;
  for (std::int64_t g = 0; g < kGroups; ++g) {
    whole.push_back(scaled_mm(a, b.view()[g], {.out_dtype = float32}));
  }
  for (std::int64_t m = 0; m <= kRows; ++m) {
    const std::vector<std::int32_t> offs = {static_cast<std::int32_t>(m / 7),
                                            static_cast<std::int32_t>(m - m / 3),
                                            static_cast<std::int32_t>(m)};
    const Tensor got = grouped_mm(a.view().slice(0, 0, m), b,
                                  {.offs = view(offs, {kGroups}), .out_dtype = float32});
    for (std::int64_t i = 0, g = 0; i < m; ++i) {
      while (i >= offs[static_cast<std::size_t>(g)]) ++g;
      ASSERT_EQ(
          std::memcmp(got.data_as<float>() + i * kWide,
                      whole[static_cast<std::size_t>(g)].data_as<float>() + i * kWide, kWide * 4),
          0)
          << "row " << i << " of " << m << ", group " << g;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, MInvariance,
    testing::Values(Pair{float8_e4m3fn, float8_e4m3fn}, Pair{float8_e5m2, float8_e4m3fnuz},
                    Pair{float8_e4m3fnuz, float8_e5m2fnuz}, Pair{bfloat16, bfloat16},
                    Pair{float16, float16}, Pair{float32, float32}, Pair{bfloat16, int8},
                    Pair{float16, int8}, Pair{bfloat16, float8_e5m2}, Pair{float16, float8_e4m3fn},
                    Pair{float32, int8}),
    [](const auto& test) {
      return std::string(name(test.param.a)) + "_" + std::string(name(test.param.b));
    });

// Activations quantised on the fly, row by row, and those that stay as they are.
TEST(MInvarianceOfLinear, QuantizedActivationsToo) {
  struct Rule {
    const char* name;
    DType weight;
    Granularity activation, scales;
    ScaleRounding rounding;
    DType scale_dtype;
  };
  for (const Rule& rule :
       {Rule{"token:channel", float8_e4m3fn, per_token(), per_channel(), {}, float32},
        Rule{"int8 token:channel", int8, per_token(), per_channel(), {}, float32},
        Rule{"group128:block128x128", float8_e4m3fn, group(128), block(128, 128), {}, float32},
        Rule{"mx:mx", float8_e5m2, group(32), group(32), ScaleRounding::mx_floor,
             float8_e8m0fnu}}) {
    const Tensor codes = gaussians(rule.weight, {kDeep, kWide}, 1, 20.0);
    const Tensor sb =
        uniforms(rule.scale_dtype, scale_shape(rule.scales, Side::b, kDeep, kWide), 4);
    const ScaleGrid grid = scale_grid(rule.scales, Side::b);
    Operand weight(codes);
    weight.scale[0] = {ScaleKind::tensor, 1.0F, sb.view(), grid.rows, grid.cols, 0, 0};
    ActivationQuant quant;
    quant.spec.dtype = rule.weight;
    quant.spec.granularity = rule.activation;
    quant.spec.rounding = rule.rounding;
    quant.spec.scale_dtype = rule.scale_dtype;
    const PackedWeight packed = pack(weight, {.activation = quant});
    const Tensor x = gaussians(bfloat16, {kRows, kDeep}, 2);
    const Tensor whole = linear(x, packed, {.out_dtype = float32});
    for (std::int64_t m = 1; m < kRows; ++m) {
      const Tensor some = linear(x.view().slice(0, 0, m), packed, {.out_dtype = float32});
      ASSERT_EQ(std::memcmp(some.data(), whole.data(), static_cast<std::size_t>(m * kWide * 4)), 0)
          << rule.name << ", " << m << " rows";
    }
  }
}

}  // namespace
}  // namespace octavo::test::m_invariance_test
