// SPDX-License-Identifier: Apache-2.0
// Zero points of the weight: sum (A - azp_a) (B - azp_b), exactly for integers, within the bound
// for a float A, whatever stands on both sides.
#include <algorithm>

#include "kit/oracle/oracle.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test::weight_zero_points_test {
namespace {

constexpr std::int64_t kRows = 7, kCols = 70, kDepth = 320, kGroup = 64;

struct Weight {
  const char* name;
  Quantized q;
};

std::vector<Weight> weights() {
  const Tensor w = tensor_of(float32, {kCols, kDepth}, [](std::int64_t i) {
    return std::sin(static_cast<double>(i) * 0.7) + 0.4;  // lopsided
  });
  std::vector<Weight> all;
  for (const DType dtype : {int8, uint8}) {
    for (const Granularity& g :
         {per_tensor(), per_channel(), group(kGroup), block(kGroup, 16), block(kDepth, 16)}) {
      all.push_back({g == per_tensor() ? "tensor" : "channel or group",
                     quantize(w.transposed(), {.dtype = dtype,
                                               .granularity = g,
                                               .side = octavo::Side::b,
                                               .azp = true,
                                               .widen = true})});
    }
  }
  return all;
}

Tensor left(DType dtype) {
  if (dtype == int8) return integers(dtype, {kRows, kDepth}, 1);
  if (dtype == uint8) return integers(dtype, {kRows, kDepth}, 1, 0, 255);
  return gaussians(dtype, {kRows, kDepth}, 1);
}

// The whole sequence of section 3 for scales and zero points along the weight alone.
float specified(const Tensor& a, const TensorView& azp, const Quantized& b, std::int64_t i,
                std::int64_t j) {
  const std::int64_t rows = std::min(b.grid.rows, kDepth), cols = std::min(b.grid.cols, kCols);
  float t = 0.0F;
  for (std::int64_t k = 0; k < kDepth; k += rows) {
    double part = 0.0;
    for (std::int64_t x = k; x < k + rows; ++x) {
      const double za = azp.defined() ? at(azp, i) : 0.0;
      part += (at(a, i, x) - za) * (at(b.data, x, j) - at(b.azp, k / rows, j / cols));
    }
    const float scaled = static_cast<float>(part) * float_at(b.scale, k / rows, j / cols);
    if (rows == kDepth) return scaled;
    t += scaled;
  }
  return t;
}

bool refuses(const char* backend) {
  return backend != nullptr &&
         (std::string_view(backend) == "avx512" || std::string_view(backend) == "avx2");
}

class WeightZeroPoints : public testing::TestWithParam<const char*> {};

TEST_P(WeightZeroPoints, OfIntegersAreExact) {
  const Tensor wild = integers(int32, {kRows}, 9, -1000000, 1000000);
  for (const DType dtype : {int8, uint8}) {
    const Tensor a = left(dtype);
    for (const Weight& w : weights()) {
      const bool packs = w.q.data.dtype() == int8;
      const PackedWeight packed = packs ? pack(w.q) : PackedWeight();
      for (const bool asymmetric : {false, true}) {
        ScaledMmOptions o{.out_dtype = float32, .backend = GetParam()};
        if (asymmetric) o.azp = wild;
        if (refuses(o.backend)) continue;
        const Tensor y = scaled_mm(a, w.q, o);
        for (std::int64_t i = 0; i < kRows; ++i) {
          for (std::int64_t j = 0; j < kCols; ++j) {
            ASSERT_EQ(float_at(y, i, j), specified(a, o.azp, w.q, i, j)) << w.name;
          }
        }
        if (packs) expect_same_bits(scaled_mm(a, packed, o), y);
      }
    }
  }
}

TEST_P(WeightZeroPoints, BesideFloatsStayInsideTheBound) {
  if (refuses(GetParam())) GTEST_SKIP() << "refuses";
  for (const DType dtype : {bfloat16, float32, float8_e4m3fn}) {
    const Tensor a = left(dtype);
    for (const Weight& w : weights()) {
      const Tensor y = Tensor::empty(float32, {kRows, kCols});
      const MatmulProblem problem = scaled_mm_problem(a, w.q, {.out_dtype = float32, .out = y});
      run(problem, {}, GetParam());
      const kit::Verdict verdict = kit::compare_exact(problem);
      EXPECT_LE(verdict.max_ratio, 1.0) << name(dtype) << ", " << w.name << ": " << verdict.worst;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, WeightZeroPoints, testing::ValuesIn(usable_backends()),
                         backend_name);

TEST(WeightZeroPoint, ComesBackFromAPackedWeight) {
  for (const Weight& w : weights()) {
    if (w.q.data.dtype() != int8) continue;
    const Quantized back = unpack(pack(w.q));
    expect_same_bits(back.azp, w.q.azp);
    expect_same_bits(copy(back.data, back.data.dtype()), copy(w.q.data, w.q.data.dtype()));
  }
}

TEST(WeightZeroPoint, IsExplained) {
  const Explanation e = explain(scaled_mm_problem(left(int8), weights().front().q));
  EXPECT_EQ(e.error_bound, 0.0);
  const auto usable = usable_backends();
  for (const Candidate& c : e.candidates) {
    if (refuses(c.backend.c_str()) && std::ranges::count(usable, c.backend) != 0) {
      EXPECT_EQ(c.reason, "the weight has zero points");
    }
  }
}

}  // namespace
}  // namespace octavo::test::weight_zero_points_test
