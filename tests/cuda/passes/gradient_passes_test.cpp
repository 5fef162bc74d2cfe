// SPDX-License-Identifier: Apache-2.0
// Passes of gradients against the reference's.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::gradient_passes_test {
namespace {

constexpr DType kWide[] = {DType::float32, DType::bfloat16, DType::float16};

// Gaussians, and odd numbers among them.
Tensor floats(DType dtype, const Shape& shape, unsigned seed, double spread = 1.0) {
  const Tensor t = gaussians(float32, shape, seed, spread);
  plant_odd_numbers(t);
  return t.to(dtype);
}
Tensor doubles(const Shape& shape, unsigned seed) {
  const Tensor t = Tensor::empty(float64, std::span(shape));
  std::mt19937_64 bits(seed);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_as<double>()[i] = (static_cast<double>(bits() >> 11) * 0x1p-53 - 0.5) * 1000.0;
  if (t.numel() > 3) t.data_as<double>()[2] = std::numeric_limits<double>::infinity();
  return t;
}

// Scales of cells of a matrix.
ScaleView scale_of(TensorsOf& tensors, DType dtype, const Shape& matrix, ScaleGrid grid,
                   unsigned seed, std::int64_t row0 = 0) {
  return scale_view(tensors(cell_scales(dtype, matrix, grid, seed, row0)), grid, row0);
}

enum class Layout { rows, columns, apart };  // what lies together

// The same matrix in a layout.
Tensor laid_out(const Tensor& t, Layout layout) {
  const std::int64_t rows = t.size(0), columns = t.size(1);
  const Strided s = strided(t, layout == Layout::rows      ? Shape{columns, 1}
                               : layout == Layout::columns ? Shape{1, rows}
                                                           : Shape{3 * columns, 3});
  return Tensor::adopt(s.memory, s.view);
}

// On CPUs every layout beside every other; the simulator is slow.
const bool kEveryLayout = tested().device.type == DeviceType::cpu;

TEST(GradientPasses, RescaleEveryTypeAndLayout) {
  const Shape shape{21, 37};
  for (const DTypeInfo& from : kDTypes) {
    if (!is_floating(from.dtype) && !is_integer8(from.dtype)) continue;
    for (const DType to :
         {DType::float32, DType::bfloat16, DType::float16, DType::float8_e4m3fn, DType::int8}) {
      for (const Layout source : {Layout::rows, Layout::columns, Layout::apart}) {
        for (const Layout out : {Layout::rows, Layout::columns, Layout::apart}) {
          for (const bool all : {false, true}) {
            if (!kEveryLayout && (source != Layout::columns || all != (out == Layout::columns))) {
              continue;
            }
            SCOPED_TRACE(std::string(from.name) + " to " + std::string(name(to)));
            expect_same_pass(&Passes::rescale, [&](TensorsOf& tensors) {
              RescaleProblem p;
              p.source = tensors(laid_out(floats(from.dtype, shape, 1, 30.0), source));
              p.out = tensors.out(laid_out(Tensor::empty(to, std::span(shape)), out));
              p.scales[0] = scale_of(tensors, float32, shape, {1, kWholeExtent}, 2);
              if (!all) return p;
              p.divisor = 3.0F;
              p.azp = scale_of(tensors, int32, shape, {4, 16}, 3, 2);
              p.azp.data = tensors(integers(int32, {6, 3}, 4, -1000, 1000));
              p.scales[1] = scale_of(tensors, bfloat16, shape, {kWholeExtent, 1}, 5);
              p.scales[2].kind = ScaleKind::number;
              p.scales[2].number = 0.3F;
              p.scales[4] = scale_of(tensors, float16, shape, {8, 5}, 6, 3);
              return p;
            });
          }
        }
      }
    }
  }
}

// Around the sizes of tiles, squares and blocks.
TEST(GradientPasses, RescaleEverySize) {
  for (const std::int64_t m : {1, 7, 8, 63, 64, 65, 70, 200}) {
    for (const std::int64_t n : {1, 31, 33, 133, 255, 256, 257, 512, 600}) {
      if (!kEveryLayout && (m != 70 || n != 133)) continue;
      for (const DType dtype : {bfloat16, float32}) {
        for (const bool transposed : {false, true}) {
          for (const bool down : {false, true}) {
            if (transposed && down) continue;
            SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n));
            const Shape shape{m, n};
            expect_same_pass(&Passes::rescale, [&](TensorsOf& tensors) {
              RescaleProblem p;
              p.source = tensors(
                  laid_out(floats(dtype, shape, 1), transposed ? Layout::columns : Layout::rows));
              p.out = tensors.out(laid_out(Tensor::empty(dtype, std::span(shape)),
                                           down ? Layout::columns : Layout::rows));
              p.scales[0] = scale_of(tensors, float32, shape, {1, kWholeExtent}, 2);
              p.scales[1] = scale_of(tensors, bfloat16, shape, {kWholeExtent, 1}, 5);
              return p;
            });
          }
        }
      }
    }
  }
}

