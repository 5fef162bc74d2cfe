// SPDX-License-Identifier: Apache-2.0
// Sums over cells against the reference's: equal where every sum is exact, else
// inside the bound of sums in any order; the same bits twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::reduce_pass_test {
namespace {

struct Case {
  std::int64_t m, n;
  ScaleGrid grid;
  std::int64_t row0 = 0, col0 = 0;
  bool down = false;      // columns of the factors lie together
  bool factors = true;    // three of them, zero points and a weight; else one
  bool repeated = false;  // the second factor repeats a row
};

class ReducePass : public testing::TestWithParam<Case> {
 protected:
  const Case& c = GetParam();

  mutable std::vector<double> scratch_;

  // A matrix [m, n] in the layout of the case.
  TensorView matrix(TensorsOf& tensors, const Tensor& values) const {
    if (!c.down) return tensors(values);
    const Tensor transposed = Tensor::empty(values.view().dtype, {c.n, c.m}).transposed();
    EXPECT_TRUE(reference_passes().convert({values, transposed}, {}).ok());
    return tensors(transposed);
  }
  // With small integers, or without; `magnitudes`: of absolute values.
  ReduceProblem problem(TensorsOf& tensors, bool exact, bool magnitudes) const {
    const auto some = [&](DType dtype, const Shape& shape, unsigned seed) {
      Tensor t = exact ? integers(dtype, shape, seed, -8, 8) : gaussians(dtype, shape, seed);
      if (!magnitudes) return t;
      t = t.to(float32);
      for (std::int64_t i = 0; i < t.numel(); ++i)
        t.data_as<float>()[i] = std::abs(t.data_as<float>()[i]);
      return t;
    };
    ReduceProblem p;
    p.factors[0] = matrix(tensors, some(bfloat16, {c.m, c.n}, 1));
    if (c.factors) {
      const Tensor second = some(float32, {c.repeated ? 1 : c.m, c.n}, 2);
      if (c.repeated) {
        p.factors[1] = tensors(second);
        p.factors[1].shape = {c.m, c.n};
        p.factors[1].strides[0] = 0;
      } else {
        p.factors[1] = matrix(tensors, second);
      }
      p.factors[2] = matrix(tensors, some(float16, {c.m, c.n}, 3));
      p.azp = tensors(integers(int32, {c.m, 1}, 4, -5, magnitudes ? -5 : 5));
      p.weight = {ScaleKind::tensor, 1.0F, tensors(some(float32, {1, c.n}, 5)), kWholeExtent, 1};
    }
    const Tensor sums = Tensor::empty(
        float64, {scale_cells(c.m + c.row0, c.grid.rows), scale_cells(c.n + c.col0, c.grid.cols)});
    for (std::int64_t i = 0; i < sums.numel(); ++i)
      sums.data_as<double>()[i] = static_cast<double>(i % 5);
    // For a few strips at a time, the last of which are fewer, in either direction.
    scratch_.resize(static_cast<std::size_t>(3 * std::max(sums.size(0), sums.size(1))));
    p.scratch = scratch_;
    p.sums = {ScaleKind::tensor, 1.0F, tensors.out(sums), c.grid.rows, c.grid.cols, c.row0, c.col0};
    return p;
  }
  Tensor tested_sums(bool exact) const {
    TensorsOf there(true);
    const Status status = tested().passes->reduce(problem(there, exact, false), {});
    EXPECT_TRUE(status.ok()) << status.message();
    return to_host(there.outs().front()).to(float64);
  }
  Tensor reference_sums(bool exact, bool magnitudes) const {
    TensorsOf here(false);
    EXPECT_TRUE(reference_passes().reduce(problem(here, exact, magnitudes), {}).ok());
    return copy(here.outs().front(), float64);
  }
};

TEST_P(ReducePass, AddsEveryProductOnceToItsCell) {
  expect_same_bits(tested_sums(true), reference_sums(true, false));
}

TEST_P(ReducePass, StaysInsideTheBound) {
  const Tensor got = tested_sums(false), want = reference_sums(false, false),
               most = reference_sums(false, true);
  expect_same_bits(tested_sums(false), got);
  // Two sums of n terms, each of which four factors round three times.
  const double gamma = 2.0 * (static_cast<double>(c.m * c.n) + 5.0) * 0x1p-53;
  for (std::int64_t i = 0; i < got.numel(); ++i)
    EXPECT_NEAR(got.data_as<double>()[i], want.data_as<double>()[i],
                gamma * most.data_as<double>()[i]);
}

constexpr std::int64_t kAll = kWholeExtent;

INSTANTIATE_TEST_SUITE_P(
    Cells, ReducePass,
    testing::Values(Case{1, 1, {}}, Case{0, 5, {}}, Case{5, 0, {kAll, 1}}, Case{7, 300, {}},
                    Case{70, 300, {}, 0, 0, true}, Case{3, 9000, {}, 0, 0, false, false},
                    Case{300, 70, {1, kAll}}, Case{300, 70, {1, kAll}, 0, 0, true},
                    Case{200, 270, {kAll, 1}}, Case{200, 270, {kAll, 1}, 0, 0, true},
                    Case{200, 270, {kAll, 1}, 0, 0, false, false}, Case{33, 200, {1, 128}, 0, 64},
                    Case{33, 200, {4, 16}, 3, 5}, Case{150, 260, {128, 128}, 100, 7},
                    Case{150, 260, {128, 128}, 100, 7, true}, Case{9, 40, {1, 1}},
                    Case{20, 33, {1, 32}, 0, 0, false, true, true},
                    Case{40, 9, {kAll, 1}, 0, 0, true, true, true}, Case{130, 520, {kAll, 1}},
                    Case{130, 520, {kAll, 1}, 0, 0, false, false},
                    Case{130, 520, {kAll, 1}, 0, 0, true},
                    Case{33, 512, {1, kAll}, 0, 0, false, false},
                    Case{130, 520, {}, 0, 0, true, false}, Case{70, 300, {1, 1}, 0, 0, true}),
    [](const testing::TestParamInfo<Case>& test) {
      return std::to_string(test.param.m) + "x" + std::to_string(test.param.n) + "_" +
             std::to_string(test.index);
    });

}  // namespace
}  // namespace octavo::test::reduce_pass_test
