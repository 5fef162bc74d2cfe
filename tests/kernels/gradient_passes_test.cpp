// SPDX-License-Identifier: Apache-2.0
// The vector passes of gradients against the reference's, on every type and layout: rescaling to
// the bit, sums to the bit where they are exact and inside the bound of sums in any order
// elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "backends/cpu/passes/passes.hpp"
#include "ops/helpers.hpp"
#include "support/pass_operands.hpp"
#include "support/same_numbers.hpp"

namespace octavo::test::gradient_passes_test {
namespace {

constexpr std::int64_t kAll = kWholeExtent;
enum class Layout { rows, columns, apart };  // what lies together

const char* name_of(Layout layout) {
  constexpr const char* kNames[] = {"rows", "columns", "apart"};
  return kNames[static_cast<int>(layout)];
}

// [m, n] in a layout.
struct Matrix {
  Tensor memory;
  TensorView view;

  Matrix(DType dtype, const Shape& shape, Layout layout)
      : memory(Tensor::empty(dtype, {shape[0], 3 * shape[1]})), view(memory.view()) {
    view.shape[1] = shape[1];
    if (layout == Layout::apart) view.strides[1] = 3;
    if (layout == Layout::columns)
      std::tie(view.strides[0], view.strides[1]) = std::tuple(1, shape[0]);
  }
  Matrix(DType dtype, const Tensor& values, Layout layout)
      : Matrix(dtype, {values.size(0), values.size(1)}, layout) {
    EXPECT_TRUE(reference_passes().convert({values, view}, {}).ok());
  }
};

// Gaussians, and odd numbers among them.
Matrix floats(DType dtype, const Shape& shape, Layout layout, unsigned seed) {
  const Tensor values = gaussians(float32, shape, seed, 30.0);
  plant_odd_numbers(values);
  return {dtype, values, layout};
}

// Scales of cells of a matrix.
struct Scale {
  Tensor values;
  ScaleView view;

  Scale(DType dtype, const Shape& matrix, ScaleGrid grid, unsigned seed, std::int64_t row0 = 0)
      : values(cell_scales(dtype, matrix, grid, seed, row0)),
        view(scale_view(values, grid, row0)) {}
};

// The same bits from both, into outputs of one layout.
void expect_same_rescaled(RescaleProblem p, DType to, const Shape& shape, Layout layout) {
  const Matrix want(to, shape, layout), got(to, shape, layout);
  p.out = want.view;
  ASSERT_TRUE(reference_passes().rescale(p, {}).ok());
  p.out = got.view;
  ASSERT_TRUE(cpu::rescale(p, {}).ok());
  expect_same_numbers(got.view, want.view);
}

TEST(CpuGradientPasses, RescaleEveryTypeAndLayout) {
  const Shape shape{21, 37};
  const Scale token(float32, shape, {1, kAll}, 2), channel(bfloat16, shape, {kAll, 1}, 3),
      block(float16, shape, {8, 5}, 4, 3);
  for (const DTypeInfo& from : kDTypes) {
    if (!is_floating(from.dtype) && !is_integer8(from.dtype)) continue;
    for (const Layout source : {Layout::rows, Layout::columns, Layout::apart}) {
      const Matrix x = floats(from.dtype, shape, source, 1);
      for (const DType to : {float32, bfloat16, float16, float8_e4m3fn, int8}) {
        for (const Layout out : {Layout::rows, Layout::columns, Layout::apart}) {
          SCOPED_TRACE(std::string(from.name) + " by " + name_of(source) + " to " +
                       std::string(info(to).name) + " by " + name_of(out));
          RescaleProblem p;
          p.source = x.view;
          p.scales[0] = token.view;
          expect_same_rescaled(p, to, shape, out);
          p.divisor = 3.0F;
          p.scales[1] = channel.view;
          p.scales[2].kind = ScaleKind::number;
          p.scales[2].number = 0.3F;
          p.scales[4] = block.view;
          expect_same_rescaled(p, to, shape, out);
        }
      }
    }
  }
}

// Around the sizes of tiles, squares and blocks.
TEST(CpuGradientPasses, RescaleEverySize) {
  for (const std::int64_t m : {1, 7, 8, 63, 64, 65, 200}) {
    for (const std::int64_t n : {1, 31, 33, 255, 256, 257, 512, 600}) {
      const Shape shape{m, n};
      const Scale token(float32, shape, {1, kAll}, 2), channel(float32, shape, {kAll, 1}, 3);
      for (const DType dtype : {bfloat16, float32}) {
        const Matrix x = floats(dtype, shape, Layout::rows, 1);
        for (const Layout out : {Layout::rows, Layout::columns}) {
          SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n) + " by " + name_of(out));
          RescaleProblem p;
          p.source = x.view;
          p.scales[0] = token.view;
          p.scales[1] = channel.view;
          expect_same_rescaled(p, dtype, shape, out);
        }
      }
    }
  }
}