TEST(GradientPasses, Mask) {
  for (const DType grad : kWide) {
    for (const DType out : kWide) {
      for (const bool tensor : {false, true}) {
        expect_same_pass(&Passes::mask, [&](TensorsOf& tensors) {
          MaskProblem p;
          p.grad = tensors(floats(grad, {11, 30}, 1));
          p.value = tensors(floats(float32, {30, 11}, 2, 3.0).transposed());
          p.scale.kind = tensor ? Factor::Kind::tensor : Factor::Kind::number;
          p.scale.number = 1.5F;
          if (tensor) p.scale.data = tensors(uniforms(float32, {30}, 3, 0.5, 1.5));
          p.low = -2.0F;
          p.high = 3.0F;
          p.out = tensors.out(Tensor::empty(out, {11, 30}));
          return p;
        });
      }
    }
  }
}

TEST(GradientPasses, LearnedStep) {
  const Shape shape{13, 40};
  for (const DTypeInfo& codes : kDTypes) {
    if (!is_float8(codes.dtype) && !is_integer8(codes.dtype)) continue;
    for (const ScaleGrid grid : {ScaleGrid{}, ScaleGrid{1, kWholeExtent}, ScaleGrid{4, 16}}) {
      for (const bool azp : {false, true}) {
        for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
          if (azp && is_float8(codes.dtype)) continue;
          expect_same_pass(&Passes::learned_step, [&](TensorsOf& tensors) {
            LearnedStepProblem p;
            p.x = tensors(floats(bfloat16, shape, 1, 100.0));
            p.dtype = codes.dtype;
            p.overflow = overflow;
            p.scale = scale_of(tensors, float32, shape, grid, 2);
            const MatrixView values(p.scale.data,
                                    grid.rows == kWholeExtent ? 1 : 13 / grid.rows + 1, 3);
            if (azp) p.azp = tensors(integers(int32, {values.shape[0], 3}, 3, -300, 300));
            p.grad = tensors(floats(float32, shape, 4));
            p.grad_x = tensors.out(Tensor::empty(float16, {40, 13}).transposed());
            p.slopes = tensors.out(Tensor::empty(float32, {13, 40}));
            return p;
          });
        }
      }
    }
  }
}

TEST(GradientPasses, SumsOfDequantizers) {
  for (const bool coded : {false, true}) {
    for (const bool gradient : {false, true}) {
      expect_same_pass(&Passes::dequantize_sums, [&](TensorsOf& tensors) {
        DequantizeSumsProblem p;
        p.plain = tensors(doubles({5, 9}, 1));
        if (coded) p.coded = tensors.out(doubles({9, 5}, 2).transposed());
        p.azp = tensors(integers(int32, {5, 9}, 3, -200, 200));
        p.scale = tensors(uniforms(float32, {5, 9}, 4));
        if (gradient) p.azp_gradient = tensors.out(Tensor::empty(float32, {5, 9}));
        return p;
      });
    }
  }
}

TEST(GradientPasses, SplitZeroPoints) {
  for (const std::int64_t low : {-128, 0}) {
    expect_same_pass(&Passes::split_zero_points, [&](TensorsOf& tensors) {
      SplitZeroPointsProblem p;
      p.azp = tensors(integers(int32, {300, 1}, 1, -2000000000, 2000000000));
      p.low = low;
      p.near = tensors.out(Tensor::empty(int32, {300, 1}));
      p.rest = tensors.out(Tensor::empty(float32, {300, 1}));
      return p;
    });
  }
}

TEST(GradientPasses, SplitSums) {
  for (const DType dtype : kWide) {
    expect_same_pass(&Passes::split_sums, [&](TensorsOf& tensors) {
      SplitSumsProblem p;
      p.sums = tensors(doubles({150, 1}, 7));
      p.pieces = tensors.out(Tensor::empty(dtype, {3, 150}).transposed());
      return p;
    });
  }
}

}  // namespace
}  // namespace octavo::test::gradient_passes_test