struct Sums {
  ScaleGrid grid;
  bool factors;  // three of them; else one
};

class CpuReduce : public testing::TestWithParam<Sums> {
 protected:
  // What a pass makes of small integers, of Gaussians, or of their magnitudes.
  enum class Values { integers, gaussians, magnitudes };
  using Pass = Status (*)(const ReduceProblem&, const ExecContext&) noexcept;
  Tensor sums(Pass pass, const Shape& shape, Layout layout, Values values) const {
    std::vector<Matrix> kept;
    ReduceProblem p;
    const auto factor = [&](DType dtype, unsigned seed) {
      const Tensor t = values == Values::integers ? integers(float32, shape, seed, -8, 8)
                                                  : gaussians(float32, shape, seed);
      for (float* x = t.data_as<float>(); x != t.data_as<float>() + t.numel(); ++x) {
        if (values == Values::magnitudes) *x = std::abs(*x);
      }
      return kept.emplace_back(dtype, t, layout).view;
    };
    p.factors[0] = factor(bfloat16, 1);
    if (GetParam().factors) {
      p.factors[1] = factor(float32, 2);
      p.factors[2] = factor(float16, 3);
    }
    const ScaleGrid grid = GetParam().grid;
    const Shape cells{scale_cells(shape[0], grid.rows), scale_cells(shape[1], grid.cols)};
    const Tensor out = Tensor::empty(float64, std::span(cells));
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      out.data_as<double>()[i] = static_cast<double>(i % 5);
    }
    p.sums = scale_view(out, grid);
    // In either direction; for a few strips at a time, the last of which are fewer.
    std::vector<double> scratch(static_cast<std::size_t>(3 * std::max(cells[0], cells[1])));
    p.scratch = scratch;
    EXPECT_TRUE(pass(p, {}).ok());
    return out;
  }
};

TEST_P(CpuReduce, EveryProductOnceInItsCell) {
  const Pass reference = reference_passes().reduce;
  for (const Shape& shape : {Shape{1, 1}, Shape{70, 300}, Shape{33, 512}, Shape{130, 520}}) {
    for (const Layout layout : {Layout::rows, Layout::columns, Layout::apart}) {
      SCOPED_TRACE(std::to_string(shape[0]) + "x" + std::to_string(shape[1]) + " by " +
                   name_of(layout));
      expect_same_numbers(sums(&cpu::reduce, shape, layout, Values::integers),
                          sums(reference, shape, layout, Values::integers));
      const Tensor got = sums(&cpu::reduce, shape, layout, Values::gaussians);
      const Tensor want = sums(reference, shape, layout, Values::gaussians);
      const Tensor most = sums(reference, shape, layout, Values::magnitudes);
      expect_same_numbers(sums(&cpu::reduce, shape, layout, Values::gaussians), got);
      // Two sums of n terms, each of which three factors round twice.
      const double gamma = 2.0 * (static_cast<double>(shape[0] * shape[1]) + 4.0) * 0x1p-53;
      for (std::int64_t i = 0; i < got.numel(); ++i) {
        EXPECT_NEAR(got.data_as<double>()[i], want.data_as<double>()[i],
                    gamma * most.data_as<double>()[i]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cells, CpuReduce,
                         testing::Values(Sums{{kAll, kAll}, true}, Sums{{1, kAll}, true},
                                         Sums{{kAll, 1}, true}, Sums{{kAll, 1}, false},
                                         Sums{{1, 128}, true}, Sums{{4, 16}, false},
                                         Sums{{128, 128}, true}, Sums{{1, 1}, false},
                                         Sums{{1, kAll}, false}));

}  // namespace
}  // namespace octavo::test::gradient_passes_test
